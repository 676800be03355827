import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers.abinit_files import EPSILON, charges_text, output_text
from helpers.dipole import crystal_and_tensors

from equivar_jax.errors import InputError
from equivar_jax.io import scan_structures, structure_files
from equivar_jax.io.abinit_output import read_abinit_output
from equivar_jax.io.formats import recognise_format
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import born_effective_charges

ATOMS, TENSORS = crystal_and_tensors()
BY_FIELD, BY_DISPLACEMENT = charges_text(TENSORS), charges_text(TENSORS, "phonon")


def only(tmp_path: Path, text: str) -> Atoms | InputError:
    (tmp_path / "run.abo").write_text(text)
    (found,) = scan_structures(tmp_path / "run.abo")
    return found


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "run.abo"
    path.write_text(text)
    try:
        (error,) = read_abinit_output(path, ReadOptions())
    except InputError as raised:
        error = raised
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    assert str(path) in str(error)
    return str(error)


@pytest.mark.parametrize("charges", [BY_FIELD, BY_DISPLACEMENT, charges_text(TENSORS, "")])
def test_the_names_of_the_perturbations_tell_field_and_displacement(tmp_path, charges):
    atoms = only(tmp_path, output_text(ATOMS, charges))
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, atol=1e-10)
    assert np.abs(TENSORS - TENSORS.transpose(0, 2, 1)).max() > 0.1
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON)


@pytest.mark.parametrize("positions", ["xred", "xcart", "xangst"])
@pytest.mark.parametrize("suffix", ["", "2"])
def test_the_structure_of_the_echoed_variables(tmp_path, positions, suffix):
    atoms = only(tmp_path, output_text(ATOMS, BY_FIELD, positions=positions, suffix=suffix))
    np.testing.assert_allclose(atoms.cell.array, ATOMS.cell.array, atol=1e-10)
    np.testing.assert_allclose(atoms.positions, ATOMS.positions, atol=1e-10)
    assert list(atoms.symbols) == list(ATOMS.symbols)
    assert atoms.pbc.all()


def test_variables_of_another_data_set_do_not_count(tmp_path):
    text = output_text(ATOMS, BY_FIELD, suffix="2")
    others = (
        "            acell1  9.0 9.0 9.0 Bohr\n            xred1   0.1 0.2 0.3\n            xcart   0.0\n"
    )
    atoms = only(tmp_path, text.replace("            xred2", f"{others}            xred2"))
    np.testing.assert_allclose(atoms.positions, ATOMS.positions, atol=1e-10)
    assert "no xred, xcart" in refusal(tmp_path, text.replace("xred2", "xred3"))


def test_charges_from_fields_are_preferred(tmp_path):
    both = output_text(ATOMS, BY_FIELD, charges_text(0.9 * TENSORS, "phonon"))
    np.testing.assert_allclose(born_effective_charges(only(tmp_path, both)), TENSORS, atol=1e-10)


def test_charges_of_single_bands_are_not_charges(tmp_path):
    band = BY_DISPLACEMENT.replace("coordinates,", "coordinates, for band           1")
    atoms = only(tmp_path, output_text(ATOMS, BY_FIELD, band))
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, atol=1e-10)


def test_a_response_without_fields_of_all_directions(tmp_path):
    lines = BY_FIELD.splitlines(keepends=True)
    partial = "".join(lines[:30])
    assert "anaddb" in refusal(tmp_path, output_text(ATOMS, partial))
    atoms = only(tmp_path, output_text(ATOMS, partial, BY_DISPLACEMENT))
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, atol=1e-10)


def test_without_a_complete_dielectric_tensor(tmp_path):
    assert "epsilon_inf" not in only(tmp_path, output_text(ATOMS, BY_FIELD, epsilon=None)).info


def test_the_output_of_anaddb_names_its_other_file(tmp_path):
    text = (
        ".Version 9.6.2 of ANADDB \n\n Effective charge tensors after \n imposition of the charge neutrality,"
        "\n   atom    displacement\n         1         1   -1.459026E-01   -4.221132E-02    6.290590E-02\n"
    )
    assert "anaddb.nc" in refusal(tmp_path, text)
    assert recognise_format(tmp_path / "run.abo").name == "abinit_output"


