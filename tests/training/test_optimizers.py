"""Muon: which weights are matrices, and what a step does to them."""

import dataclasses
import io
from contextlib import redirect_stderr, redirect_stdout

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from equivar_jax import train
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import ModelConfig, TrainConfig
from equivar_jax.training.optimizers import UPDATE_SIZE, make_optimizer, matrix_axes
from equivar_jax.training.run_directory import read_records
from equivar_jax.training.steps import draw_weights, initial_state
from equivar_jax.weights.checkpoint import read_checkpoint

EVERYTHING = ModelConfig(
    channels=8,
    embedding=4,
    interactions=1,
    mean_neighbours=12.0,
    edge_hidden=6,
    gates=True,
    node_products=True,
    self_connection=True,
    element_shift=True,
    dielectric=True,
)
RATE = 0.01
BY_ADAM = {
    *("embedding", "self_factors", "product_weights", "element_scale", "element_shift"),
    *("lin0_bias", "edge_bias", "linear_bias", "gate_bias", "bias", "lin1_bias", "lin1_weight"),
    *("dielectric_weight", "dielectric_bias", "dipole_weight", "element_dipole", "element_charge"),
}


def names_of(path):
    return [entry.key for entry in path]


def first_update(gradient, params, **settings):
    optimizer = make_optimizer(
        TrainConfig(optimizer="muon", gradient_clip=None, **settings), optax.constant_schedule(RATE)
    )
    return optimizer.update(gradient, optimizer.init(params), params)[0]


@pytest.fixture(scope="module")
def params():
    return draw_weights(EVERYTHING, 0)


@pytest.fixture
def gradient(params):
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), params)


@pytest.mark.parametrize("name", ["bm1", "bm2", "bm3", "bm3_deep", "bm4", "dielectric"])
def test_every_weight_of_every_network_is_a_matrix_or_known_to_be_none(name):
    drawn = draw_weights(dataclasses.replace(load_config(name).model, mean_neighbours=12.0), 0)
    axes = jax.tree.leaves(matrix_axes(drawn), is_leaf=lambda one: not isinstance(one, dict))
    is_one = [axis is not None for axis in axes]
    for (path, weight), matrix in zip(jax.tree.leaves_with_path(drawn), is_one, strict=True):
        assert matrix == (names_of(path)[-1] not in BY_ADAM), names_of(path)
        assert not matrix or weight.ndim >= 2
    assert any(is_one)


def matrices(tree):
    """Yield every matrix of the weights, [input, output], by the arithmetic of the network."""
    for path, leaf in jax.tree.leaves_with_path(tree):
        name = names_of(path)[-1]
        if name in BY_ADAM:
            continue
        each = np.asarray(leaf, np.float64)
        if name == "edge_weight":  # [function, degree, channel], one matrix for each degree
            each = each.transpose(1, 0, 2)
        yield from each.reshape(-1, *each.shape[-2:])


def test_a_step_is_equally_large_in_all_directions_of_a_matrix(params, gradient):
    updates = first_update(gradient, params, weight_decay=0.0)
    for slope, matrix in zip(matrices(gradient), matrices(updates), strict=True):
        left, sizes, right = np.linalg.svd(slope, full_matrices=False)
        along = -np.diag(left.T @ matrix @ right.T) / (RATE * UPDATE_SIZE * max(matrix.shape) ** 0.5)
        # Five iterations of Newton and Schulz end near 0.7 to 1.2, not at 1, and later for tiny values.
        assert np.all(along[sizes > 0.1 * sizes.max()] > 0.6)
        assert np.all((along > 0) & (along < 1.25))


def test_a_step_turns_with_the_channels_and_ignores_the_size_of_the_gradient(params, gradient):
    name, rng = "linear_weight", np.random.default_rng(5)
    turn, other = (np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32) for _ in range(2))
    turned = jax.tree.map(lambda leaf: 100 * leaf, gradient)
    weight = turned["params"]["interaction_0"][name]
    turned["params"]["interaction_0"][name] = turn @ weight @ other
    plain, rotated = (
        first_update(each, params, weight_decay=0.0)["params"]["interaction_0"][name]
        for each in (gradient, turned)
    )
    np.testing.assert_allclose(rotated, turn @ plain @ other, atol=2e-5)


def test_decay_acts_on_all_weights_and_frozen_ones_stay(params, gradient):
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates = first_update(nothing, params, weight_decay=0.5)
    jax.tree.map(
        lambda update, weight: np.testing.assert_allclose(update, -0.5 * RATE * weight, rtol=1e-5, atol=1e-9),
        updates,
        params,
    )
    updates = first_update(gradient, params, weight_decay=0.5, freeze="interactions")
    for path, update in jax.tree.leaves_with_path(updates):
        readout = names_of(path)[1].startswith(("lin1_", "element_", "dielectric_"))
        assert bool(np.any(update)) == readout, names_of(path)


def test_a_matrix_needs_one_moment_where_adam_needs_two(params):
    sizes = {}
    for name in ("adamw", "muon"):
        config = TrainConfig(optimizer=name)
        state = initial_state(params, config, make_optimizer(config, optax.constant_schedule(RATE)))
        sizes[name] = sum(leaf.size for leaf in jax.tree.leaves(state.optimizer))
    mixing = sum(matrix.size for matrix in matrices(params))
    assert abs(sizes["adamw"] - sizes["muon"] - mixing) < 10  # counters


WORDS = (
    *("--config", "test.py", "--model.interactions", "1", "--train.optimizer", "muon"),
    *("--train.schedule", "constant", "--train.warmup_epochs", "0", "--train.keep", "last"),
)


def run(*words):
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(io.StringIO()):
        train.main([str(word) for word in words])
    return output.getvalue()


def test_a_run_is_resumed_bit_for_bit_and_not_with_another_optimiser(tmp_path, complaint):
    run(*WORDS, "--train.epochs", 2, "--run-dir", tmp_path / "through")
    run(*WORDS, "--train.epochs", 1, "--run-dir", tmp_path / "run")
    wrong = complaint(
        train.main, "--resume", tmp_path / "run", "--train.epochs", 2, "--train.optimizer", "adamw"
    )
    assert "began with --train.optimizer muon, not adamw; start a new run" in wrong
    run("--resume", tmp_path / "run", "--train.epochs", 2)
    weights = [read_checkpoint(tmp_path / name)[0]["params"] for name in ("through", "run")]
    jax.tree.map(np.testing.assert_array_equal, *weights)
    losses = [record["train_loss"] for record in read_records(tmp_path / "run")]
    assert losses[1] < losses[0]
