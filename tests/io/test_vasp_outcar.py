import gzip
from pathlib import Path

import ase.io
import ase.test
import numpy as np
import pytest
from helpers.vasp_files import (
    CRYSTAL,
    EPSILON,
    EXCLUDING,
    INCLUDING,
    RESPONSE,
    charges_text,
    dielectric_text,
    full_tensors,
    label,
    only_error,
    outcar,
    outcar_text,
    step_text,
)

from equivar_jax.datasets.demonstration import polarisable_ion
from equivar_jax.errors import InputError
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.vasp import read_outcar
from equivar_jax.structures import born_effective_charges

SHIPPED = Path(ase.test.__file__).parent / "testdata" / "vasp"


def test_only_the_charges_with_local_fields_are_taken(tmp_path):
    both = charges_text(0.5 * RESPONSE, EXCLUDING) + charges_text(RESPONSE)
    (atoms,) = outcar(tmp_path, outcar_text([step_text(CRYSTAL, tensors=both)]))
    np.testing.assert_allclose(label(atoms), polarisable_ion.born_effective_charges(CRYSTAL), atol=2e-5)
    excluding = outcar_text([step_text(CRYSTAL, tensors=charges_text(RESPONSE, EXCLUDING))])
    assert "LRPA = .FALSE." in only_error(outcar(tmp_path, excluding))


def test_old_headings_are_known_and_others_refused(tmp_path):
    old = charges_text(RESPONSE, "(in e, cummulative output)")
    (atoms,) = outcar(tmp_path, outcar_text([step_text(CRYSTAL, tensors=old)]))
    np.testing.assert_allclose(label(atoms), polarisable_ion.born_effective_charges(CRYSTAL), atol=2e-5)
    other = outcar_text([step_text(CRYSTAL, tensors=charges_text(RESPONSE, "(projected)"))])
    assert "unknown heading" in only_error(outcar(tmp_path, other))


@pytest.mark.parametrize("title", ["(in e, cummulative output)", INCLUDING])
@pytest.mark.parametrize("ibrion", ["7", "8"])
def test_a_lone_set_of_a_run_with_perturbed_positions_is_refused(tmp_path, title, ibrion):
    alone = outcar_text([step_text(CRYSTAL, tensors=charges_text(RESPONSE, title))], IBRION=ibrion)
    assert f"IBRION = {ibrion}" in only_error(outcar(tmp_path, alone))


def test_the_set_of_fields_is_taken_from_a_run_with_perturbed_positions(tmp_path):
    # As VASP prints it: a table like that of positions and forces for each displacement, then charges.
    table = step_text(CRYSTAL).partition("\n POSITION")[2].partition("  FREE ENERGIE")[0]
    table = (
        "\n POSITION                   FORCE-CONSTANT FOR ION    2 DIRECTION 1 (eV/Angst/Angst)\n"
        + (table.partition("\n")[2])
    )
    last = charges_text(RESPONSE.transpose(2, 1, 0), "(in e, cummulative output)")
    step = step_text(CRYSTAL, tensors=charges_text(RESPONSE) + table + last)
    (atoms,) = outcar(tmp_path, outcar_text([step], IBRION="8"))
    np.testing.assert_allclose(label(atoms), polarisable_ion.born_effective_charges(CRYSTAL), atol=2e-5)
    assert atoms.info["source"].endswith("frame 0")


def test_the_atoms_of_an_outcar_are_counted(tmp_path):
    text = outcar_text([step_text(CRYSTAL, tensors=full_tensors().replace("ion    3", "ion    4"))])
    assert "expected the line 'ion 3'" in only_error(outcar(tmp_path, text))


def test_charges_before_the_only_positions_belong_to_them(tmp_path):
    text = outcar_text([step_text(CRYSTAL)])
    (atoms,) = outcar(tmp_path, text.replace("  volume of cell", full_tensors() + "  volume of cell"))
    np.testing.assert_allclose(label(atoms), polarisable_ion.born_effective_charges(CRYSTAL), atol=2e-5)
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON)


def test_a_shipped_outcar_without_charges():
    (atoms,) = read_outcar(SHIPPED / "OUTCAR_example_1", ReadOptions())
    expected = ase.io.read(SHIPPED / "OUTCAR_example_1", format="vasp-out")
    assert born_effective_charges(atoms) is None
    assert list(atoms.symbols) == list(expected.symbols)
    np.testing.assert_array_equal(atoms.positions, expected.positions)
    np.testing.assert_array_equal(atoms.cell.array, expected.cell.array)


def test_a_compressed_file_cut_short_is_refused(tmp_path):
    path = tmp_path / "OUTCAR.gz"
    data = gzip.compress(outcar_text([step_text(CRYSTAL, tensors=full_tensors())]).encode())
    for end in (20, len(data) // 2, len(data) - 9):
        path.write_bytes(data[:end])
        with pytest.raises(InputError, match=r"OUTCAR\.gz"):
            list(read_outcar(path, ReadOptions()))


def test_the_dielectric_tensor_has_all_local_field_effects(tmp_path):
    blocks = [
        dielectric_text(EPSILON, "(including local field effects in DFT)"),
        dielectric_text(2 * EPSILON, "(including local field effects in RPA (Hartree))"),
        dielectric_text(3 * EPSILON, "(excluding local field effects)"),
        charges_text(RESPONSE),
    ]
    (atoms,) = outcar(tmp_path, outcar_text([step_text(CRYSTAL, tensors="".join(blocks))]))
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON)
    (atoms,) = outcar(tmp_path, outcar_text([step_text(CRYSTAL, tensors="".join(blocks[2:]))]))
    assert "epsilon_inf" not in atoms.info


def test_every_step_has_to_converge(tmp_path):
    steps = [step_text(CRYSTAL), step_text(CRYSTAL, "aborting loop", full_tensors())]
    assert "frame 1: the electronic loop" in only_error(outcar(tmp_path, outcar_text(steps)))
