"""The symmetries that the tensors must have, on random structures and random weights."""

import functools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, make_supercell, molecule
from helpers.crystals import random_structure
from helpers.examples import examples
from helpers.networks import SMALL, predict, random_params
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group, special_ortho_group

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-10}
SEEDS = st.integers(0, 2**32 - 1)
few = examples(8)
pytestmark = pytest.mark.property


def assert_same(actual, expected, dtype):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=TOLERANCE[dtype] * np.abs(expected).max())


@pytest.fixture
def tensors(precision):
    """Structure -> tensors, with one compiled shape for all."""
    params = random_params(SMALL, precision)
    return functools.partial(predict, SMALL, params, dtype=precision, nodes=32, neighbours=40)


@given(seed=SEEDS)
@few
def check_orthogonal(tensors, precision, group, seed):
    atoms = random_structure(seed)
    matrix = group.rvs(3, random_state=seed)
    turned = Atoms(
        atoms.numbers, positions=atoms.positions @ matrix.T, cell=atoms.cell.array @ matrix.T, pbc=True
    )
    expected = np.einsum("ac,bd,ncd->nab", matrix, matrix, tensors(atoms))
    assert_same(tensors(turned), expected, precision)


def test_rotation(tensors, precision):
    check_orthogonal(tensors, precision, special_ortho_group)


def test_rotation_and_reflection(tensors, precision):
    check_orthogonal(tensors, precision, ortho_group)


@pytest.mark.parametrize("matrix", [-np.eye(3), np.diag([1.0, 1.0, -1.0])], ids=["inversion", "mirror"])
def test_improper_operations_by_themselves(tensors, precision, matrix):
    atoms = random_structure(3)
    image = Atoms(atoms.numbers, positions=atoms.positions @ matrix, cell=atoms.cell.array @ matrix, pbc=True)
    assert_same(tensors(image), matrix @ tensors(atoms) @ matrix, precision)


def test_translation_and_choice_of_images(tensors, precision):
    @given(seed=SEEDS)
    @few
    def check(seed):
        rng = np.random.default_rng(seed)
        atoms = random_structure(seed)
        moved = atoms.copy()
        moved.positions += rng.uniform(-5, 5, 3) + rng.integers(-2, 3, (8, 3)) @ atoms.cell.array
        assert_same(tensors(moved), tensors(atoms), precision)

    check()


def test_permutation(tensors, precision):
    @given(seed=SEEDS)
    @few
    def check(seed):
        atoms = random_structure(seed)
        order = np.random.default_rng(seed).permutation(8)
        assert_same(tensors(atoms[order]), tensors(atoms)[order], precision)

    check()


def test_padding(tensors, precision):
    atoms = random_structure(5)
    params = random_params(SMALL, precision)
    for nodes, neighbours in ((9, 40), (50, 43)):
        padded = predict(SMALL, params, atoms, dtype=precision, nodes=nodes, neighbours=neighbours)
        assert_same(padded, tensors(atoms), precision)


def test_tensors_are_not_symmetric(tensors):
    found = tensors(random_structure(1))
    assert np.abs(found - found.transpose(0, 2, 1)).max() > 0.05 * np.abs(found).max()


SKEWED = np.array([[1, 1, 0], [0, 1, 2], [1, 0, 1]])
CELLS = {
    "MgO": bulk("MgO", "rocksalt", a=4.21),
    "displaced MgO": bulk("MgO", "rocksalt", a=4.21),
    "cubic perovskite": Atoms(
        "CaTiO3",
        cell=[3.84] * 3,
        pbc=True,
        scaled_positions=[[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    ),
    "one atom, only self-images": bulk("Cu", a=3.6),
    "slab": fcc111("Al", (1, 1, 3), a=4.05, vacuum=3.0),
}
CELLS["displaced MgO"].positions[1] += [0.1, -0.05, 0.2]


def tensors_of(atoms):
    """In double precision, all structures in one compiled shape."""
    return predict(SMALL, random_params(SMALL, np.float64), atoms, np.float64, nodes=48, neighbours=20)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("matrix", [2 * np.eye(3, dtype=int), SKEWED], ids=["2x2x2", "skewed"])
def test_a_supercell_has_the_tensors_of_its_cell(name, matrix, float64):
    atoms = CELLS[name]
    if not atoms.pbc.all():
        matrix = np.diag([2, 3, 1]) if matrix is not SKEWED else np.array([[1, 1, 0], [-1, 2, 0], [0, 0, 1]])
    atoms.set_array("origin", np.arange(len(atoms)))
    small = tensors_of(atoms)
    large = make_supercell(atoms, matrix)
    assert len(large) == len(atoms) * round(abs(np.linalg.det(matrix)))
    found = tensors_of(large)
    np.testing.assert_allclose(found, small[large.arrays["origin"]], atol=1e-10 * max(np.abs(small).max(), 1))


def test_primitive_and_conventional_cell_agree(float64):
    primitive = tensors_of(bulk("MgO", "rocksalt", a=4.21))
    conventional = tensors_of(bulk("MgO", "rocksalt", a=4.21, cubic=True))
    np.testing.assert_allclose(conventional, np.tile(primitive, (4, 1, 1)), atol=1e-10)


def test_cubic_perovskite_has_isotropic_cations(float64):
    """Minimum-image graphs give Ti off-diagonal components here that the symmetry forbids."""
    tensors = tensors_of(CELLS["cubic perovskite"])
    for cation in tensors[:2]:
        np.testing.assert_allclose(cation, np.eye(3) * cation[0, 0], atol=1e-10)
    oxygen = tensors[2]  # on the z face: transverse x = y, longitudinal z
    np.testing.assert_allclose(oxygen, np.diag([oxygen[0, 0], oxygen[0, 0], oxygen[2, 2]]), atol=1e-10)
    assert abs(oxygen[0, 0] - oxygen[2, 2]) > 1e-3


def test_molecules_have_tensors_that_sum_to_their_charge(float64):
    for charge in (0.0, -1.0):
        ethanol = molecule("CH3CH2OH")
        ethanol.info["charge"] = charge
        tensors = tensors_of(ethanol)
        np.testing.assert_allclose(tensors.sum(axis=0), charge * np.eye(3), atol=1e-10)


def test_an_isolated_atom_gets_the_answer_of_no_edges(float64):
    tensors = tensors_of(Atoms("O2", positions=[[0, 0, 0], [0, 0, 50]]))
    assert np.isfinite(tensors).all()
    np.testing.assert_allclose(tensors[0], tensors[1], atol=1e-12)
