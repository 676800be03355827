import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ase.build import bulk

from equivar_jax.config.files import load_config
from equivar_jax.config.schema import ModelConfig, TrainConfig
from equivar_jax.graphs.batch import Sample, collate
from equivar_jax.graphs.graph import build_graph
from equivar_jax.graphs.packing import Budget
from equivar_jax.network.features import unit_normal
from equivar_jax.network.initial_weights import scale_to_unit_variance
from equivar_jax.network.model import Equivar, born_effective_charges
from equivar_jax.training.losses import ErrorSums, absolute_errors
from equivar_jax.training.optimizers import count_trained, learning_rate_schedule, make_optimizer
from equivar_jax.training.steps import draw_weights, initial_state, make_steps

errors_of = jax.jit(absolute_errors)
MODEL = ModelConfig(channels=16, interactions=2, mean_neighbours=12.0)


def batch_of(structures, nodes=24, edges=300, seed=0):
    rng = np.random.default_rng(seed)
    samples = [Sample(build_graph(atoms, 3.0), rng.normal(size=(len(atoms), 3, 3))) for atoms in structures]
    return collate(samples, Budget(nodes, edges, 0, len(samples) + 1))


def fresh_state(config, optimizer, batch, model=MODEL):
    params = scale_to_unit_variance(Equivar(model), draw_weights(model, config.seed), batch.graph)
    return initial_state(params, config, optimizer)


@pytest.fixture
def batch():
    magnesia = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    magnesia.rattle(0.1, seed=0)
    return batch_of([magnesia, bulk("MgO", "rocksalt", a=4.3)])


@pytest.mark.parametrize("name", ["bm2", "bm3", "bm3_deep"])
def test_weights_drawn_without_a_graph_are_those_that_the_network_needs(batch, name):
    model = dataclasses.replace(load_config(name).model, mean_neighbours=12.0)
    needed = jax.eval_shape(Equivar(model).init, jax.random.key(0), batch.graph)["params"]
    drawn = draw_weights(model, 0)["params"]
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), drawn) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), needed
    )
    other = draw_weights(model, 1)["params"]["interaction_0"]["path_weights"]
    assert abs(np.corrcoef(np.ravel(other), np.ravel(drawn["interaction_0"]["path_weights"]))[0, 1]) < 0.05


@pytest.mark.parametrize("shape", [(), (7,), (3, 50, 5), (300, 300)])
def test_unit_normal_draws_the_numbers_of_jax(shape):
    key = jax.random.key(5)
    np.testing.assert_array_equal(unit_normal(key, shape), jax.random.normal(key, shape))
    np.testing.assert_array_equal(jax.jit(unit_normal, static_argnums=1)(key, shape), unit_normal(key, shape))


def test_errors_are_sums_over_real_atoms_only(batch):
    predicted = jnp.asarray(np.random.default_rng(1).normal(size=(24, 3, 3)), jnp.float32)
    errors = errors_of(predicted, batch)
    atoms = batch.node_mask
    np.testing.assert_allclose(errors.absolute, np.abs(predicted - batch.tensors)[atoms].sum(), rtol=1e-6)
    assert float(errors.count) == 9 * 10
    assert (errors + errors).mean() == pytest.approx(errors.mean())


def test_padding_carries_no_weight_in_the_loss(batch):
    wider = batch_of([bulk("MgO", "rocksalt", a=4.3)], nodes=40, edges=400)
    narrow = batch_of([bulk("MgO", "rocksalt", a=4.3)], nodes=3, edges=50)
    optimizer = make_optimizer(TrainConfig(), optax.constant_schedule(1e-3))
    steps = make_steps(MODEL, TrainConfig(), optimizer)
    state = fresh_state(TrainConfig(), optimizer, batch)
    sums = [steps.validate(state.params, ErrorSums.zero(), b) for b in (wider, narrow)]
    assert sums[0].mean() == pytest.approx(sums[1].mean(), rel=1e-5)
    assert float(sums[0].count) == float(sums[1].count)


def test_a_step_compiles_once_per_shape_and_kind(batch):
    optimizer = make_optimizer(TrainConfig(), optax.constant_schedule(1e-3))
    steps = make_steps(MODEL, TrainConfig(), optimizer)
    state = fresh_state(TrainConfig(), optimizer, batch)
    other_shape = batch_of([bulk("MgO", "rocksalt", a=4.3)], nodes=16, edges=320)
    for each in (batch, batch, other_shape, batch, other_shape):
        state = steps.train(state, each)
        steps.validate(state.evaluated, ErrorSums.zero(), each)
    assert steps.compiles == {"train": 2, "validate": 2}


def test_training_lowers_the_loss_and_the_average_lags_behind(batch):
    config = TrainConfig(ema_decay=0.9, learning_rate=0.01)
    optimizer = make_optimizer(config, optax.constant_schedule(0.01))
    steps = make_steps(MODEL, config, optimizer)
    state = fresh_state(config, optimizer, batch)
    first = jax.tree.map(np.asarray, state.params)
    before = steps.validate(state.params, ErrorSums.zero(), batch).mean()
    state = steps.train(state, batch)
    expected = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, first, state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), state.ema, expected)
    for _ in range(60):
        state = steps.train(state, batch)
    assert steps.validate(state.params, ErrorSums.zero(), batch).mean() < 0.7 * before
    assert float(state.sums.count) == 61 * 90
    assert state.evaluated is state.ema


