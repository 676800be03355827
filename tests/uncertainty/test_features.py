"""How far features are from those of training: a distance in invariants, with a unit from held-out atoms."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.committees import CONFIG, MEMBERS, drawn, joined, network, with_kernel
from helpers.crystals import titanate
from helpers.networks import random_params
from scipy.stats import special_ortho_group

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.config.schema import Config
from equivar_jax.errors import InputError
from equivar_jax.graphs import GraphSizes, Sample, build_graph, plan_budgets
from equivar_jax.network.forms import make_network
from equivar_jax.network.last_features import _by_jax, feature_dims, last_features
from equivar_jax.prediction import in_cpp, in_xla
from equivar_jax.uncertainty import DomainWarning, FeatureDomain, LastFeatures, UnfamiliarAtomsWarning
from equivar_jax.uncertainty.domain import FAR
from equivar_jax.uncertainty.features import MOST_NUMBERS, feature_domain
from equivar_jax.weights.metadata import Metadata

DIMS, CHANNELS = (1, 3, 5), 16


def cloud(seed, atoms=3000, elements=(8, 22), scale=1.0):
    """Features of two elements, correlated between channels, with other means and sizes."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(CHANNELS, CHANNELS))
    species = rng.choice(elements, atoms)
    array = scale * rng.normal(size=(atoms, sum(DIMS), CHANNELS)) @ mixing
    array[:, 0] += np.where(species == elements[0], 5.0, -3.0)[:, None]
    return LastFeatures(DIMS, species, array.astype(np.float32))


@pytest.fixture(scope="module")
def known():
    return feature_domain(cloud(1), cloud(2))


def test_one_in_a_hundred_new_atoms_is_farther_than_the_unit(known):
    held_out, fresh = cloud(2), cloud(3, 20_000)
    for element in (8, 22):
        assert np.mean(known.distances(held_out)[held_out.species == element] > 1) == pytest.approx(
            0.01, abs=2e-3
        )
        assert np.mean(known.distances(fresh)[fresh.species == element] > 1) == pytest.approx(0.01, abs=8e-3)
    assert np.mean(known.distances(cloud(3, scale=2.0)) > 1) > 0.9


def test_it_is_the_same_in_every_orientation(known):
    atoms = cloud(4, 50)
    turned = atoms.array.astype(np.float64)
    turned[:, 1:4] = np.einsum("ab,nbc->nac", special_ortho_group.rvs(3, random_state=0), turned[:, 1:4])
    turned[:, 4:] = np.einsum("ab,nbc->nac", special_ortho_group.rvs(5, random_state=1), turned[:, 4:])
    np.testing.assert_allclose(
        known.distances(atoms._replace(array=turned)), known.distances(atoms), rtol=1e-5
    )


def test_a_small_step_in_a_direction_in_which_training_never_spread_is_far():
    training, held_out = cloud(1), cloud(2)
    for part in (training, held_out):
        part.array[:, 0, 3] = 2 * part.array[:, 0, 5]  # two scalars always go together
    known, inside = feature_domain(training, held_out), cloud(3, 200)
    inside.array[:, 0, 3] = 2 * inside.array[:, 0, 5]
    outside = inside._replace(array=inside.array.copy())
    outside.array[:, 0, 3] += inside.array[:, 0, 3].std()
    assert np.mean(known.distances(inside) > 1) < 0.05
    assert known.distances(outside).min() > 2


def test_an_element_without_atoms_is_infinitely_far(known):
    strange = cloud(3, 10, elements=(8, 31))
    assert np.array_equal(np.isinf(known.distances(strange)), strange.species == 31)


def test_few_atoms_borrow_from_the_other_elements():
    training = cloud(1)
    few = (training.species == 8) | (np.cumsum(training.species == 22) <= 5)  # five atoms of titanium
    training = LastFeatures(DIMS, training.species[few], training.array[few])
    fresh = cloud(3)
    distances = feature_domain(training, cloud(2)).distances(fresh)
    assert np.mean(distances[fresh.species == 22] > 1) < 0.05


