import bz2
import gzip
import lzma
from pathlib import Path

import ase.test
import numpy as np
import pytest
import zstandard
from ase import Atoms
from helpers.vasp_files import (
    CRYSTAL,
    EPSILON,
    RESPONSE,
    calculation_xml,
    charges_text,
    displaced,
    from_outcar,
    from_vasprun,
    full_tensors,
    label,
    only_error,
    outcar,
    outcar_text,
    step_text,
    vasprun,
    vasprun_text,
)

from equivar_jax.datasets.demonstration import polarisable_ion
from equivar_jax.errors import InputError
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.vasp import read_outcar, read_vasprun, recognises_outcar, recognises_vasprun
from equivar_jax.structures import born_effective_charges

SHIPPED = Path(ase.test.__file__).parent / "testdata" / "vasp"
FORMATS = pytest.mark.parametrize("read", [from_vasprun, from_outcar])


@FORMATS
def test_the_first_index_is_the_field(tmp_path, read):
    (atoms,) = read(tmp_path)
    expected = polarisable_ion.born_effective_charges(CRYSTAL)
    np.testing.assert_allclose(label(atoms), expected, atol=2e-5)
    (transposed,) = read(tmp_path, RESPONSE.transpose(2, 1, 0))
    assert np.abs(label(transposed) - expected).max() > 0.1


@FORMATS
def test_the_structure_is_the_one_of_the_tensors(tmp_path, read):
    (atoms,) = read(tmp_path)
    assert list(atoms.symbols) == list(CRYSTAL.symbols)
    np.testing.assert_allclose(atoms.cell.array, CRYSTAL.cell.array, atol=1e-8)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-5)
    assert atoms.pbc.all()
    assert atoms.info["source"].endswith(", frame 0")


@FORMATS
def test_the_dielectric_tensor_is_the_electronic_one(tmp_path, read):
    (atoms,) = read(tmp_path)
    epsilon = atoms.info["epsilon_inf"]
    assert epsilon.dtype == np.float64
    np.testing.assert_allclose(epsilon, EPSILON, atol=1e-8)


@FORMATS
def test_a_calculation_without_charges_is_a_structure_without_label(tmp_path, read):
    (atoms,) = read(tmp_path, None)
    assert born_effective_charges(atoms) is None
    assert "epsilon_inf" not in atoms.info
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-5)


def test_a_shipped_vasprun():
    (atoms,) = read_vasprun(SHIPPED / "vasprun_dfpt.xml", ReadOptions())
    assert list(atoms.symbols) == ["Na", "Cl"]
    np.testing.assert_allclose(label(atoms), [1.14672091 * np.eye(3), -1.14672091 * np.eye(3)])
    np.testing.assert_allclose(atoms.info["epsilon_inf"], 2.6958435 * np.eye(3))
    assert atoms.get_volume() == pytest.approx(40.57647914)


@pytest.mark.parametrize("read", [vasprun, outcar])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, read):
    if read is vasprun:
        text, end_mark = vasprun_text([calculation_xml(CRYSTAL, RESPONSE)]), "</modeling>"
    else:
        text = outcar_text([step_text(CRYSTAL, tensors=full_tensors())])
        end_mark = "General timing and accounting"
    complete = text.index(end_mark) + len(end_mark)
    for end in (*range(1, complete, 41), complete - 1):
        with pytest.raises(InputError) as caught:
            read(tmp_path, text[:end])
        assert "\n" not in str(caught.value)
    assert label(read(tmp_path, text[:complete])[0]).shape == (5, 3, 3)


@pytest.mark.parametrize("read", [vasprun, outcar])
def test_no_missing_line_gives_a_wrong_label(tmp_path, read):
    if read is vasprun:
        text = vasprun_text([calculation_xml(CRYSTAL, RESPONSE), calculation_xml(displaced(), None)])
    else:
        text = outcar_text([step_text(CRYSTAL, tensors=full_tensors()), step_text(displaced())])
    whole = label(read(tmp_path, text)[0])
    lines = text.splitlines(keepends=True)
    for missing in range(len(lines)):
        try:
            (atoms,) = read(tmp_path, "".join(lines[:missing] + lines[missing + 1 :]))
        except (InputError, ValueError):  # refused, or no label and so both structures
            continue
        if isinstance(atoms, Atoms) and born_effective_charges(atoms) is not None:
            np.testing.assert_array_equal(label(atoms), whole, err_msg=lines[missing])
            np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-5)


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
def test_compressed_files(tmp_path, compress):
    plain = vasprun_text([calculation_xml(CRYSTAL, RESPONSE)]).encode("iso-8859-1")
    path = tmp_path / "vasprun.xml.compressed"
    path.write_bytes(compress(plain))
    (atoms,) = read_vasprun(path, ReadOptions())
    np.testing.assert_allclose(label(atoms), polarisable_ion.born_effective_charges(CRYSTAL), atol=2e-5)
    path = tmp_path / "OUTCAR.compressed"
    path.write_bytes(compress(outcar_text([step_text(CRYSTAL, tensors=full_tensors())]).encode()))
    (atoms,) = read_outcar(path, ReadOptions())
    np.testing.assert_allclose(label(atoms), polarisable_ion.born_effective_charges(CRYSTAL), atol=2e-5)


