"""The optimisers of training: AdamW, or Muon on the matrices that mix channels."""

import jax
import jax.numpy as jnp
import optax
from optax.contrib import MuonDimensionNumbers

from equivar_jax.config.schema import Freeze, TrainConfig

_KNOW_ELEMENTS = {"embedding", "lin0_weight", "lin0_bias", "species_basis", "self_factors"}
_READOUT = ("lin1_", "element_", "dielectric_", "dipole_")
_FROM_FIRST = {"edge_weight": 0}
"""Axis of the inputs of weights that do not have it before the last one."""
_MATRICES = {
    "lin0_weight",
    "radial",
    "ends",
    "mix",
    "edge_weight",
    "path_weights",
    "linear_weight",
    "self_weight",
    "product_mix",
    "product_linear",
    "gate_weight",
}
"""Weights that map channels, or functions of an edge, to channels: the last axis counts the outputs."""
UPDATE_SIZE = 0.2
"""Root mean square of an update of a matrix, as a part of the rate; Adam's updates are about as large."""


def learning_rate_schedule(config: TrainConfig, batches_per_epoch: int) -> optax.Schedule:
    """Make the schedule: a linear warm-up, then cosine, exponential or no decay to `final_learning_rate`."""
    total = config.epochs * batches_per_epoch
    warmup = min(round(config.warmup_epochs * batches_per_epoch), total // 2)
    start, end = config.learning_rate, config.final_learning_rate
    decay = max(total - warmup, 1)
    if config.schedule == "cosine":
        main = optax.cosine_decay_schedule(start, decay, alpha=end / start)
    elif config.schedule == "exponential":
        main = optax.exponential_decay(start, decay, end / start, end_value=end)
    else:
        main = optax.constant_schedule(start)
    if warmup == 0:
        return main
    return optax.join_schedules([optax.linear_schedule(start / warmup, start, warmup), main], [warmup])


def is_frozen(path: jax.tree_util.KeyPath, freeze: Freeze) -> bool:
    """Tell whether a weight stays as it is, by its place in the tree of parameters."""
    names = _names(path)
    if freeze == "interactions":
        return not names[0].startswith(_READOUT)
    return freeze == "elements" and not _KNOW_ELEMENTS.isdisjoint(names)


def count_trained(params: dict, freeze: Freeze) -> int:
    """Count the weights that are not frozen."""
    leaves = jax.tree.leaves_with_path(params)
    return sum(leaf.size for path, leaf in leaves if not is_frozen(path, freeze))


def make_optimizer(config: TrainConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Make the optimiser, with clipping of the global gradient norm if asked for; frozen weights stay.

    Muon replaces the gradient of a matrix, averaged over steps, by about the nearest matrix with orthonormal
    rows or columns (K. Jordan et al., 2024), scaled so that its root mean square is `UPDATE_SIZE` times the
    rate (J. Liu et al., arXiv:2502.16982), which lets one rate serve matrices and all other weights.
    """
    clip = optax.identity() if config.gradient_clip is None else _clip_by_global_norm(config.gradient_clip)
    if config.optimizer == "muon":
        update = optax.contrib.muon(
            schedule,
            weight_decay=config.weight_decay,
            adam_weight_decay=config.weight_decay,
            adam_learning_rate=schedule,
            muon_weight_dimension_numbers=matrix_axes,
            consistent_rms=UPDATE_SIZE,
        )
    else:
        update = optax.adamw(schedule, weight_decay=config.weight_decay)
    optimizer = optax.chain(clip, update)
    if config.freeze == "nothing":
        return optimizer
    return optax.multi_transform(
        {"trained": optimizer, "frozen": optax.set_to_zero()},
        lambda params: jax.tree.map_with_path(
            lambda path, _: "frozen" if is_frozen(path, config.freeze) else "trained", params
        ),
    )


def matrix_axes(params: dict) -> dict:
    """Say of every weight which axes are the inputs and outputs of matrices, and None where it has none.

    Other axes count matrices: one for each path of a product, kind of feature or end of an edge.
    """

    def axes(path: jax.tree_util.KeyPath, weight: jax.Array) -> MuonDimensionNumbers | None:
        name = _names(path)[-1]
        if name not in _MATRICES:
            return None
        return MuonDimensionNumbers(_FROM_FIRST.get(name, weight.ndim - 2), weight.ndim - 1)

    return jax.tree.map_with_path(axes, params)


def _names(path: jax.tree_util.KeyPath) -> list[str]:
    """Return the names of a place in the tree of parameters, from the network's own on."""
    return [str(getattr(key, "key", key)) for key in path if getattr(key, "key", None) != "params"]


def _clip_by_global_norm(largest: float) -> optax.GradientTransformation:
    """Do the same as `optax.clip_by_global_norm`, by one factor, which takes less time to compile."""

    def clip(updates: dict, _: dict | None = None) -> dict:
        factor = largest / jnp.maximum(optax.tree.norm(updates), largest)
        return jax.tree.map(lambda update: update * factor.astype(update.dtype), updates)

    return optax.stateless(clip)
