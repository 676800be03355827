from collections import defaultdict
from functools import cache

import numpy as np
import pytest
import spglib
from ase.formula import Formula

from equivar_jax.datasets import textbook

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")

CRYSTALS = {crystal.name: crystal for crystal in textbook.textbook_crystals()}

# Values are printed to 0.01 e at worst, so an atom's share of the sum of a cell is off by half of that, and
# calculations obey the sum rule to their convergence.
SUM_RULE = 0.01

SHORTEST = {"B": 1.55, "Be": 1.64, "Si": 1.6, "C": 1.85, "N": 1.85}
"""Lowest bond length of crystals with that element, in this order; of all others 1.75 Å."""


@cache
def built(name: str):
    return CRYSTALS[name].build()


@cache
def symmetry(name: str):
    atoms = built(name)
    return spglib.get_symmetry_dataset(
        (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=1e-3
    )


def operations(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Cartesian rotations of the space group, and the atom to which each takes each atom."""
    atoms, dataset = built(name), symmetry(name)
    cell = atoms.cell.array.T
    rotations = np.array([cell @ rotation @ np.linalg.inv(cell) for rotation in dataset.rotations])
    fractions = atoms.get_scaled_positions()
    images = np.einsum("rij,nj->rni", dataset.rotations, fractions) + dataset.translations[:, None]
    apart = images[:, :, None] - fractions
    apart -= np.rint(apart)
    return rotations, np.argmin((apart**2).sum(axis=-1), axis=-1)


def row(component: str) -> np.ndarray:
    """The component as a linear function of the nine numbers of a tensor."""
    return np.array([textbook.component(unit.reshape(3, 3), component) for unit in np.eye(9)])


def test_there_are_enough_crystals_with_a_confirmed_value_each():
    assert len(CRYSTALS) == len(textbook.textbook_crystals()) >= 45
    confirmed = [
        name for name, crystal in CRYSTALS.items() if any(ref.confirmed for ref in crystal.references)
    ]
    assert set(CRYSTALS) - set(confirmed) == {"cubic CaTiO3", "cubic KNbO3"}


@pytest.mark.parametrize("name", CRYSTALS)
def test_formula_space_group_and_shortest_distance(name):
    atoms, dataset = built(name), symmetry(name)
    compound = name.split()[-1].split("-")[-1]
    assert dataset.number == CRYSTALS[name].spacegroup
    assert Formula(compound).reduce()[0].count() == atoms.symbols.formula.reduce()[0].count()
    assert set(atoms.arrays) == {"numbers", "positions"}
    assert atoms.pbc.all()
    distances = atoms.get_all_distances(mic=True)[~np.eye(len(atoms), dtype=bool)]
    lowest = next((length for element, length in SHORTEST.items() if element in atoms.symbols), 1.75)
    assert lowest < distances.min() < 3.4


@pytest.mark.parametrize("name", CRYSTALS)
def test_references_are_of_the_element_they_name_and_of_a_known_source(name):
    atoms, seen = built(name), set()
    for reference in CRYSTALS[name].references:
        assert atoms.symbols[reference.atom] == reference.site.split()[0].rstrip(",")
        assert reference.source in textbook.CITATIONS
        assert np.isfinite(row(reference.component)).all()
        assert abs(reference.value) < 13
        seen.add((reference.source, reference.atom, reference.component))
    assert len(seen) == len(CRYSTALS[name].references)


def test_every_citation_is_used_and_says_where_confirmed_values_were_read():
    used = {reference.source for crystal in CRYSTALS.values() for reference in crystal.references}
    assert used == set(textbook.CITATIONS)
    for crystal in CRYSTALS.values():
        for reference in crystal.references:
            assert not (reference.confirmed and textbook.CITATIONS[reference.source].read_in == "nowhere")


def excess(name: str, source: str) -> list[float]:
    """Sum of charges an atom for each diagonal component that the values of a source determine, e.

    An orbit's mean tensor is a linear function of the tensor of one atom, and that tensor has the symmetry of
    its site; a component of the mean is determined where it is a combination of published ones.
    """
    rotations, targets = operations(name)
    count, orbits = len(built(name)), symmetry(name).equivalent_atoms
    values = defaultdict(list)
    for reference in CRYSTALS[name].references:
        if reference.source == source:
            values[reference.atom].append((row(reference.component), reference.value))
    if {orbits[atom] for atom in values} != set(orbits):
        return []
    transforms = np.array([np.kron(rotation, rotation) for rotation in rotations])
    sums = []
    for component in ("xx", "yy", "zz"):
        total = 0.0
        for atom, known in values.items():
            site = transforms[targets[:, atom] == atom].mean(axis=0)
            wanted = row(component) @ transforms.mean(axis=0)
            rows = np.array([functional @ site for functional, _ in known])
            weights = np.linalg.lstsq(rows.T, wanted, rcond=1e-6)[0]
            if np.abs(weights @ rows - wanted).max() > 1e-5:
                break
            total += np.sum(orbits == orbits[atom]) * (weights @ [value for _, value in known])
        else:
            sums.append(total / count)
    return sums


def test_values_obey_the_sum_rule_where_all_sites_are_given():
    checked = 0
    for name, crystal in CRYSTALS.items():
        for source in {reference.source for reference in crystal.references}:
            sums = excess(name, source)
            np.testing.assert_allclose(sums, 0.0, atol=SUM_RULE, err_msg=f"{name}, {source}")
            checked += bool(sums)
    assert checked >= 55


def test_compare_picks_field_then_displacement():
    rng = np.random.default_rng(0)
    crystal = CRYSTALS["rutile TiO2"]
    tensors = rng.normal(size=(6, 3, 3))
    compared = textbook.compare(crystal, tensors)
    assert [reference for reference, _ in compared] == list(crystal.references)
    for reference, value in compared:
        if reference.component == "xy":
            assert value == tensors[reference.atom, 0, 1]
    assert textbook.component(tensors[0], "trace/3") == pytest.approx(np.trace(tensors[0]) / 3)
