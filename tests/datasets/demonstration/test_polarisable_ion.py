import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from equivar_jax.datasets.demonstration import crystals
from equivar_jax.datasets.demonstration.polarisable_ion import (
    Ion,
    born_effective_charges,
    cell_dipole,
    ionic_charges,
    stability,
)
from equivar_jax.errors import InputError

KINDS = {"perovskite": crystals.perovskite, "Li3PO4": crystals.li3po4, "ZrO2": crystals.zro2}
SEEDS = st.integers(0, 2**32 - 1)


def example(kind: str, seed: int = 3) -> Atoms:
    return KINDS[kind](np.random.default_rng(seed))


def five_atoms(seed: int) -> Atoms:
    rng = np.random.default_rng(seed)
    fractions = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    cell = 3.95 * np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    atoms = Atoms("PbTiO3", scaled_positions=fractions, cell=cell, pbc=True)
    atoms.positions += 0.08 * rng.normal(size=(5, 3))
    return atoms


def finite_difference(atoms: Atoms, index: int, direction: int) -> np.ndarray:
    """Five-point derivative of the cell dipole by one displacement, over the field direction."""
    slopes = []
    for step in (2e-3, 4e-3):
        dipoles = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[index, direction] += sign * step
            dipoles.append(cell_dipole(moved))
        slopes.append((dipoles[0] - dipoles[1]) / (2 * step))
    return (4 * slopes[0] - slopes[1]) / 3


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_the_derivative_of_the_cell_dipole_with_the_field_first(kind):
    atoms = example(kind)
    tensors = born_effective_charges(atoms)
    symbols = np.array(atoms.get_chemical_symbols())
    chosen = [int(np.flatnonzero(symbols == symbol)[-1]) for symbol in sorted(set(symbols))]
    numerical = np.array(
        [[finite_difference(atoms, index, direction) for direction in range(3)] for index in chosen]
    ).transpose(0, 2, 1)
    np.testing.assert_allclose(tensors[chosen], numerical, atol=1e-7 * np.abs(tensors).max())
    assert np.abs(tensors[chosen].transpose(0, 2, 1) - numerical).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_displaced_structures_have_an_antisymmetric_part(kind):
    tensors = born_effective_charges(example(kind))
    assert 0.5 * np.abs(tensors - tensors.transpose(0, 2, 1)).max() > 0.01


@examples(8)
@given(kind=st.sampled_from(sorted(KINDS)), seed=SEEDS)
def test_cells_are_neutral_and_stable_and_obey_the_sum_rule(kind, seed):
    atoms = example(kind, seed)
    assert abs(ionic_charges(atoms).sum()) < 1e-12
    assert np.abs(born_effective_charges(atoms).sum(axis=0)).max() < 1e-10
    assert stability(atoms) > 0.2


@examples(8)
@given(seed=SEEDS, mirror=st.booleans())
def test_rotations_and_reflections_turn_the_tensors(seed, mirror):
    atoms = five_atoms(seed)
    rotation = Rotation.random(random_state=seed).as_matrix() * (-1.0 if mirror else 1.0)
    turned = Atoms(
        atoms.numbers, positions=atoms.positions @ rotation.T, cell=atoms.cell.array @ rotation.T, pbc=True
    )
    expected = rotation @ born_effective_charges(atoms) @ rotation.T
    np.testing.assert_allclose(born_effective_charges(turned), expected, atol=1e-9)
    np.testing.assert_allclose(cell_dipole(turned), rotation @ cell_dipole(atoms), atol=1e-9)


