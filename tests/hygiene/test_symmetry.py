import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from helpers.hygiene_crystals import CONFIG, distorted, perovskite, transposed
from scipy.spatial.transform import Rotation

from equivar_jax.hygiene.symmetry import symmetry_deviation
from equivar_jax.structures import born_effective_charges

SYMPREC = CONFIG.symprec
CYCLIC = np.eye(3)[[1, 2, 0]]
TURNS = {
    "random": Rotation.from_euler("xyz", [0.3, 0.8, -0.5]).as_matrix(),
    "axes in another order": CYCLIC,
}


def test_exact_tensors_have_the_symmetry_of_their_crystal():
    atoms = perovskite()
    tensors = born_effective_charges(atoms)
    assert np.abs(tensors - tensors.transpose(0, 2, 1)).max() > 0.1
    assert symmetry_deviation(atoms, tensors, SYMPREC) < 1e-6


def test_a_transposed_label_has_the_very_same_symmetry():
    atoms = perovskite()
    assert symmetry_deviation(atoms, born_effective_charges(transposed(atoms)), SYMPREC) < 1e-6


@pytest.mark.parametrize("turn", TURNS)
def test_a_label_in_other_axes_than_its_crystal_is_seen(turn):
    atoms = perovskite()
    tensors = TURNS[turn] @ born_effective_charges(atoms) @ TURNS[turn].T
    assert symmetry_deviation(atoms, tensors, SYMPREC) > 2 * CONFIG.symmetry


def test_columns_and_atoms_in_the_wrong_order_are_seen():
    atoms = perovskite()
    tensors = born_effective_charges(atoms)
    mixed_up = tensors.reshape(-1, 9).T.reshape(-1, 3, 3)
    assert symmetry_deviation(atoms, mixed_up, SYMPREC) > 2 * CONFIG.symmetry
    swapped = tensors.copy()
    swapped[[0, -1]] = swapped[[-1, 0]]
    assert symmetry_deviation(atoms, swapped, SYMPREC) > 2 * CONFIG.symmetry


def test_the_deviation_is_relative_to_the_size_of_the_tensors():
    atoms = bulk("MgO", "rocksalt", a=4.21)
    tensors = np.array([2.0, -2.0])[:, None, None] * np.eye(3)
    tensors[0, 0, 0] += 0.3
    size = np.sqrt((tensors**2).sum(axis=(1, 2)).mean() / 3.0)
    assert symmetry_deviation(atoms, tensors, SYMPREC) == pytest.approx(0.3 / size)
    assert symmetry_deviation(atoms, tensors / 100.0, SYMPREC) == pytest.approx(0.003)


def test_one_wrong_copy_in_a_supercell_breaks_a_translation():
    atoms = bulk("MgO", "rocksalt", a=4.21).repeat((3, 2, 1))
    tensors = np.tile(np.array([2.0, -2.0])[:, None, None] * np.eye(3), (6, 1, 1))
    assert symmetry_deviation(atoms, tensors, SYMPREC) < 1e-9
    tensors[4] *= 1.3
    assert symmetry_deviation(atoms, tensors, SYMPREC) > 0.2


def test_crystals_without_symmetry_and_atoms_alone_in_a_cell_are_no_trouble():
    atoms = distorted()
    assert symmetry_deviation(atoms, born_effective_charges(atoms), SYMPREC) == pytest.approx(0.0, abs=1e-12)
    assert symmetry_deviation(bulk("Cu"), np.zeros((1, 3, 3)), SYMPREC) == 0.0


def test_what_is_not_periodic_is_passed_over():
    water = molecule("H2O", vacuum=4.0)
    assert symmetry_deviation(water, np.ones((3, 3, 3)), SYMPREC) is None
    slab = Atoms("Mg", cell=[3, 3, 20], pbc=[True, True, False])
    assert symmetry_deviation(slab, np.ones((1, 3, 3)), SYMPREC) is None


def test_when_spglib_finds_nothing_there_is_nothing_to_say():
    twice = Atoms("Mg2", positions=[[0, 0, 0], [0, 0, 1e-6]], cell=4 * np.eye(3), pbc=True)
    assert symmetry_deviation(twice, np.ones((2, 3, 3)), SYMPREC) is None
