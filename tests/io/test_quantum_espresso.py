import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
import zstandard
from ase import Atoms
from ase.units import Bohr
from helpers.quantum_espresso_files import (
    CRYSTAL,
    EPSILON,
    OLD,
    POLARISATION,
    RESPONSE,
    WITH_ASR,
    WITHOUT_ASR,
    charges_text,
    matrix_text,
    ph_text,
)

from equivar_jax.datasets.demonstration import polarisable_ion
from equivar_jax.errors import InputError
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.quantum_espresso import read_ph_output, recognises_ph_output
from equivar_jax.io.quantum_espresso_matrix import read_dynamical_matrix, recognises_dynamical_matrix
from equivar_jax.structures import born_effective_charges


def from_ph(tmp_path: Path, text: str) -> list[Atoms | InputError]:
    path = tmp_path / "ph.out"
    path.write_text(text, encoding="iso-8859-1")
    return list(read_ph_output(path, ReadOptions()))


def from_matrix(tmp_path: Path, text: str) -> list[Atoms | InputError]:
    path = tmp_path / "PbTiO3.dyn1"
    path.write_text(text, encoding="iso-8859-1")
    return list(read_dynamical_matrix(path, ReadOptions()))


FORMATS = pytest.mark.parametrize(
    ("read", "write"),
    [
        (from_ph, lambda response: ph_text(charges_text(response))),
        (from_matrix, matrix_text),
    ],
    ids=["ph", "matrix"],
)


def label(atoms: Atoms | InputError) -> np.ndarray:
    assert isinstance(atoms, Atoms)
    tensors = born_effective_charges(atoms)
    assert tensors is not None
    return tensors


def only_error(frames: list[Atoms | InputError]) -> str:
    (error,) = frames
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    assert ", frame 0" in str(error)
    return str(error)


EXPECTED = polarisable_ion.born_effective_charges(CRYSTAL)


@FORMATS
def test_the_first_index_is_the_field(tmp_path, read, write):
    (atoms,) = read(tmp_path, write(RESPONSE))
    np.testing.assert_allclose(label(atoms), EXPECTED, atol=2e-5)
    (transposed,) = read(tmp_path, write(RESPONSE.transpose(2, 1, 0)))
    assert np.abs(label(transposed) - EXPECTED).max() > 0.1


@pytest.mark.parametrize(
    ("read", "text", "tolerance"), [(from_ph, ph_text(), 5e-4), (from_matrix, matrix_text(), 1e-7)]
)
def test_the_structure_and_the_dielectric_tensor(tmp_path, read, text, tolerance):
    (atoms,) = read(tmp_path, text)
    assert list(atoms.symbols) == list(CRYSTAL.symbols)
    np.testing.assert_allclose(atoms.cell.array, CRYSTAL.cell.array, atol=tolerance)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=tolerance)
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON, atol=1e-8)
    assert atoms.info["epsilon_inf"].dtype == np.float64
    assert atoms.pbc.all()
    assert atoms.info["source"].endswith(", frame 0")


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (from_ph, ph_text("").replace("Dielectric constant", "No such tensor")),
        (from_matrix, matrix_text(None)),
    ],
)
def test_a_calculation_without_charges_is_a_structure_without_label(tmp_path, read, text):
    (atoms,) = read(tmp_path, text)
    assert born_effective_charges(atoms) is None
    assert "epsilon_inf" not in atoms.info
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=5e-4)


@pytest.mark.parametrize("heading", [OLD, WITHOUT_ASR, WITH_ASR])
def test_every_heading_of_ph_is_known(tmp_path, heading):
    (atoms,) = from_ph(tmp_path, ph_text(charges_text(RESPONSE, heading)))
    np.testing.assert_allclose(label(atoms), EXPECTED, atol=2e-5)


def test_polarisation_rows_have_the_field_first(tmp_path):
    (atoms,) = from_ph(tmp_path, ph_text(charges_text(RESPONSE, POLARISATION, "P")))
    np.testing.assert_allclose(label(atoms), EXPECTED, atol=2e-5)


