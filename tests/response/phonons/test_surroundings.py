"""Molecules in a box and vacuum."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene, molecule
from helpers.random_crystals import blocks

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.gamma import gamma_modes, infrared_intensities
from equivar_jax.response.phonons.gamma_input import Phonons, example_phonons
from equivar_jax.response.phonons.surroundings import (
    VacuumWarning,
    is_molecule_in_box,
    molecule_in_box,
    vacuum_layers,
    warn_of_vacuum,
)


def springs_of(atoms):
    """Force constants of springs between all pairs of a molecule: 3 N - 6 of its motions cost energy."""
    size = len(atoms)
    constants = np.zeros((size, size, 3, 3))
    for i, j in np.ndindex(size, size):
        if i != j:
            bond = atoms.positions[j] - atoms.positions[i]
            spring = 20.0 * np.outer(bond, bond) / (bond @ bond) ** 2
            constants[i, j] -= spring
            constants[i, i] += spring
    return constants


def boxed(name="H2O", edge=9.0, seed=0):
    """A molecule, and the same in a box in which its atoms are in random images."""
    free = molecule(name)
    charges = np.random.default_rng(seed).normal(size=(len(free), 3, 3))
    charges -= charges.mean(axis=0)
    constants = springs_of(free)
    box = free.copy()
    box.set_cell(edge * np.eye(3) + 0.3 * np.tri(3, k=-1))
    box.pbc = True
    box.positions += np.random.default_rng(seed).uniform(0, edge, 3)
    images = np.random.default_rng(seed + 1).integers(-1, 2, (len(free), 3))
    box.positions += images @ box.cell.array
    return Phonons(free, constants, charges), Phonons(box, constants, charges)


@pytest.mark.parametrize("name", ["H2O", "CH3CH2OH", "CO2", "C6H6"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_molecule_in_a_box_has_the_modes_of_the_free_one(name, seed):
    free, box = boxed(name, seed=seed)
    assert is_molecule_in_box(box.atoms)
    found, expected = (gamma_modes(each.atoms, each.force_constants) for each in (molecule_in_box(box), free))
    assert len(found.squares) == 3 * len(free.atoms) - (5 if name == "CO2" else 6)
    assert found.wavenumbers == pytest.approx(expected.wavenumbers, abs=1e-3)
    assert np.sum(infrared_intensities(found, box.charges)) == pytest.approx(
        np.sum(infrared_intensities(expected, free.charges))
    )


@pytest.mark.parametrize(
    "atoms",
    [bulk("MgO", "rocksalt", a=4.21), bulk("Si", cubic=True), graphene(vacuum=8.0), example_phonons().atoms],
    ids=str,
)
def test_a_crystal_is_no_molecule(atoms):
    atoms.pbc = True
    assert not is_molecule_in_box(atoms)
    nothing = np.zeros((len(atoms), 3, 3))
    with pytest.raises(InputError, match="leave out --molecule"):
        molecule_in_box(Phonons(atoms, blocks(np.zeros((3 * len(atoms),) * 2), len(atoms)), nothing))


def test_a_molecule_that_has_no_box_stays_as_it_is():
    free, _ = boxed()
    assert molecule_in_box(free).atoms == free.atoms
    assert molecule_in_box(dataclasses.replace(free)).charges is free.charges


def test_vacuum_is_what_no_atom_is_in():
    skewed = Atoms("MgO", positions=[[0, 0, 0], [1, 1, 2]], cell=[[4, 0, 0], [1, 5, 0], [2, 2, 15]], pbc=True)
    height = skewed.get_volume() / np.linalg.norm(np.cross(skewed.cell[0], skewed.cell[1]))
    assert vacuum_layers(skewed)[2] == pytest.approx(height - 2.0)
    moved = skewed.copy()
    moved.positions += [0, 0, 14.5]
    moved.wrap()
    assert vacuum_layers(moved) == pytest.approx(vacuum_layers(skewed))
    assert vacuum_layers(skewed.repeat((1, 2, 3)))[2] == pytest.approx(height - 2.0)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ([4, 4, 15], "13.0 Å across c of vacuum, so a slab"),
        ([4, 15, 15], "so a wire"),
        ([15] * 3, "so a molecule"),
    ],
)
def test_vacuum_is_said(cell, found):
    with pytest.warns(VacuumWarning, match=found):
        warn_of_vacuum(Atoms("MgO", positions=[[0, 0, 0], [2, 2, 2]], cell=cell, pbc=True), "BORN")


def test_layers_of_a_crystal_are_no_vacuum():
    """Graphite has gaps of 3.35 Å."""
    graphite = graphene()
    graphite.set_cell([*graphite.cell.lengths()[:2], 3.35, 90, 90, 120])
    graphite.pbc = True
    warn_of_vacuum(graphite, "BORN")
    warn_of_vacuum(bulk("MgO", "rocksalt", a=4.21), "BORN")