def test_json_holds_it_and_it_stays_small(known):
    metadata = Metadata(Config(model=CONFIG), (8, 22), features=(known,))
    assert Metadata.from_json(json.loads(json.dumps(metadata.to_json())), "here") == metadata
    size = CHANNELS * len(DIMS)
    assert len(known.numbers) < 4 / 3 * (2 * size * (size + 1) + 8 * (size + 1)) + 4
    elements = tuple(range(1, 60))
    many = feature_domain(cloud(1, 6000, elements), cloud(2, 2000, elements))
    assert many.matrices == 1
    assert len(many.numbers) < 4 / 3 * 2 * MOST_NUMBERS
    fresh = cloud(3, 2000, elements)
    assert np.mean(many.distances(fresh) > 1) < 0.04
    del (values := metadata.to_json())["features"]
    assert Metadata.from_json(values, "an old checkpoint").features == ()


def test_features_without_any_spread_are_no_division_by_zero():
    flat = LastFeatures(DIMS, np.full(9, 8), np.zeros((9, sum(DIMS), CHANNELS), np.float32))
    assert feature_domain(flat, flat).distances(flat).max() == 0


def measured(predictor):
    """A predictor that knows the features of each of its networks for some titanates."""
    samples = [Sample(build_graph(titanate(seed=k), CONFIG.cutoff), None) for k in range(12)]
    budgets = plan_budgets(GraphSizes.of(sample.graph for sample in samples), 4)
    species = np.concatenate([sample.graph.nodes["species"] for sample in samples])
    found = []
    for number in range(predictor.members):
        array = last_features(predictor.config, predictor.member(number).weights, samples, budgets)
        half = len(species) // 2
        parts = (
            LastFeatures(feature_dims(predictor.config), species[part], array[part])
            for part in (slice(0, half), slice(half, None))
        )
        found.append(feature_domain(*parts))
    metadata = dataclasses.replace(predictor.metadata, features=tuple(found))
    return dataclasses.replace(predictor, metadata=metadata)


@pytest.fixture(scope="module")
def one():
    return measured(network(0))


@pytest.fixture(scope="module")
def three():
    return measured(joined())


def by_numpy(predictor, atoms):
    """What the definition says of a structure, for each network."""
    config, samples = predictor.config, [Sample(build_graph(atoms, CONFIG.cutoff), None)]
    budgets = plan_budgets(GraphSizes.of(sample.graph for sample in samples), 1)
    return [
        predictor.metadata.features[k].distances(
            LastFeatures(
                feature_dims(config), atoms.numbers, last_features(config, drawn(k, config), samples, budgets)
            )
        )
        for k in range(predictor.members)
    ]


def test_cpp_and_xla_give_what_the_definition_says(one, three, monkeypatch):
    structures = [titanate(2, seed=20), titanate(seed=21)]
    expected = [np.mean(by_numpy(three, atoms), axis=0) for atoms in structures]
    assert three.members == MEMBERS
    for way in (three, with_known(three, "chunked")):
        for found, wanted in zip(way.domain_distance(structures), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=2e-3)
    (alone,) = by_numpy(one, structures[0])
    np.testing.assert_allclose(one.domain_distance(structures[0]), alone, rtol=1e-3)
    monkeypatch.setattr(in_cpp, "LARGE", 1)
    monkeypatch.setattr(in_xla, "plan_batches", lambda *_: iter(()))
    for way in (three, with_known(three, "chunked")):
        np.testing.assert_allclose(way.domain_distance(structures[0]), expected[0], rtol=2e-3)