def test_charges_as_calculated_are_preferred_and_the_last_of_them(tmp_path):
    better = charges_text(0.1 * RESPONSE) + charges_text(RESPONSE)
    worse = charges_text(0.5 * RESPONSE, WITH_ASR) + charges_text(0.7 * RESPONSE, POLARISATION, "P")
    (atoms,) = from_ph(tmp_path, ph_text(better + worse))
    np.testing.assert_allclose(label(atoms), EXPECTED, atol=2e-5)
    (atoms,) = from_ph(tmp_path, ph_text(worse))
    np.testing.assert_allclose(label(atoms), 0.5 * EXPECTED, atol=2e-5)


def test_a_label_names_an_element(tmp_path):
    (atoms,) = from_ph(tmp_path, ph_text(labels=["PB", "Ti1", "O_h", "O-2", "o"]))
    assert list(atoms.symbols) == ["Pb", "Ti", "O", "O", "O"]
    assert "found 'Qq'" in only_error(from_ph(tmp_path, ph_text(labels=["Pb", "Qq", "O", "O", "O"])))


@pytest.mark.parametrize("read", [from_ph, from_matrix])
def test_a_file_cut_short_anywhere_is_refused(tmp_path, read):
    text, end_mark = (ph_text(), "JOB DONE") if read is from_ph else (matrix_text(), "[cm-1]\n *****")
    complete = text.rindex(end_mark) + len(end_mark)
    for end in (*range(1, complete, 29), complete - 1):
        with pytest.raises(InputError) as caught:
            read(tmp_path, text[:end])
        assert "\n" not in str(caught.value)
    assert label(read(tmp_path, text[:complete])[0]).shape == (5, 3, 3)


@pytest.mark.parametrize("read", [from_ph, from_matrix])
def test_no_missing_line_gives_a_wrong_label(tmp_path, read):
    lines = (ph_text() if read is from_ph else matrix_text()).splitlines(keepends=True)
    for missing in range(len(lines)):
        try:
            (atoms,) = read(tmp_path, "".join(lines[:missing] + lines[missing + 1 :]))
        except InputError:
            continue
        if isinstance(atoms, Atoms) and born_effective_charges(atoms) is not None:
            np.testing.assert_allclose(label(atoms), EXPECTED, atol=2e-5)
            np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=5e-4)
            np.testing.assert_allclose(atoms.cell.array, CRYSTAL.cell.array, atol=5e-4)


@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
def test_compressed_files(tmp_path, compress):
    path = tmp_path / "compressed"
    path.write_bytes(compress(ph_text().encode()))
    (atoms,) = read_ph_output(path, ReadOptions())
    np.testing.assert_allclose(label(atoms), EXPECTED, atol=2e-5)
    path.write_bytes(compress(matrix_text().encode()))
    (atoms,) = read_dynamical_matrix(path, ReadOptions())
    np.testing.assert_allclose(label(atoms), EXPECTED, atol=2e-5)


@FORMATS
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused(tmp_path, read, write, value):
    broken = RESPONSE.copy()
    broken[1, 4, 2] = value
    assert "expected 3 finite numbers" in only_error(read(tmp_path, write(broken)))


@pytest.mark.parametrize(
    ("read", "text", "after"),
    [
        (from_ph, ph_text(), "      Ey  ("),
        (from_ph, ph_text(), "constant in cartesian axis"),
        (from_ph, ph_text(), "a(2) = ("),
        (from_ph, ph_text(), "tau(    3) = ("),
        (from_ph, ph_text(), "celldm(1)="),
        (from_matrix, matrix_text(), "atom #    2\n"),
        (from_matrix, matrix_text(), "Dielectric Tensor:"),
        (from_matrix, matrix_text(), "Basis vectors"),
        (from_matrix, matrix_text(), "  3    5   0"),
    ],
)
def test_asterisks_are_refused(tmp_path, read, text, after):
    number = text.index(".", text.index(after) + len(after))
    assert "*****" in only_error(read(tmp_path, text[: number - 1] + "*****" + text[number + 4 :]))


