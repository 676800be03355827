"""What a model was trained on, and what is said of structures outside."""

import dataclasses
import json

import numpy as np
import pytest
from ase import Atoms
from helpers.committees import CONFIG, drawn
from helpers.crystals import titanate

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.config.schema import Config
from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.graph import build_graph
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.uncertainty.calibration import Calibration
from equivar_jax.uncertainty.domain import (
    CloseAtomsWarning,
    DensityWarning,
    Domain,
    DomainWarning,
    RareElementWarning,
    UncertainWarning,
    domain_of,
    gather_warnings,
    weigh_neighbours,
)
from equivar_jax.weights.checkpoint import Metadata
from equivar_jax.weights.stacking import stack_weights

DOMAIN = Domain(
    {"O": 40, "Ca": 3, "Ti": 40},
    {"O": 600, "Ca": 12, "Ti": 200},
    {"O-O": 2.6, "O-Ca": 2.4, "O-Ti": 1.8},
    0.1,
)


def graph(atoms):
    return build_graph(atoms, 3.0)


def pair(symbols, distance):
    return Atoms(symbols, positions=[(0, 0, 0), (distance, 0, 0)])


def network(domain=DOMAIN, **meaning):
    metadata = Metadata(Config(model=CONFIG), (8, 20, 22), domain=domain, **meaning)
    return Predictor(drawn(0), metadata)


def committee(largest_sigma):
    domain = dataclasses.replace(DOMAIN, structures={"O": 9, "Ca": 9, "Ti": 9}, largest_sigma=largest_sigma)
    one = network(domain, members=2, calibration=Calibration(1.0, 0.01, 0.68, 0.95, 0.5, 9))
    return dataclasses.replace(one, weights=stack_weights([drawn(k) for k in range(2)]))


def test_counts_and_distances_of_the_training_data():
    structures = [pair("OTi", 1.9), pair("TiO", 1.7), pair("OO", 2.5), Atoms("He"), titanate()]
    found = domain_of(Sample(graph(atoms), None) for atoms in structures)
    assert found.structures == {"He": 1, "O": 4, "Ca": 1, "Ti": 3}
    assert found.atoms == {"He": 1, "O": 7, "Ca": 1, "Ti": 3}
    assert found.shortest["O-Ti"] == pytest.approx(1.7)
    assert found.shortest["O-O"] == pytest.approx(2.5)
    assert set(found.shortest) == {"O-O", "O-Ca", "O-Ti"}
    assert found.largest_sigma is None


def test_it_survives_json_and_old_checkpoints_have_none():
    metadata = network(calibration=Calibration(1.0, 0.01, 0.68, 0.95, 0.5, 9, None, 0.9), members=2).metadata
    grown = dataclasses.replace(metadata.calibration, growth=2.0, elements={"Ti": 1.2})
    metadata = dataclasses.replace(metadata, calibration=grown)
    values = json.loads(json.dumps(metadata.to_json()))
    assert Metadata.from_json(values, "here") == metadata
    for name in ("relative", "growth", "elements"):  # earlier versions did not write them
        del values["calibration"][name]
    old = Metadata.from_json(values, "here")
    assert (old.calibration.growth, old.calibration.elements) == (0.0, {})
    for name in ("members", "calibration", "domain"):
        del values[name]
    old = Metadata.from_json(values, "here")
    assert (old.members, old.calibration, old.domain) == (1, None, None)


def test_rare_elements_are_named_with_their_counts():
    (remark,) = DOMAIN.structure_warnings(titanate(), graph(titanate()))
    assert isinstance(remark, RareElementWarning)
    assert str(remark).endswith("fewer than 5 structures of the training data: Ca (3)")


@pytest.mark.parametrize(
    ("symbols", "distance", "known"),
    [
        ("TiO", 1.63, None),
        ("TiO", 1.61, "O-Ti, 1.61 Å, never closer than 1.80 Å in the training data"),
        ("TiTi", 2.0, None),
        ("TiTi", 1.8, "Ti-Ti, 1.80 Å, a pair of elements that the training data did not have"),
    ],
)
def test_atoms_that_are_too_close(symbols, distance, known):
    atoms = pair(symbols, distance)
    remarks = DOMAIN.structure_warnings(atoms, graph(atoms))
    assert bool(remarks) == (known is not None)
    if known is not None:
        assert isinstance(remarks[0], CloseAtomsWarning)
        assert ": 1 pairs of atoms" in str(remarks[0])
        assert str(remarks[0]).endswith(known)


def test_an_atom_without_neighbours_is_not_close_to_anything():
    assert DOMAIN.structure_warnings(Atoms("O"), graph(Atoms("O"))) == []


def test_uncertainties_beyond_those_of_validation():
    sigma = np.full((5, 3, 3), 0.05)
    assert DOMAIN.uncertainty_warnings(titanate(), sigma) == []
    sigma[2] = 0.3
    (doubt,) = DOMAIN.uncertainty_warnings(titanate(), sigma)
    assert isinstance(doubt, UncertainWarning)
    assert "1 of 5 atoms are less certain" in str(doubt)
    assert "up to 0.3 e; up to 0.1 e are usual" in str(doubt)
    assert dataclasses.replace(DOMAIN, largest_sigma=None).uncertainty_warnings(titanate(), sigma) == []


