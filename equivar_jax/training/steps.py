"""The compiled functions of training: one optimisation step, one validation step."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import NamedSharding
from jaxtyping import Array

from equivar_jax.config.schema import ModelConfig, TrainConfig
from equivar_jax.graphs.batch import Batch
from equivar_jax.network.forms import make_network
from equivar_jax.network.initial_weights import COMPILE_QUICKLY
from equivar_jax.network.tensor import apply_sum_rule
from equivar_jax.training.devices import IN_PARTS, ON_ALL, Devices
from equivar_jax.training.losses import (
    DielectricErrors,
    ErrorSums,
    Loss,
    Output,
    absolute_errors,
    dielectric_errors,
    l1_loss,
)
from equivar_jax.training.optimizers import is_frozen


@struct.dataclass
class TrainState:
    """Everything that an optimisation step changes."""

    params: dict
    ema: dict | None
    """Moving average of the weights, if one is kept."""
    optimizer: optax.OptState
    sums: ErrorSums
    """Training errors of the epoch so far."""

    @property
    def evaluated(self) -> dict:
        """Weights to validate and keep: the moving average, if there is one."""
        return self.params if self.ema is None else self.ema


class Steps(NamedTuple):
    """The compiled functions of a run, and how often each was compiled."""

    train: Callable[[TrainState, Batch], TrainState]
    validate: Callable[[dict, ErrorSums, Batch], ErrorSums]
    validate_dielectric: Callable[[dict, DielectricErrors, Batch], DielectricErrors]
    """Of a network with a readout for the dielectric tensor only."""
    compiles: Counter


def draw_weights(model: ModelConfig, seed: int) -> dict:
    """Draw the weights of a network at random."""
    # Not under `jit`: compiled together, the many small drawings would take seconds.
    return {"params": _make_weights(model, jax.random.key(seed))["params"]}


def weight_shapes(model: ModelConfig) -> dict:
    """Return the shapes and types of the weights of a network, without computing any."""
    return {"params": jax.eval_shape(lambda key: _make_weights(model, key), jax.random.key(0))["params"]}


def _make_weights(model: ModelConfig, key: Array) -> dict:
    """Make the weights of a network without running it, which would have to be compiled."""
    return make_network(model).init(key, method="make_weights")


def initial_state(params: dict, train: TrainConfig, optimizer: optax.GradientTransformation) -> TrainState:
    """Make the state before the first step."""
    begin = functools.partial(_begin, train=train, optimizer=optimizer)
    return TrainState(params, *jax.jit(begin, compiler_options=COMPILE_QUICKLY)(params))


def _begin(
    params: dict, train: TrainConfig, optimizer: optax.GradientTransformation
) -> tuple[dict | None, optax.OptState, ErrorSums]:
    """Make what accompanies the weights: their average, the state of the optimiser, sums of errors."""
    ema = None if train.ema_decay is None else jax.tree.map(jnp.copy, params)
    return ema, optimizer.init(params), ErrorSums.zero()


def update_state(
    state: TrainState,
    gradient: dict,
    errors: ErrorSums,
    optimizer: optax.GradientTransformation,
    train: TrainConfig,
) -> TrainState:
    """Take one step of the optimiser, and of the average of the weights."""
    updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = state.ema
    if train.ema_decay is not None:
        share = 1.0 - train.ema_decay  # in this form the average of what stays is exactly that
        ema = jax.tree.map(lambda average, new: average + share * (new - average), ema, params)
    return TrainState(params, ema, optimizer_state, state.sums + errors)


def make_steps(
    model: ModelConfig,
    train: TrainConfig,
    optimizer: optax.GradientTransformation,
    loss: Loss = l1_loss,
    devices: Devices | None = None,
) -> Steps:
    """Make the compiled functions for a network, an optimiser and a loss; each batch shape compiles once.

    Sums stay on the device: nothing waits for it until somebody reads a number. On several devices each
    applies the network to its part of the batch; losses and errors are of all parts, since they are made
    from sums over the whole, and so is the gradient.

    Args:
        model: Settings of the network.
        train: Settings of the optimisation, also for the loss.
        optimizer: Such as `make_optimizer` gives.
        loss: What to make small; see `losses.Loss`.
        devices: That weights are replicated on and batches divided among; None is the one of JAX.
    """
    network = make_network(model)
    compiles: Counter = Counter()

    @functools.partial(_on_each_device, devices)
    def apply(params: dict, batch: Batch) -> Output:
        if model.dielectric:
            return Output(*network.apply(params, batch.graph, method="with_dielectric"))
        return Output(network.apply(params, batch.graph), None)

    @functools.partial(_on_each_device, devices)
    def apply_corrected(params: dict, batch: Batch) -> Array:
        raw = network.apply(params, batch.graph)
        return apply_sum_rule(raw, batch.graph.n_node, batch.graph.globals["charge"])

    def train_step(state: TrainState, batch: Batch) -> TrainState:
        compiles["train"] += 1  # runs while tracing, that is once per compilation

        def loss_fn(params):
            # Nothing is differentiated for the sake of weights that stay.
            params = jax.tree.map_with_path(
                lambda path, leaf: jax.lax.stop_gradient(leaf) if is_frozen(path, train.freeze) else leaf,
                params,
            )
            return loss(apply(params, batch), batch, train)

        gradient, errors = jax.grad(loss_fn, has_aux=True)(state.params)
        return update_state(state, gradient, errors, optimizer, train)

    def validate_step(params: dict, sums: ErrorSums, batch: Batch) -> ErrorSums:
        compiles["validate"] += 1
        return sums + absolute_errors(apply_corrected(params, batch), batch)

    def validate_dielectric_step(params: dict, sums: DielectricErrors, batch: Batch) -> DielectricErrors:
        compiles["validate dielectric"] += 1
        dielectric = apply(params, batch).dielectric
        return sums + dielectric_errors(dielectric, batch.dielectric, batch.dielectric_mask)

    options: dict[str, Any] = {"compiler_options": _compiler_options()}
    if devices is not None:
        options["out_shardings"] = NamedSharding(devices.mesh, ON_ALL)
    return Steps(
        jax.jit(train_step, donate_argnums=0, **options),
        jax.jit(validate_step, **options),
        jax.jit(validate_dielectric_step, **options),
        compiles,
    )


def _on_each_device(devices: Devices | None, function: Callable) -> Callable:
    """Let each device apply a function of weights and batch to its part; results are joined along axis 0.

    The compiler could divide XLA's operations by itself, but it does not know those of C++; and only so an
    edge never asks for a node of another device.
    """
    if devices is None:
        return function
    # The check of what is the same on all devices knows no primitives of this package.
    return jax.shard_map(
        function, mesh=devices.mesh, in_specs=(ON_ALL, IN_PARTS), out_specs=IN_PARTS, check_vma=False
    )


def _compiler_options() -> dict[str, int] | None:
    """Return options of XLA for the steps.

    On a CPU the time of a step goes into matrix products and the C++ kernel, which come compiled; the rest
    runs as fast with level 1 as with the default, level 3, and takes less time to compile.
    """
    return {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
