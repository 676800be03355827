"""The electronic dielectric tensor of a committee: symmetry, bound, uncertainty, calibration."""

import dataclasses

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from helpers.committees import DIELECTRIC_CALIBRATION, MEMBERS, calibrated_with_dielectric, joined
from helpers.crystals import titanate
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.errors import InputError
from equivar_jax.prediction.committee import calibrate_committee, compare_dielectric
from equivar_jax.prediction.dielectric import (
    dielectric_of_members,
    dielectric_residuals,
    dielectric_tensors,
    electronic_dielectric_tensor,
)
from equivar_jax.reports.committee_report import committee_table, write_committee
from equivar_jax.structures import with_born_effective_charges
from equivar_jax.uncertainty.calibration import calibrate
from equivar_jax.uncertainty.residuals import pool_spread
from equivar_jax.weights.metadata import Metadata

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")

CRYSTALS = {
    "monoclinic": (14, ["Ti", "O", "O"], [(0.275, 0.04, 0.208), (0.07, 0.332, 0.345), (0.45, 0.757, 0.479)]),
    "orthorhombic": (
        62,
        ["Ca", "Ti", "O", "O"],
        [(0.036, 0.25, 0.993), (0, 0, 0.5), (0.484, 0.25, 0.071), (0.289, 0.037, 0.711)],
    ),
    "tetragonal": (136, ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)]),
    "trigonal": (152, ["Ti", "O"], [(0.47, 0, 1 / 3), (0.413, 0.266, 0.453)]),
    "hexagonal": (186, ["Ca", "O"], [(1 / 3, 2 / 3, 0), (1 / 3, 2 / 3, 0.385)]),
    "cubic": (221, ["Ca", "Ti", "O"], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)]),
}


@pytest.fixture(scope="module")
def three():
    return calibrated_with_dielectric()


def cell_of(system, lengths, angle):
    """Lengths in Å and angles in degrees that the crystal system allows."""
    a, b, c = lengths
    return {
        "monoclinic": [a, b, c, 90, 90 + angle, 90],
        "orthorhombic": [a, b, c, 90, 90, 90],
        "tetragonal": [a, a, c, 90, 90, 90],
        "trigonal": [a, a, c, 90, 90, 120],
        "hexagonal": [a, a, c, 90, 90, 120],
        "cubic": [a, a, a, 90, 90, 90],
    }[system]


def cartesian_rotations(atoms):
    lattice = atoms.cell.array.T
    found = spglib.get_symmetry((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-4)
    return lattice @ found["rotations"] @ np.linalg.inv(lattice)


@pytest.mark.parametrize("system", CRYSTALS)
def test_the_tensor_has_the_symmetry_of_the_crystal(three, system):
    group, symbols, places = CRYSTALS[system]
    lengths = st.tuples(*[st.floats(4.0, 6.0)] * 3)

    @given(lengths=lengths, angle=st.floats(2.0, 12.0), seed=st.integers(0, 2**32 - 1))
    @examples(5)
    def check(lengths, angle, seed):
        cell = cell_of(system, lengths, angle)
        atoms = crystal(symbols, places, spacegroup=group, cellpar=cell)
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
        atoms.set_cell(atoms.cell.array @ turn.T, scale_atoms=True)
        rotations = cartesian_rotations(atoms)
        assert len(rotations) >= 4
        found = electronic_dielectric_tensor(three, atoms)
        moved = np.einsum("sac,cd,sbd->sab", rotations, found, rotations)
        np.testing.assert_allclose(moved, np.broadcast_to(found, moved.shape), atol=2e-5 * np.trace(found))
        anisotropy = np.ptp(np.linalg.eigvalsh(found)) / np.trace(found)
        assert anisotropy < 2e-5 if system == "cubic" else anisotropy > 1e-4

    check()


def test_the_mean_is_symmetric_with_eigenvalues_above_one(three):
    @given(seed=st.integers(0, 2**32 - 1))
    @examples(8)
    def check(seed):
        rng = np.random.default_rng(seed)
        cell = 4.5 * np.eye(3) + rng.uniform(-0.8, 0.8, (3, 3))
        atoms = Atoms("CaTiO3", scaled_positions=rng.uniform(0, 1, (5, 3)), cell=cell, pbc=True)
        if atoms.get_all_distances(mic=True)[np.triu_indices(5, 1)].min() < 0.5:
            return
        found = electronic_dielectric_tensor(three, atoms)
        np.testing.assert_array_equal(found, found.T)
        assert np.linalg.eigvalsh(found).min() > 1

    check()


def test_the_call_returns_it_beside_the_charges(three):
    structures = [titanate(), bulk("CaO", "rocksalt", a=4.8)]
    charges, (expected, sigmas) = (
        three.predict(structures, uncertainty=True),
        dielectric_tensors(three, structures, uncertainty=True),
    )
    for k, (found, pair) in enumerate(
        zip(
            three.predict(structures, dielectric=True),
            three.predict(structures, dielectric=True, uncertainty=True),
            strict=True,
        )
    ):
        tensors, epsilon = found
        (same, sigma), (same_epsilon, epsilon_sigma) = pair
        for one in (tensors, same):
            np.testing.assert_array_equal(one, charges[k][0])
        np.testing.assert_array_equal(sigma, charges[k][1])
        for one in (epsilon, same_epsilon):
            np.testing.assert_array_equal(one, expected[k])
        np.testing.assert_array_equal(epsilon_sigma, sigmas[k])
    one, epsilon = three.predict(structures[0], dielectric=True)
    assert one.shape == (5, 3, 3)
    np.testing.assert_allclose(epsilon, expected[0], rtol=1e-5)
    assert three.predict([], dielectric=True) == []


def test_sigma_is_the_calibrated_spread_of_the_members(three):
    structures = [titanate(), titanate(seed=1)]
    tensors, sigma = dielectric_tensors(three, structures, uncertainty=True)
    members = np.array([dielectric_tensors(three.member(k), structures) for k in range(MEMBERS)])
    np.testing.assert_allclose(tensors, members.mean(axis=0), rtol=1e-5)
    spread = pool_spread(members.std(axis=0, ddof=1))
    expected = DIELECTRIC_CALIBRATION.scale * (spread + DIELECTRIC_CALIBRATION.floor)
    np.testing.assert_allclose(sigma, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(sigma, sigma.transpose(0, 2, 1))


def test_what_cannot_be_given_is_refused_before_anything_is_computed(three, monkeypatch):
    atoms = titanate()
    with pytest.raises(InputError, match=r"no readout .*--model.dielectric True"):
        joined().predict(atoms, dielectric=True)
    with pytest.raises(InputError, match="needs a committee"):
        three.member(0).predict(atoms, dielectric=True, uncertainty=True)
    bare = dataclasses.replace(
        three, metadata=dataclasses.replace(three.metadata, dielectric_calibration=None)
    )
    for name in ("predictions", "dielectric_of_members"):
        monkeypatch.setattr(type(bare), name, lambda *_, **__: pytest.fail("it has computed"))
    with pytest.raises(InputError, match="was not calibrated for dielectric tensors"):
        bare.predict(atoms, dielectric=True, uncertainty=True)
    with pytest.raises(InputError, match="needs a crystal, periodic in three directions"):
        three.predict(Atoms("CaO", [[0, 0, 0], [0, 0, 1.9]]), dielectric=True)


# Calibration


def labelled(model, count, noise, seed=0):
    """Distorted crystals whose dielectric tensors are off by a multiple of the spread of the members."""
    rng = np.random.default_rng(seed)
    structures = [titanate(seed=k) for k in range(count)]
    for atoms in structures:
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.15, 0.15, (3, 3))), scale_atoms=True)
    of_members = dielectric_of_members(model, structures)
    drawn = noise * pool_spread(of_members.std(axis=0, ddof=1)) * rng.normal(size=(count, 3, 3))
    errors = np.triu(drawn) + np.triu(drawn, 1).transpose(0, 2, 1)
    found = []
    for atoms, tensor in zip(structures, of_members.mean(axis=0) + errors, strict=True):
        atoms.info["epsilon_inf"] = tensor
        found.append(with_born_effective_charges(atoms, rng.normal(size=(5, 3, 3))))
    return found


