"""`load`, which makes a `Predictor` of a checkpoint, and `predict`, which uses the package's weights."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.network.compiled import weight_shapes
from equivar_jax.prediction.members import Uncertain
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.weights import NAME
from equivar_jax.weights.checkpoint import check_parameters, read_weights
from equivar_jax.weights.stacking import map_weights


def load(
    location: str | Path | None = None, dtype: str = "float32", *, member: int | None = None
) -> Predictor:
    """Load the best weights of a run directory, or those of one checkpoint folder.

    Args:
        location: The folder that `equivar_jax.train` or `equivar_jax.committee` wrote. None or "shipped"
            takes the weights that come with the package, which are read once per process.
        dtype: Precision of the computation. Where JAX computes (see `Predictor`), "float64" needs
            `jax.config.update("jax_enable_x64", True)`.
        member: Take one network of a committee, by its number from 0: faster, but without uncertainty.

    Raises:
        InputError: there is no readable checkpoint of this architecture, or it has no such member.
    """
    if location is None or str(location) == NAME:
        predictor = _load_shipped(np.dtype(dtype).name)
    else:
        predictor = _read_predictor(location, dtype)
    return predictor if member is None else predictor.member(member)


@functools.cache
def _load_shipped(dtype: str) -> Predictor:
    """Load the weights that come with the package, once per process and precision."""
    return _read_predictor(NAME, dtype)


def _read_predictor(location: str | Path, dtype: str) -> Predictor:
    weights, metadata = read_weights(location)
    expected = weight_shapes(metadata.config.model)
    if (members := metadata.members) > 1:
        expected = map_weights(lambda shape: (members, *shape), expected)
    check_parameters(weights, expected, str(location))
    return Predictor(map_weights(lambda leaf: np.asarray(leaf, dtype), weights), metadata)


@overload
def predict(
    structures: Atoms,
    *,
    allow_unseen: bool = False,
    uncertainty: Literal[False] = False,
    dielectric: Literal[False] = False,
) -> Float[np.ndarray, "atoms 3 3"]: ...


@overload
def predict(
    structures: Sequence[Atoms],
    *,
    allow_unseen: bool = False,
    uncertainty: Literal[False] = False,
    dielectric: Literal[False] = False,
) -> list[Float[np.ndarray, "atoms 3 3"]]: ...


@overload
def predict(
    structures: Atoms,
    *,
    allow_unseen: bool = False,
    uncertainty: Literal[True],
    dielectric: Literal[False] = False,
) -> Uncertain: ...


@overload
def predict(
    structures: Sequence[Atoms],
    *,
    allow_unseen: bool = False,
    uncertainty: Literal[True],
    dielectric: Literal[False] = False,
) -> list[Uncertain]: ...


@overload
def predict(
    structures: Atoms | Sequence[Atoms],
    *,
    allow_unseen: bool = False,
    uncertainty: bool = False,
    dielectric: Literal[True],
) -> Any: ...


def predict(structures, *, allow_unseen=False, uncertainty=False, dielectric=False):
    """Predict Born effective charges with the weights that come with the package: `load().predict(...)`.

    Args:
        structures: `ase.Atoms`, or a sequence of them; `info["charge"]` is the net charge of a cell in e.
        allow_unseen: Only warn about elements that did not occur in the training data.
        uncertainty: Return pairs (Z, sigma), where sigma is the standard deviation of each component in e.
        dielectric: Return the electronic dielectric tensor, too: (Z, eps_inf), and with `uncertainty`
            ((Z, sigma), (eps_inf, sigma)).

    Returns:
        float64 (N, 3, 3) in e, [atom, field direction, displacement direction], or a list of such arrays
        for a list of structures.

    Raises:
        InputError: a structure cannot be used, or it has an element that the model has never seen.
    """
    return load().predict(
        structures, allow_unseen=allow_unseen, uncertainty=uncertainty, dielectric=dielectric
    )