def test_of_the_files_of_one_calculation_one_is_read(tmp_path):
    (tmp_path / "run.abo").write_text(output_text(ATOMS, BY_FIELD))
    (tmp_path / "POSCAR").write_text("MgO\n")
    assert structure_files(tmp_path) == [tmp_path / "run.abo"]
    for name, content in (("run_DDB.nc", b"CDF\x02"), ("run_anaddb.nc", b"CDF\x02")):
        (tmp_path / name).write_bytes(content)
    assert structure_files(tmp_path) == [tmp_path / "run_anaddb.nc"]


def test_an_output_without_charges_is_left_to_ase(tmp_path):
    (tmp_path / "run.abo").write_text(output_text(ATOMS))
    form = recognise_format(tmp_path / "run.abo")
    assert form is None or form.name != "abinit_output"


WHOLE = output_text(ATOMS, BY_FIELD, suffix="2")
FAULTS = {
    "no lattice": (lambda text: re.sub(r"acell2 .*", "acell2 0.0 0.0 0.0 Bohr", text), "span no crystal"),
    "two outputs": (lambda text: text + text, "several outputs"),
    "unfinished": (lambda text: text.replace("Calculation completed", ""), "not a complete output"),
    "no echo": (lambda text: text.replace("after computation", ""), "not a complete output"),
    "unconverged": (
        lambda text: text.replace("  Phonon wave", " nstep=   80 was not enough SCF cycles to converge;\n"),
        "larger nstep",
    ),
    "PAW without ddk": (
        lambda text: text.replace(
            "  Eff", " Warning: Born effectives charges are not correctly computed\n  Eff"
        ),
        "ddk",
    ),
    "another lattice": (lambda text: text.replace(" R(2)=", " R(2)=  9.0"), "R(1) to R(3)"),
    "a lattice of another data set": (
        lambda text: text.replace("acell2", "acell1"),
        "lattice of the data set",
    ),
    "an element twice": (
        lambda text: text.replace("   2    1   1    7", "   1    1   1    7"),
        "there twice",
    ),
    "another field": (lambda text: text.replace("   2    1   1    7", "   2    1   1    6"), "perturbations"),
    "asterisks": (lambda text: text.replace(f"{TENSORS[0, 0, 1]:20.10f}", "*" * 20), "finite"),
    "mixed atoms": (lambda text: text.replace("2.20000000000000E+01", "2.25000000000000E+01"), "znucl"),
    "an atom less": (
        lambda text: text.replace("            natom        5", "            natom        4"),
        "4",
    ),
}


@pytest.mark.parametrize(("damage", "found"), FAULTS.values(), ids=FAULTS)
def test_damage_is_named(tmp_path, damage, found):
    changed = damage(WHOLE)
    assert changed != WHOLE
    assert found in refusal(tmp_path, changed)


def test_no_missing_line_gives_a_wrong_label(tmp_path):
    lines = WHOLE.splitlines(keepends=True)
    path = tmp_path / "run.abo"
    for missing in range(len(lines)):
        path.write_text("".join(lines[:missing] + lines[missing + 1 :]))
        try:
            (found,) = read_abinit_output(path, ReadOptions())
        except InputError:
            continue
        if isinstance(found, Atoms):
            np.testing.assert_allclose(born_effective_charges(found), TENSORS, atol=1e-10)
            np.testing.assert_allclose(found.positions, ATOMS.positions, atol=1e-10)
            np.testing.assert_allclose(found.cell.array, ATOMS.cell.array, atol=1e-10)


@pytest.mark.parametrize("options", [ReadOptions(key="becs"), ReadOptions(first_index="field")])
def test_nothing_can_be_chosen(tmp_path, options):
    (tmp_path / "run.abo").write_text(WHOLE)
    with pytest.raises(InputError, match="leave out"):
        list(read_abinit_output(tmp_path / "run.abo", options))