def test_a_committee_is_calibrated_for_both(three, tmp_path):
    structures = labelled(three, 60, noise=0.1)
    structures[3].info["epsilon_inf"] = -np.eye(3)  # broken, as if there were none
    del structures[4].info["epsilon_inf"]
    result = calibrate_committee(three, structures)
    calibration = result.predictor.dielectric_calibration
    assert 5 * 58 < calibration.components <= 6 * 58
    assert calibration.within_one == pytest.approx(0.6827, abs=0.01)
    assert calibration.two_fold_one == pytest.approx(0.6827, abs=0.08)
    spread, tensors = (array[result.dielectric.counted] for array in result.dielectric[1::3])
    assert np.median(calibration.sigma(spread, tensors) / spread) == pytest.approx(0.1, rel=0.2)
    table = committee_table(result, [three.member(0)] * 3, 60, 0)
    assert "electronic dielectric tensors:" in table
    assert "by crystal: " in table
    write_committee(result, tmp_path)
    assert '"dielectric": {' in (tmp_path / "calibration.json").read_text()
    stored = Metadata.from_json(result.predictor.metadata.to_json(), "here")
    assert stored.dielectric_calibration == calibration


def test_without_readout_or_labels_there_is_nothing_to_calibrate(three):
    structures = labelled(three, 3, noise=0.1)
    assert compare_dielectric(joined(), structures) is None
    for atoms in structures[1:]:
        del atoms.info["epsilon_inf"]
    assert len(compare_dielectric(three, structures).errors) == 1
    assert calibrate_committee(three, structures).predictor.metadata.dielectric_calibration is None


def test_of_components_that_symmetry_makes_equal_one_counts_and_of_those_that_are_zero_none():
    rng = np.random.default_rng(0)
    of_members = 5 * np.eye(3) + np.einsum("ms,ab->msab", rng.normal(size=(3, 40)), np.eye(3))
    of_members[:, 0, 0, 1] = of_members[:, 0, 1, 0] = 0.3
    of_members[:, 1, 0, 2] = of_members[:, 1, 2, 0] = [1e-6, -1e-6, 2e-6]  # rounding
    found = dielectric_residuals(of_members, np.tile(4 * np.eye(3), (40, 1, 1)))
    assert found.counted.sum() == 3 * 40 + 1
    assert found.counted[0, 0, 1]
    assert not found.counted[0, 1, 0]
    np.testing.assert_allclose(found.errors, of_members.mean(axis=0) - 4 * np.eye(3))
    assert calibrate(found).components == 121
