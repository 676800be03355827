"""Dynamical matrices with charges from displacements or never calculated, and force constants of q2r.x."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers.quantum_espresso_files import CRYSTAL, EPSILON, RESPONSE, constants_text, matrix_text

from equivar_jax.datasets.demonstration import polarisable_ion
from equivar_jax.errors import InputError
from equivar_jax.io import scan_structures
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.quantum_espresso_matrix import read_q2r_constants
from equivar_jax.structures import born_effective_charges

EXPECTED = polarisable_ion.born_effective_charges(CRYSTAL)
VALENCE = {"Pb": 14.0, "Ti": 12.0, "O": 6.0}
UNDISPLACED = np.stack([VALENCE[name] * np.eye(3) for name in CRYSTAL.symbols], axis=1)


def only(tmp_path: Path, text: str, name: str = "a.dyn1") -> Atoms | InputError:
    (tmp_path / name).write_text(text)
    (found,) = scan_structures(tmp_path / name)
    return found


def refusal(tmp_path: Path, text: str, name: str = "a.dyn1") -> str:
    error = only(tmp_path, text, name)
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    return str(error)


def test_charges_from_displacements_have_the_displacement_first(tmp_path):
    atoms = only(tmp_path, matrix_text(None, by_displacement=RESPONSE))
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-7)
    assert np.abs(EXPECTED - EXPECTED.transpose(0, 2, 1)).max() > 0.1


def test_charges_from_fields_are_preferred(tmp_path):
    atoms = only(tmp_path, matrix_text(RESPONSE, by_displacement=0.7 * RESPONSE))
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON)


@pytest.mark.parametrize("left_out", [[0], [1, 4], [0, 1, 2, 3, 4]])
def test_the_valence_of_an_atom_that_was_not_displaced_is_refused(tmp_path, left_out):
    response = RESPONSE.copy()
    response[:, left_out] = UNDISPLACED[:, left_out]
    message = refusal(tmp_path, matrix_text(None, by_displacement=response))
    assert "nat_todo" in message
    assert f"atoms {', '.join(str(atom + 1) for atom in left_out)} are" in message


def test_an_isotropic_tensor_is_no_valence(tmp_path):
    response = RESPONSE.copy()
    response[:, 1] = 5.917263548192 * np.eye(3)
    atoms = only(tmp_path, matrix_text(None, by_displacement=response))
    np.testing.assert_allclose(born_effective_charges(atoms), response.transpose(1, 0, 2), atol=1e-11)


@pytest.mark.parametrize("value", [0.0, -0.0, 4e-13])
def test_charges_that_were_never_calculated_are_refused(tmp_path, value):
    assert "did not calculate" in refusal(tmp_path, matrix_text(np.full_like(RESPONSE, value)))
    some = RESPONSE.copy()
    some[:, 2] = value
    assert "did not calculate" in refusal(tmp_path, matrix_text(some))
    # Where charges from displacements are there as well, they are read.
    atoms = only(tmp_path, matrix_text(np.full_like(RESPONSE, value), by_displacement=RESPONSE))
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)


def test_a_diagonal_component_that_is_exactly_zero_was_not_calculated(tmp_path):
    some = RESPONSE.copy()
    some[1, 2, 1] = 0.0
    assert "did not calculate" in refusal(tmp_path, matrix_text(some))
    assert "did not calculate" in refusal(tmp_path, matrix_text(None, by_displacement=some))
    some = RESPONSE.copy()
    some[1, 2, 0] = 0.0  # which a symmetry may make zero
    atoms = only(tmp_path, matrix_text(some))
    np.testing.assert_allclose(born_effective_charges(atoms), some.transpose(1, 0, 2), atol=1e-11)


def test_several_matrices_in_one_file_are_refused(tmp_path):
    (tmp_path / "a.dyn1").write_text(matrix_text() + matrix_text())
    with pytest.raises(InputError, match="several dynamical-matrix files in one"):
        list(scan_structures(tmp_path / "a.dyn1"))
    assert "lines of force constants" in refusal(tmp_path, constants_text() + constants_text(), "a.fc")


@pytest.mark.parametrize("count", ["0", "-5", "5.5", "99999999"])
def test_counts_of_atoms_that_are_none_are_refused(tmp_path, count):
    text = matrix_text().replace("  3    5   0", f"  3    {count}   0")
    assert "number of types or atoms" in refusal(tmp_path, text)


def test_another_heading_is_refused(tmp_path):
    assert "index order is not known" in refusal(tmp_path, matrix_text(heading="X-Y: Z_{alpha}"))


def test_force_constants_have_the_field_first(tmp_path):
    atoms = only(tmp_path, constants_text(), "a.fc")
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON)
    np.testing.assert_allclose(atoms.cell.array, CRYSTAL.cell.array, atol=1e-7)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-7)
    assert list(atoms.symbols) == list(CRYSTAL.symbols)


def test_force_constants_without_charges_are_a_structure(tmp_path):
    atoms = only(tmp_path, constants_text(None), "a.fc")
    assert born_effective_charges(atoms) is None
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-7)


def test_force_constants_of_charges_that_were_never_calculated(tmp_path):
    assert "did not calculate" in refusal(tmp_path, constants_text(0 * RESPONSE), "a.fc")


def test_force_constants_cut_short_anywhere_are_refused(tmp_path):
    text = constants_text()
    last = len(text.rstrip().rpartition("\n")[0])
    path = tmp_path / "a.fc"
    for end in range(1, last, 997):
        path.write_text(text[:end])
        try:
            (found,) = read_q2r_constants(path, ReadOptions())
        except InputError:
            continue
        assert isinstance(found, InputError), end


def test_no_missing_line_of_force_constants_gives_a_wrong_label(tmp_path):
    lines = constants_text().splitlines(keepends=True)
    path = tmp_path / "a.fc"
    for missing in range(40):
        path.write_text("".join(lines[:missing] + lines[missing + 1 :]))
        (found,) = read_q2r_constants(path, ReadOptions())
        assert isinstance(found, InputError), lines[missing]
