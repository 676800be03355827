"""The network of a predictor under its name, and under its old one; what may be given to it; its weights."""

import copy
import functools
import pickle

import jax
import numpy as np
import pytest
from helpers.committees import joined, network
from helpers.crystals import labelled_crystal, titanate

import equivar_jax
from equivar_jax.errors import InputError
from equivar_jax.graphs import graph_of
from equivar_jax.network import born_effective_charges
from equivar_jax.prediction import Predictor
from equivar_jax.weights.stacking import map_weights


@pytest.mark.parametrize("make", [lambda: network(0), joined])
def test_the_old_name_of_the_network_warns_and_names_the_new_one(make):
    predictor = make()
    with pytest.warns(DeprecationWarning, match=r"Predictor\.model is now Predictor\.network"):
        found = predictor.model
    assert found is predictor.network


@pytest.mark.filterwarnings("ignore::equivar_jax.prediction.UnseenElementWarning")
def test_structures_come_as_any_iterable_and_names_of_files_are_refused():
    """A generator, as ASE's iread is one, may be used up only once."""
    predictor, structures = network(0), [labelled_crystal(seed) for seed in range(3)]
    expected = predictor.predict(structures, allow_unseen=True)
    found = predictor.predict((atoms for atoms in structures), allow_unseen=True)
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))
    with pytest.raises(InputError, match=r"'POSCAR', a name, .* read the file"):
        predictor.predict("POSCAR")


def test_a_traced_function_may_be_the_first_to_ask_for_the_weights():
    """What it leaves behind are arrays, since they are kept for whoever asks next."""
    model = network(0)
    graph = graph_of(titanate(), model.config.cutoff)

    def first_charge(vectors):
        moved = graph._replace(edges={"vectors": vectors})
        return born_effective_charges(model.network, model.params, moved)[0, 0, 0]

    vectors = graph.edges["vectors"]
    expected = model.predict(titanate())[0, 0, 0]
    assert float(jax.jit(first_charge)(vectors)) == pytest.approx(expected, abs=1e-5)
    assert not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(model.params))
    assert float(first_charge(vectors)) == pytest.approx(expected, abs=1e-5)


def test_weights_in_double_precision_are_not_rounded_in_silence():
    single = network(0)
    double = Predictor(
        map_weights(lambda leaf: np.asarray(leaf, np.float64), single.weights), single.metadata
    )
    with jax.enable_x64(False), pytest.raises(InputError, match=r"float64 needs .*jax_enable_x64"):
        _ = double.params
    with jax.enable_x64(True):
        assert {leaf.dtype for leaf in jax.tree.leaves(double.params)} == {np.dtype(np.float64)}


def test_a_predictor_is_a_static_argument_and_prints_one_line():
    model, same = network(0), network(0)

    @functools.partial(jax.jit, static_argnums=0)
    def twice(predictor, number):
        return predictor.members * 2 * number

    assert int(twice(model, 3)) == 6
    assert model == model
    assert model != same
    assert repr(model) == ("Predictor(one network in the form 'direct', 3 elements, cutoff 3 Å, float32)")
    assert repr(joined()).startswith("Predictor(3 networks in")


def test_the_function_predict_goes_to_another_process():
    """As `pool.map(predict, structures)` sends it."""
    for sent in (equivar_jax.predict, functools.partial(equivar_jax.predict, uncertainty=True)):
        found = pickle.loads(pickle.dumps(sent))
        assert getattr(found, "func", found) is equivar_jax.predict
    assert copy.deepcopy(equivar_jax.predict) is equivar_jax.predict