def test_one_warning_of_a_kind_with_its_count():
    remarks = [RareElementWarning("a: x"), CloseAtomsWarning("b: y"), *[RareElementWarning("c: z")] * 3]
    found = gather_warnings(remarks, 9)
    assert [str(one) for one in found] == ["a: x; and the like in 3 more of 9 structures", "b: y"]
    assert [type(one) for one in found] == [RareElementWarning, CloseAtomsWarning]


def test_predict_warns_once_of_each_kind_however_long_the_list():
    close = titanate()
    close.set_cell(close.cell * 0.8, scale_atoms=True)
    close.info["source"] = "squeezed.cif"
    with pytest.warns(DomainWarning) as shown:
        network().predict([titanate(), close, titanate(), close])
    assert sorted(type(warning.message).__name__ for warning in shown) == [
        "CloseAtomsWarning",
        "RareElementWarning",
    ]
    messages = sorted(str(warning.message) for warning in shown)
    assert messages[0].startswith("squeezed.cif: ")
    assert messages[0].endswith("; and the like in 1 more of 4 structures")
    assert messages[1].endswith("Ca (3); and the like in 3 more of 4 structures")


def test_without_a_domain_nothing_is_said():
    network(domain=None).predict(titanate())


def test_a_committee_says_where_it_is_less_certain_than_before():
    with pytest.warns(UncertainWarning, match="5 of 5 atoms are less certain than 99 %"):
        committee(0.02).predict(titanate())
    committee(1e3).predict(titanate())  # a warning would be an error here
    with pytest.warns(UncertainWarning) as shown:
        committee(0.02).predict([titanate()] * 3)
    assert len(shown) == 1


def test_a_trajectory_is_warned_of_once():
    atoms = titanate()
    atoms.calc = EquivarCalculator(committee(0.02))
    with pytest.warns(UncertainWarning):
        atoms.get_properties(["born_effective_charges"])
    atoms.positions += 0.001 * np.random.default_rng(0).normal(size=(5, 3))
    atoms.get_properties(["born_effective_charges"])  # a warning would be an error here


def test_elements_that_training_did_not_have_are_rare_and_named():
    """Fine-tuned weights still know the elements of the weights that they began with."""
    atoms = pair("GaN", 1.9)
    (remark,) = DOMAIN.structure_warnings(atoms, graph(atoms))
    assert isinstance(remark, RareElementWarning)
    assert str(remark).endswith("fewer than 5 structures of the training data: Ga (0), N (0)")
    assert DOMAIN.structure_warnings(atoms, graph(atoms), unseen={7, 31}) == []  # said already


def test_elements_of_a_small_training_part_are_not_rare():
    few = dataclasses.replace(DOMAIN, structures={"O": 2, "Ca": 2, "Ti": 2})
    assert few.structure_warnings(titanate(), graph(titanate())) == []
    missing = dataclasses.replace(few, structures={"O": 2, "Ti": 2})
    assert "Ca (0)" in str(missing.structure_warnings(titanate(), graph(titanate()))[0])


def strained(factor):
    atoms = titanate(2, seed=50)
    atoms.set_cell(atoms.cell * factor, scale_atoms=True)
    return atoms


@pytest.fixture(scope="module")
def dense():
    """Of titanates at one density, with a cutoff beyond the nearest neighbours."""
    samples = [Sample(build_graph(titanate(2, seed=k), 5.0), None) for k in range(40)]
    return domain_of(samples, 5.0)


@pytest.mark.parametrize(
    ("factor", "words"), [(1.0, None), (0.9 ** (1 / 3), "more or"), (1.1 ** (1 / 3), "fewer")]
)
def test_a_volume_that_is_ten_per_cent_off_is_warned_of(dense, factor, words):
    atoms = strained(factor)
    remarks = dense.structure_warnings(atoms, build_graph(atoms, 5.0))
    assert [type(remark) for remark in remarks] == ([DensityWarning] if words else [])
    assert words is None or words in str(remarks[0])


def test_weighted_neighbours_are_those_of_the_formula(dense):
    atoms = titanate(2, seed=3)
    atoms.pbc = False
    distances = atoms.get_all_distances()
    np.fill_diagonal(distances, 5.0)
    expected = ((1 - np.minimum(distances, 5.0) ** 2 / 25) ** 2).sum(axis=1)
    found = build_graph(atoms, 5.0)
    squares = np.square(found.edges["vectors"]).sum(axis=1)
    np.testing.assert_allclose(
        weigh_neighbours(len(atoms), found.receivers, squares, 5.0), expected, rtol=1e-6
    )


def test_of_several_the_one_farthest_outside_is_named():
    remarks = [CloseAtomsWarning("a: x", 1.1), CloseAtomsWarning("b: y", 1.5), CloseAtomsWarning("c: z", 1.2)]
    (found,) = gather_warnings(remarks, 9)
    assert str(found) == "b: y; and the like in 2 more of 9 structures"
