"""Tensors in phonopy's order of atoms: symmetry, sum rule, order of atoms and of indices."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from helpers.crystals import labelled_crystal
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from scipy.spatial.transform import Rotation

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.phonopy_crystal import phonon_of
from equivar_jax.response.splitting.born_gamma import mode_splitting
from equivar_jax.response.splitting.born_nac import (
    BrokenSymmetryWarning,
    ChargedCellWarning,
    nac_params,
    symmetry_change,
)
from equivar_jax.structures import born_effective_charges

EPSILON_CUBIC = 5.8 * np.eye(3)
EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])


def perovskite():
    """Cubic CaTiO3."""
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    return Atoms("CaTiO3", cell=[3.9] * 3, pbc=True, scaled_positions=places)


def orthorhombic():
    """CaTiO3 in Pnma: four inequivalent atoms among twenty."""
    atoms = crystal(
        ["Ca", "Ti", "O", "O"],
        [(0.036, 0.25, 0.993), (0, 0, 0.5), (0.484, 0.25, 0.071), (0.289, 0.037, 0.711)],
        spacegroup=62,
        cellpar=[5.44, 7.64, 5.38, 90, 90, 90],
    )
    return Atoms(atoms.numbers, cell=atoms.cell, scaled_positions=atoms.get_scaled_positions(), pbc=True)


def test_atoms_and_indices_keep_their_order_in_a_low_symmetry_crystal():
    """Of a doubled cell in a shuffled order, phonopy takes half of the atoms, in an order of its own."""
    one = labelled_crystal()
    double, tensors = one.repeat((1, 2, 1)), np.tile(born_effective_charges(one), (2, 1, 1))
    shuffled = np.random.default_rng(1).permutation(6)
    phonon = phonon_of(double[shuffled])
    nac = nac_params(phonon, tensors[shuffled], EPSILON)
    assert nac["born"].shape == (3, 3, 3)
    np.testing.assert_allclose(nac["dielectric"], EPSILON, atol=1e-12)
    assert nac["factor"] == pytest.approx(14.39965, rel=1e-6)  # e²/(4 pi eps0) in eV Å
    for symbol, found in zip(phonon.primitive.symbols, nac["born"], strict=True):
        expected = born_effective_charges(one)[one.symbols.indices()[symbol][0]]
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert np.abs(found - expected.T).max() > 0.05
    same = nac_params(double[shuffled], tensors[shuffled], EPSILON)
    np.testing.assert_array_equal(same["born"], nac["born"])


@examples(5)
@given(seed=st.integers(0, 2**32 - 1))
def test_symmetric_tensors_turn_with_the_crystal(seed):
    """What symmetrisation leaves does not depend on the axes, obeys the sum rule, and is left alone again."""
    rng = np.random.default_rng(seed)
    rotation = Rotation.random(rng=rng).as_matrix()
    atoms, tensors = orthorhombic(), rng.normal(scale=0.003, size=(20, 3, 3))
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)
    epsilon = np.diag([5.0, 6.0, 7.0])
    one = nac_params(atoms, tensors, epsilon)
    other = nac_params(turned, rotation @ tensors @ rotation.T, rotation @ epsilon @ rotation.T)
    np.testing.assert_allclose(other["born"], rotation @ one["born"] @ rotation.T, atol=1e-7)
    np.testing.assert_allclose(other["dielectric"], rotation @ epsilon @ rotation.T, atol=1e-9)
    np.testing.assert_allclose(one["born"].sum(axis=0), 0.0, atol=1e-12)
    assert symmetry_change(phonon_of(atoms), one["born"]) < 1e-12


def test_a_large_change_by_symmetry_is_warned_of():
    phonon = phonon_of(perovskite())
    tensors = np.array([2.0, 4.0, -2.0, -2.0, -2.0])[:, None, None] * np.eye(3)
    assert symmetry_change(phonon, tensors) < 1e-12
    tensors[0, 0, 1] += 0.3
    # The site's symmetry removes the component; the mean of what is left, nothing, is taken off.
    assert symmetry_change(phonon, tensors) == pytest.approx(0.3)
    with pytest.warns(BrokenSymmetryWarning, match=r"by up to 0\.300 e"):
        nac_params(phonon, tensors, 6 * np.eye(3))
    # A cubic crystal has one dielectric constant, the mean of 2, 3 and 7.
    with pytest.warns(BrokenSymmetryWarning, match=r"dielectric tensor by up to 3\.000"):
        found = nac_params(phonon, np.zeros((5, 3, 3)), np.diag([2.0, 3.0, 7.0]))
    np.testing.assert_allclose(found["dielectric"], 4 * np.eye(3), atol=1e-12)


@pytest.mark.parametrize("spoil", ["shape", "nan", "molecule"])
def test_what_gives_no_parameters(spoil):
    atoms, tensors = perovskite(), np.zeros((5, 3, 3))
    if spoil == "shape":
        tensors = tensors[:4]
    elif spoil == "nan":
        tensors[2, 1, 0] = np.nan
    else:
        atoms.pbc = False
    complaint = {"shape": "expected", "nan": "not finite", "molecule": "not periodic"}[spoil]
    with pytest.raises(InputError, match=complaint):
        nac_params(atoms, tensors, EPSILON)


def test_a_charged_cell_is_made_neutral_with_a_word():
    """What phonopy takes off is Q/N, no broken symmetry; what remains is the same as of neutral tensors."""
    atoms = perovskite()
    tensors = np.array([2.6, 7.2, -3.1, -3.1, -3.1])[:, None, None] * np.eye(3)
    tensors -= tensors.mean(axis=0)
    expected = nac_params(atoms, tensors, EPSILON_CUBIC)["born"]
    atoms.info["charge"] = -2.0
    with pytest.warns(ChargedCellWarning, match="takes Q/N = -0.4 e off"):
        found = nac_params(atoms, tensors - 0.4 * np.eye(3), EPSILON_CUBIC)["born"]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    with pytest.warns(ChargedCellWarning, match="-0.4 e"):
        found = nac_params(phonon_of(atoms), tensors - 0.4 * np.eye(3), EPSILON_CUBIC, charge=-2.0)["born"]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_masses_of_isotopes_reach_phonopy():
    """Also those of atoms that differ in nothing else: phonopy's primitive cell would lose them."""
    atoms = bulk("LiH", "rocksalt", a=4.08, cubic=True)
    hydrogen = np.flatnonzero(atoms.numbers == 1)
    assert sorted(phonon_of(atoms).primitive.masses) == pytest.approx([1.00794, 6.941], abs=1e-3)
    atoms.set_masses(np.where(atoms.numbers == 1, 2.014, atoms.get_masses()))
    phonon = phonon_of(atoms)
    assert sorted(phonon.primitive.masses) == pytest.approx([2.014, 6.94])
    masses = atoms.get_masses()
    masses[hydrogen[0]] = 1.008
    atoms.set_masses(masses)
    mixed = phonon_of(atoms, (2, 1, 1))
    assert mixed.primitive.masses == pytest.approx(masses)
    assert len(mixed.supercell) == 16