@pytest.mark.parametrize("read", [vasprun, outcar])
def test_tensors_belong_to_the_step_in_which_they_are(tmp_path, read):
    if read is vasprun:
        text = vasprun_text(
            [calculation_xml(CRYSTAL, RESPONSE), calculation_xml(displaced(), None)], IBRION="6"
        )
    else:
        steps = [step_text(CRYSTAL, tensors=full_tensors()), step_text(displaced())]
        text = outcar_text(steps, IBRION="6")
    (atoms,) = read(tmp_path, text)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-5)
    label(atoms)


@pytest.mark.parametrize("read", [vasprun, outcar])
def test_tensors_at_a_displaced_structure_are_refused(tmp_path, read):
    if read is vasprun:
        text = vasprun_text(
            [calculation_xml(CRYSTAL, None), calculation_xml(displaced(), RESPONSE)], IBRION="6"
        )
    else:
        steps = [step_text(CRYSTAL), step_text(displaced(), tensors=full_tensors())]
        text = outcar_text(steps, IBRION="6")
    assert "frame 1: Born effective charges at a displaced structure" in only_error(read(tmp_path, text))
    # The same in a relaxation or molecular dynamics is a label of the second structure.
    (atoms,) = read(tmp_path, text.replace("IBRION =      6", "IBRION =      2").replace("> 6 <", "> 2 <"))
    np.testing.assert_allclose(atoms.positions, displaced().positions, atol=1e-5)
    assert atoms.info["source"].endswith(", frame 1")


@pytest.mark.parametrize("read", [vasprun, outcar])
def test_every_step_is_a_structure_where_none_has_charges(tmp_path, read):
    if read is vasprun:
        text = vasprun_text([calculation_xml(CRYSTAL, None), calculation_xml(displaced(), None)])
    else:
        text = outcar_text([step_text(CRYSTAL), step_text(displaced())])
    first, second = read(tmp_path, text)
    np.testing.assert_allclose(
        second.positions - first.positions, displaced().positions - CRYSTAL.positions, atol=1e-5
    )
    assert second.info["source"].endswith(", frame 1")


@FORMATS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(tmp_path, read, value):
    broken = RESPONSE.copy()
    broken[1, 4, 2] = value
    assert "expected 3 finite numbers" in only_error(read(tmp_path, broken))


@pytest.mark.parametrize("read", [vasprun, outcar])
@pytest.mark.parametrize("where", ["tensors", "dielectric", "positions"])
def test_asterisks_are_refused(tmp_path, read, where):
    if read is vasprun:
        text = vasprun_text([calculation_xml(CRYSTAL, RESPONSE)])
        start = {
            "tensors": text.index("<dimension"),
            "dielectric": text.index('name="epsilon" '),
            "positions": text.index('name="positions"', text.index("<calculation>")),
        }[where]
    else:
        text = outcar_text([step_text(CRYSTAL, tensors=full_tensors())])
        start = {
            "tensors": text.index("ion    1\n"),
            "dielectric": text.index("(including local field effects in DFT)"),
            "positions": text.index(" POSITION "),
        }[where]
    number = text.index(".", start)
    broken = text[: number - 2] + "*******" + text[number + 5 :]
    assert "******" in only_error(read(tmp_path, broken))