@examples(8)
@given(seed=SEEDS)
def test_translation_permutation_and_choice_of_image_change_nothing(seed):
    atoms = five_atoms(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(5)
    other = atoms[order]
    images = rng.integers(-2, 3, size=(5, 3)) @ atoms.cell.array
    other.positions += rng.normal(size=3) + images
    np.testing.assert_allclose(born_effective_charges(other), born_effective_charges(atoms)[order], atol=1e-9)
    quanta = ionic_charges(other) @ images
    np.testing.assert_allclose(cell_dipole(other) - quanta, cell_dipole(atoms), atol=1e-9)


def test_a_supercell_has_the_tensors_of_its_primitive_cell():
    atoms = five_atoms(0)
    repeated = born_effective_charges(atoms.repeat((3, 1, 2))).reshape(6, 5, 3, 3)
    np.testing.assert_allclose(repeated, np.tile(born_effective_charges(atoms), (6, 1, 1, 1)), atol=1e-9)


def test_rock_salt_agrees_with_the_lorentz_local_field():
    ions = {"Mg": Ion(1.8, 0.3, 0.2), "O": Ion(-1.8, 1.5, 0.3)}
    atoms = bulk("MgO", "rocksalt", a=4.21)
    expected = 1.8 / (1.0 - 4.0 * np.pi / 3.0 * (0.3 + 1.5) / atoms.get_volume())
    tensors = born_effective_charges(atoms, ions)
    np.testing.assert_allclose(tensors, [expected * np.eye(3), -expected * np.eye(3)], atol=1e-9)


def test_dipoles_beyond_the_clausius_mossotti_limit_are_refused():
    atoms = bulk("MgO", "rocksalt", a=4.21)
    limit = 3.0 * atoms.get_volume() / (4.0 * np.pi)
    near = {"Mg": Ion(1.8, 0.3, 0.2), "O": Ion(-1.8, limit - 0.4, 0.3)}
    beyond = {"Mg": Ion(1.8, 0.3, 0.2), "O": Ion(-1.8, limit - 0.2, 0.3)}
    assert stability(atoms, near) > 0.0 > stability(atoms, beyond)
    assert born_effective_charges(atoms, near)[0, 0, 0] > 20.0
    with pytest.raises(InputError, match="diverge"):
        born_effective_charges(atoms, beyond)


def test_ions_far_apart_keep_their_static_charges():
    atoms = bulk("BaO", "rocksalt", a=60.0)
    static = ionic_charges(atoms)[:, None, None] * np.eye(3)
    np.testing.assert_allclose(born_effective_charges(atoms), static, atol=2e-3)


def test_cubic_titanate_has_anomalous_charges_along_its_chains():
    fractions = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    atoms = Atoms("BaTiO3", scaled_positions=fractions, cell=4.0 * np.eye(3), pbc=True)
    tensors = born_effective_charges(atoms)
    np.testing.assert_allclose(
        tensors[:2], np.trace(tensors[:2], axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3), atol=1e-9
    )
    # First-principles values: Ba 2.75, Ti 7.16, O -5.69 along Ti–O–Ti and -2.11 across it
    # (Zhong, King-Smith and Vanderbilt, Phys. Rev. Lett. 72, 3618 (1994)).
    np.testing.assert_allclose(
        [tensors[0, 0, 0], tensors[1, 0, 0], tensors[2, 2, 2], tensors[2, 0, 0]],
        [2.75, 7.16, -5.69, -2.11],
        rtol=0.15,
    )


def test_the_charge_of_a_vacancy_goes_to_oxygens_or_cations():
    perfect = crystals.ideal_zro2("cubic")
    static = ionic_charges(perfect)
    zirconium, oxygen = perfect.numbers == 40, perfect.numbers == 8
    without_oxygen = perfect.copy()
    del without_oxygen[int(np.flatnonzero(oxygen)[0])]
    charges = ionic_charges(without_oxygen)
    np.testing.assert_allclose(charges[without_oxygen.numbers == 8], static[oxygen][0])
    np.testing.assert_allclose(charges[without_oxygen.numbers == 40], static[zirconium][0] - 1.75 / 16)
    without_zirconium = perfect.copy()
    del without_zirconium[int(np.flatnonzero(zirconium)[0])]
    charges = ionic_charges(without_zirconium)
    np.testing.assert_allclose(charges[without_zirconium.numbers == 40], static[zirconium][0])
    np.testing.assert_allclose(charges[without_zirconium.numbers == 8], static[oxygen][0] + 3.5 / 32)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (
            Atoms("XeO", positions=[[0, 0, 0], [0, 0, 2]], cell=4 * np.eye(3), pbc=True),
            "no parameters for Xe",
        ),
        (Atoms("LiO", positions=[[0, 0, 0], [0, 0, 2]], cell=4 * np.eye(3), pbc=[1, 1, 0]), "not periodic"),
        (Atoms("Ti", cell=4 * np.eye(3), pbc=True), "net charge"),
    ],
)
def test_what_the_model_cannot_describe_is_refused(atoms, message):
    with pytest.raises(InputError, match=message):
        born_effective_charges(atoms)