@FORMATS
def test_every_atom_needs_a_tensor(tmp_path, read, write):
    assert "effective charges" in only_error(read(tmp_path, write(RESPONSE[:, :4])))


@pytest.mark.parametrize(("read", "text"), [(from_ph, ph_text()), (from_matrix, matrix_text())])
def test_the_atoms_of_the_charges_are_counted(tmp_path, read, text):
    start = text.index("Effective")
    changed = text[:start] + text[start:].replace("    3", "    4", 1)
    assert changed != text
    assert "effective charges of atom 3" in only_error(read(tmp_path, changed))


def test_rows_of_ph_must_be_in_their_order(tmp_path):
    assert "row 2" in only_error(from_ph(tmp_path, ph_text().replace("Ey  (", "Ez  (")))


def test_an_unconverged_response_is_refused(tmp_path):
    text = ph_text().replace("Convergence has been achieved", "No convergence has been achieved")
    assert "niter_ph" in only_error(from_ph(tmp_path, text))


def test_charges_without_local_fields_are_refused(tmp_path):
    for kind in ("(DV_xc=0)", "(DV_Hxc=0)"):
        text = ph_text().replace("constant in cartesian axis", f"constant in cartesian axis {kind}")
        assert "lrpa" in only_error(from_ph(tmp_path, text))


def test_a_lattice_by_its_number(tmp_path):
    head = "Dynamical matrix file\n\n  2    2   2 10.6907500  0.0000000  0.0000000  0.0000000  0.0  0.0\n"
    types = "           1  'Na '   20954.94\n           2  'Cl '   32314.31\n"
    atoms = "    1    1   0.0   0.0   0.0\n    2    2  -0.5   0.5   0.5\n"
    tail = matrix_text(None)
    tail = tail[tail.index("\n     Dynamical  Matrix") :]
    (salt,) = from_matrix(tmp_path, head + types + atoms + tail)
    # The vectors and the volume, 305.4669 bohr³, that ph.x 6.0 prints for this lattice.
    axes = np.array([[-0.5, 0.0, 0.5], [0.0, 0.5, 0.5], [-0.5, 0.5, 0.0]])
    np.testing.assert_allclose(salt.cell.array, axes * 10.69075 * Bohr)
    assert salt.get_volume() / Bohr**3 == pytest.approx(305.4669, abs=2e-3)
    assert salt.get_distance(0, 1, mic=True) / Bohr == pytest.approx(10.69075 / 2)
    assert "no lattice ibrav 15" in only_error(
        from_matrix(tmp_path, head.replace("    2   2 ", "    2  15 ") + types + atoms + tail)
    )


@pytest.mark.parametrize("text", ["nothing of the kind\n", "Dynamical matrix file\n", "Program PHONON v.7\n"])
@pytest.mark.parametrize("read", [from_ph, from_matrix])
def test_other_files_are_refused(tmp_path, read, text):
    with pytest.raises(InputError, match="not a complete"):
        read(tmp_path, text)


def test_an_output_without_structure_is_refused(tmp_path):
    assert "'celldm(1)' is missing" in only_error(from_ph(tmp_path, ph_text().replace("celldm(1)", "")))


@pytest.mark.parametrize("options", [ReadOptions(key="becs"), ReadOptions(first_index="field")])
@pytest.mark.parametrize("read", [read_ph_output, read_dynamical_matrix])
def test_nothing_can_be_chosen(tmp_path, read, options):
    with pytest.raises(InputError, match="leave out"):
        list(read(tmp_path / "file", options))


def test_formats_are_told_by_their_first_bytes():
    path = Path("anything")
    ph, matrix = ph_text().encode()[:8192], matrix_text().encode()[:8192]
    assert recognises_ph_output(path, ph)
    assert recognises_dynamical_matrix(path, matrix)
    for other in (b"", b"Program PWSCF v.7.2", b"<?xml", b"\x89HDF"):
        assert not recognises_ph_output(path, other)
        assert not recognises_dynamical_matrix(path, other)
    assert not recognises_ph_output(path, matrix)
    assert not recognises_dynamical_matrix(path, ph)