def test_left_handed_vectors_of_a_structure_become_right_handed():
    """phonopy would find no primitive cell, and subtract the splitting; atoms stay where they are."""
    one, direction = labelled_crystal(), [0.3, -0.2, 1.0]
    atoms, tensors = one.repeat((1, 2, 1)), np.tile(born_effective_charges(one), (2, 1, 1))
    mirrored = atoms.copy()
    mirrored.set_cell(atoms.cell.array[[1, 0, 2]])
    found = []
    for crystal_ in (atoms, mirrored):
        phonon = phonon_of(crystal_)
        assert len(phonon.primitive) == 3
        assert phonon.primitive.volume > 0
        np.testing.assert_allclose(phonon.unitcell.positions, atoms.positions, atol=1e-9)
        phonon.nac_params = nac_params(phonon, tensors, EPSILON)
        springs = 0.5 * (6 * np.eye(6) - 1)
        phonon.force_constants = springs[:, :, None, None] * np.eye(3)
        found.append(mode_splitting(phonon, direction).frequencies)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_phonopy_objects_of_left_handed_vectors_are_refused():
    """Their signed volume would put LO below TO."""
    cell = PhonopyAtoms(["Li", "F"], cell=np.diag([3.0, 4, -5]), scaled_positions=[[0] * 3, [0.5] * 3])
    phonon = Phonopy(cell, np.eye(3), primitive_matrix="P")
    tensors = np.array([1, -1])[:, None, None] * np.eye(3)
    with pytest.raises(InputError, match="left-handed lattice vectors"):
        nac_params(phonon, tensors, EPSILON_CUBIC)
    phonon.force_constants = np.array([[1, -1], [-1, 1]])[:, :, None, None] * np.eye(3)
    phonon.nac_params = {"born": tensors, "dielectric": EPSILON_CUBIC, "factor": 14.4}
    with pytest.raises(InputError, match="left-handed"):
        mode_splitting(phonon, [1, 0, 0])