@pytest.mark.parametrize("read", [vasprun, outcar])
def test_two_sets_of_charges_must_agree(tmp_path, read):
    def text(second):
        if read is outcar:
            return outcar_text([step_text(CRYSTAL, tensors=charges_text(RESPONSE) + charges_text(second))])
        array = calculation_xml(CRYSTAL, second)
        array = array[array.index("<array name=") : array.index("</array>") + len("</array>\n")]
        return vasprun_text(
            [calculation_xml(CRYSTAL, RESPONSE).replace("<eigenvalues>", array + "<eigenvalues>")]
        )

    assert label(read(tmp_path, text(RESPONSE))[0]).shape == (5, 3, 3)
    assert "2 sets of Born effective charges that differ" in only_error(read(tmp_path, text(0.9 * RESPONSE)))


@pytest.mark.parametrize("read", [vasprun, outcar])
def test_charges_without_local_fields_are_refused(tmp_path, read):
    if read is vasprun:
        text = vasprun_text([calculation_xml(CRYSTAL, RESPONSE)], LRPA="T")
    else:
        text = outcar_text([step_text(CRYSTAL, tensors=full_tensors())], LRPA="T")
    assert "LRPA" in only_error(read(tmp_path, text))


def test_an_unconverged_electronic_loop_is_refused(tmp_path):
    unconverged = vasprun_text([calculation_xml(CRYSTAL, RESPONSE, iterations=60)])
    assert "larger NELM" in only_error(vasprun(tmp_path, unconverged))
    for end in ("aborting loop EDIFF was not reached (unconverged)", ""):
        step = step_text(CRYSTAL, end, full_tensors())
        assert "larger NELM" in only_error(outcar(tmp_path, outcar_text([step])))


@FORMATS
def test_every_atom_needs_a_tensor(tmp_path, read):
    assert only_error(read(tmp_path, RESPONSE[:, :4]))


def test_charges_without_a_structure_are_refused(tmp_path):
    outside = vasprun_text([calculation_xml(CRYSTAL, None)]).replace(
        "</modeling>", '<array name="born_charges"><set></set></array></modeling>'
    )
    with pytest.raises(InputError, match="outside an ionic step"):
        vasprun(tmp_path, outside)
    early = outcar_text([step_text(CRYSTAL), step_text(displaced())])
    early = early.replace("  volume of cell", full_tensors() + "  volume of cell", 1)
    with pytest.raises(InputError, match="before the positions"):
        outcar(tmp_path, early)


def test_unknown_elements_are_refused(tmp_path):
    text = vasprun_text([calculation_xml(CRYSTAL, RESPONSE)])
    assert "found 'r'" in only_error(vasprun(tmp_path, text.replace("<c>Pb</c>", "<c>r </c>")))
    with pytest.raises(InputError, match="unexpected symbol"):
        outcar(tmp_path, outcar_text([step_text(CRYSTAL)]).replace("PAW_PBE Ti_pv", "PAW_PBE Qq_pv"))


@pytest.mark.parametrize(
    "text", ["<?xml version='1.0'?>\n<modeling></modeling>", "<other/>", "POSCAR\n1.0\n"]
)
def test_other_files_are_refused(tmp_path, text):
    for read in (vasprun, outcar):
        with pytest.raises(InputError):
            read(tmp_path, text)


@pytest.mark.parametrize("options", [ReadOptions(key="becs"), ReadOptions(first_index="field")])
@pytest.mark.parametrize("read", [read_vasprun, read_outcar])
def test_nothing_can_be_chosen(tmp_path, read, options):
    with pytest.raises(InputError, match="leave out"):
        list(read(tmp_path / "file", options))


def test_formats_are_told_by_their_first_bytes():
    xml, text = ((SHIPPED / name).read_bytes()[:8192] for name in ("vasprun_dfpt.xml", "OUTCAR_example_1"))
    path = Path("anything")
    assert recognises_vasprun(path, xml)
    assert recognises_outcar(path, text)
    for other in (b"", b"<?xml version='1.0'?><other>", b"vasp", b"Dynamical matrix file", b"\x89HDF"):
        assert not recognises_vasprun(path, other)
        assert not recognises_outcar(path, other)
    assert not recognises_vasprun(path, text)
    assert not recognises_outcar(path, xml)


def test_a_lattice_vector_of_no_length_is_refused(tmp_path):
    text = vasprun_text([calculation_xml(CRYSTAL, RESPONSE)])
    start = text.index("<v>", text.index('name="basis"', text.index("<calculation>")))
    end = text.index("</v>", start)
    assert "span no crystal" in only_error(vasprun(tmp_path, f"{text[:start]}<v> 0.0 0.0 0.0 {text[end:]}"))