def test_derivatives_of_a_polarisation_come_with_the_same_distances(monkeypatch):
    """Their features end in scalars and vectors; a large structure is done layer by layer."""
    config = dataclasses.replace(CONFIG, form="polarisation", envelope=True)
    two = measured(joined(config, members=2))
    assert two.metadata.features[0].dims == (1, 3)
    atoms = titanate(seed=21)
    atoms.positions[3] += 1.2
    expected = np.mean(by_numpy(two, atoms), axis=0)
    np.testing.assert_allclose(two.domain_distance(atoms), expected, rtol=2e-3)
    assert expected[3] > FAR
    with pytest.warns(UnfamiliarAtomsWarning):
        _, sigma = two.predict(atoms, uncertainty=True)
    grown = dataclasses.replace(two.calibration, growth=2.0, elements={"O": 1.5})
    metadata = dataclasses.replace(two.metadata, calibration=grown)
    with pytest.warns(UnfamiliarAtomsWarning):
        _, larger = dataclasses.replace(two, metadata=metadata).predict(atoms, uncertainty=True)
    factors = (1 + 2 * expected) * np.where(atoms.numbers == 8, 1.5, 1.0)
    np.testing.assert_allclose(larger / sigma, np.broadcast_to(factors[:, None, None], (5, 3, 3)), rtol=2e-3)
    monkeypatch.setattr(in_xla, "plan_batches", lambda *_: iter(()))
    np.testing.assert_allclose(two.domain_distance(atoms), expected, rtol=2e-3)


def with_known(predictor, kernel):
    other = with_kernel(predictor, kernel)
    return dataclasses.replace(
        other, metadata=dataclasses.replace(other.metadata, features=predictor.metadata.features)
    )


@pytest.mark.parametrize("form", ["direct", "polarisation"])
def test_features_by_jax_are_those_of_cpp(form):
    config = dataclasses.replace(CONFIG, form=form)
    params = random_params(config)
    samples = [Sample(build_graph(titanate(k, seed=k), CONFIG.cutoff), None) for k in (1, 2, 1)]
    budgets = plan_budgets(GraphSizes.of(sample.graph for sample in samples), 2)
    expected = last_features(config, params, samples, budgets)
    network = make_network(dataclasses.replace(config, kernel="chunked"))
    found = _by_jax(network, params, samples, budgets)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_an_atom_out_of_place_is_named_and_a_usual_structure_is_not(one):
    moved = titanate(2, seed=30)
    moved.positions[7] += (0.5, 0.3, 0.0)
    moved.info["source"] = "moved.xyz, frame 3"
    distances = one.domain_distance(moved)
    assert distances[7] > FAR
    with pytest.warns(UnfamiliarAtomsWarning) as shown:
        one.predict([titanate(seed=22), moved])
    (warning,) = shown
    worst = int(np.argmax(distances))
    assert str(warning.message).startswith(
        f"moved.xyz, frame 3: {(distances > FAR).sum()} of 10 atoms are unlike"
    )
    assert f"{moved.symbols[worst]} (atom {worst}) {distances[worst]:.1f}" in str(warning.message)
    one.predict(titanate(seed=23))  # a warning would be an error here
    moved.calc = EquivarCalculator(one)
    with pytest.warns(UnfamiliarAtomsWarning):
        moved.get_properties(["born_effective_charges"])


def test_the_tensors_are_those_without_a_domain(one):
    atoms = titanate(seed=24)
    np.testing.assert_array_equal(one.predict(atoms), network(0).predict(atoms))


def test_of_several_structures_the_farthest_is_named(one):
    structures = []
    for k, step in enumerate((0.4, 0.9, 0.5)):
        atoms = titanate(seed=k)
        atoms.positions[2] += step
        atoms.info["source"] = f"file, frame {k}"
        structures.append(atoms)
    farthest = int(np.argmax([d.max() for d in one.domain_distance(structures)]))
    with pytest.warns(
        UnfamiliarAtomsWarning, match=f"file, frame {farthest}: .*like in 2 more of 3 structures"
    ):
        one.predict(structures)


def test_an_old_checkpoint_does_not_know(three):
    with pytest.raises(InputError, match="does not know how far"):
        network(0).domain_distance(titanate())
    assert network(0).predictions([titanate()])[0].distances is None
    assert isinstance(three.member(1).metadata.features[0], FeatureDomain)
    assert issubclass(UnfamiliarAtomsWarning, DomainWarning)