def test_validation_applies_the_sum_rule_and_training_does_not(batch):
    optimizer = make_optimizer(TrainConfig(), optax.constant_schedule(1e-3))
    state = fresh_state(TrainConfig(), optimizer, batch)
    network = Equivar(MODEL)
    corrected = errors_of(born_effective_charges(network, state.params, batch.graph), batch).mean()
    raw = errors_of(network.apply(state.params, batch.graph), batch).mean()
    steps = make_steps(MODEL, TrainConfig(), optimizer)
    assert steps.validate(state.params, ErrorSums.zero(), batch).mean() == pytest.approx(corrected, rel=1e-5)
    assert steps.train(state, batch).sums.mean() == pytest.approx(raw, rel=1e-5)
    assert abs(raw - corrected) > 1e-3


def test_gradient_clipping_and_weight_decay_are_those_of_optax(batch):
    config = TrainConfig(gradient_clip=1e-3, weight_decay=0.5)
    optimizer = make_optimizer(config, optax.constant_schedule(0.1))
    state = fresh_state(config, optimizer, batch)
    # An Adam step does not depend on the gradient's size; its second moment does, by the clip squared.
    gradient = jax.tree.map(lambda leaf: 1e3 * jnp.ones_like(leaf), state.params)
    _, moments = optimizer.update(gradient, state.optimizer, state.params)
    squares = optax.tree.get(moments, "nu")
    assert sum(float(leaf.sum()) for leaf in jax.tree.leaves(squares)) == pytest.approx(1e-3 * 1e-6, rel=1e-3)
    nothing = jax.tree.map(jnp.zeros_like, state.params)
    updates, _ = optimizer.update(nothing, state.optimizer, state.params)
    jax.tree.map(
        lambda u, p: np.testing.assert_allclose(u, -0.05 * p, rtol=1e-6, atol=1e-9), updates, state.params
    )


@pytest.mark.parametrize("kind", ["cosine", "exponential", "constant"])
def test_schedules_warm_up_and_end_where_they_should(kind):
    config = TrainConfig(
        epochs=10, schedule=kind, learning_rate=0.01, final_learning_rate=1e-4, warmup_epochs=2.0
    )
    rate = learning_rate_schedule(config, batches_per_epoch=5)
    assert float(rate(0)) == pytest.approx(0.001)
    assert float(rate(10)) == pytest.approx(0.01)
    last = 0.01 if kind == "constant" else 1e-4
    assert float(rate(50)) == pytest.approx(last, rel=1e-4)
    assert float(rate(500)) == pytest.approx(last, rel=1e-4)
    without = learning_rate_schedule(dataclasses.replace(config, warmup_epochs=0.0), 5)
    assert float(without(0)) == pytest.approx(0.01)


KNOWING = ModelConfig(
    channels=16,
    embedding=4,
    interactions=1,
    mean_neighbours=12.0,
    edge_hidden=4,
    gates=True,
    self_connection=True,
    element_shift=True,
)


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        (
            "elements",
            {"embedding", "lin0_weight", "lin0_bias", "radial", "ends", "mix", "bias", "self_factors"},
        ),
        ("interactions", None),
    ],
)
def test_what_is_frozen_stays_bit_for_bit_also_in_the_average(batch, freeze, expected):
    config = TrainConfig(freeze=freeze, ema_decay=0.7, weight_decay=0.5, gradient_clip=1.0)
    optimizer = make_optimizer(config, optax.constant_schedule(0.1))
    state = fresh_state(config, optimizer, batch, KNOWING)
    before = jax.tree.map(np.asarray, jax.tree.map(jnp.copy, state.params))
    steps = make_steps(KNOWING, config, optimizer)
    for _ in range(3):
        state = steps.train(state, batch)
    trained = 0
    for after in (state.params, state.ema):
        for (path, old), new in zip(jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True):
            names = [entry.key for entry in path]
            if expected is None:
                stays = not names[1].startswith(("lin1", "element_"))
            else:
                stays = names[-1] in expected
            assert stays == (old.tobytes() == np.asarray(new).tobytes()), names
            trained += 0 if stays else old.size
    assert count_trained(before, freeze) == trained / 2


def test_moments_of_what_is_frozen_are_not_kept(batch):
    sizes = {}
    for freeze in ("nothing", "interactions"):
        config = TrainConfig(freeze=freeze)
        optimizer = make_optimizer(config, optax.constant_schedule(0.1))
        state = fresh_state(config, optimizer, batch, KNOWING)
        sizes[freeze] = sum(leaf.size for leaf in jax.tree.leaves(state.optimizer))
        assert (
            sizes[freeze] == 2 * count_trained(state.params, freeze) + 2
        )  # Adam counts, and so the schedule


def test_weights_depend_on_the_seed_alone(batch):
    optimizer = make_optimizer(TrainConfig(), optax.constant_schedule(1e-3))
    states = [fresh_state(TrainConfig(seed=seed), optimizer, batch) for seed in (3, 3, 4)]
    a, b, c = (jax.flatten_util.ravel_pytree(state.params)[0] for state in states)
    np.testing.assert_array_equal(a, b)
    assert float(jnp.abs(a - c).max()) > 0.1
