"""The neighbour sum on a CPU in C++, called through XLA's foreign function interface.

The algorithm is that of `chunked`, but the edge products stay in registers, which is several times faster. It
needs a C++ compiler on the machine (see `compiler`). Padding costs nothing. Results are the same in every
run, since the work is divided by shapes and thread count alone.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels import chunked
from equivar_jax.kernels.compiler import NotCompiledError, load_library
from equivar_jax.kernels.contraction import contraction_terms
from equivar_jax.kernels.neighbours import Neighbours
from equivar_jax.kernels.paths import ProductPlan
from equivar_jax.kernels.whole_network import SUFFIX, fills_vectors


def is_available(channels: int, dtype: np.dtype) -> bool:
    """Return whether this process can use the kernel for features of that many channels and that type."""
    if jax.default_backend() != "cpu" or not fills_vectors(channels, np.dtype(dtype)):
        return False
    return reason_unavailable() is None


@functools.cache
def reason_unavailable() -> str | None:
    """Return why there is no compiled kernel on this machine, or None if there is one.

    The first call on a machine compiles it.
    """
    try:
        _register()
    except NotCompiledError as error:
        return str(error)
    return None


def _require_library() -> None:
    """Refuse to go on without a compiled kernel.

    Raises:
        NotCompiledError: There is none.
    """
    if reason := reason_unavailable():
        raise NotCompiledError(f"kernel native: {reason}; use kernel auto or chunked")


def _register() -> None:
    """Make the compiled functions known to XLA, once in a process.

    Raises:
        NotCompiledError: They cannot be compiled here.
    """
    compiled = load_library("bindings")
    for name in ("forward", "backward", "message"):
        for suffix in SUFFIX.values():
            function = jax.ffi.pycapsule(getattr(compiled, f"equivar_{name}_{suffix}"))
            jax.ffi.register_ffi_target(f"equivar_{name}_{suffix}", function, platform="cpu")


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def neighbour_sum(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
) -> Float[Array, "nodes products channels"]:
    """Compute the neighbour sum; see `equivar_jax.kernels.neighbour_sum`.

    Raises:
        NotCompiledError: There is no compiled kernel on this machine.
    """
    _require_library()
    shape = (len(neighbours.counts), plan.output_components, features.shape[2])
    call = jax.ffi.ffi_call(
        f"equivar_forward_{SUFFIX[features.dtype.name]}",
        jax.ShapeDtypeStruct(shape, features.dtype),
        vmap_method="sequential",
    )
    return call(features, radial, harmonics, *_edges(neighbours), **contraction_terms(plan))


def _forward(features, radial, harmonics, neighbours, plan):
    move = harmonics.perturbed  # false in training, where the derivative by positions is not needed
    arrays = unwrap((features, radial, harmonics, neighbours))
    return neighbour_sum(*arrays, plan), (*arrays, mark(move))


def _backward(plan, saved, cotangent):
    *arrays, neighbours, move = saved
    bars = _cotangents(*arrays, neighbours, materialise(cotangent), plan, read_mark(move))
    return *bars, integer_cotangents(neighbours)


neighbour_sum.defvjp(_forward, _backward, symbolic_zeros=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _cotangents(features, radial, harmonics, neighbours, cotangent, plan, wants_harmonics):
    """Compute the cotangents of features, radial part and harmonics; zeros for the last if not wanted."""
    dtype = features.dtype
    outputs = (features.shape, radial.shape, harmonics.shape if wants_harmonics else (0,))
    call = jax.ffi.ffi_call(
        f"equivar_backward_{SUFFIX[dtype.name]}",
        tuple(jax.ShapeDtypeStruct(shape, dtype) for shape in outputs),
        vmap_method="sequential",
    )
    bars = call(features, radial, harmonics, *_edges(neighbours), cotangent, **contraction_terms(plan))
    return tuple(bars) if wants_harmonics else (*bars[:2], jnp.zeros_like(harmonics))


def _cotangents_forward(features, radial, harmonics, neighbours, cotangent, plan, wants_harmonics):
    arguments = (features, radial, harmonics, neighbours, cotangent)
    return _cotangents(*arguments, plan, wants_harmonics), arguments


def _cotangents_backward(plan, _, arguments, bars):
    """Compute second derivatives, through the kernel `chunked`."""
    features, radial, harmonics, neighbours, cotangent = arguments

    def cotangents(features, radial, harmonics, cotangent):
        return chunked.neighbour_sum_transpose(plan, (features, radial, harmonics, neighbours), cotangent)

    _, pullback = jax.vjp(cotangents, features, radial, harmonics, cotangent)
    *floats, cotangent_bar = pullback(tuple(bars))
    return *floats, integer_cotangents(neighbours), cotangent_bar


_cotangents.defvjp(_cotangents_forward, _cotangents_backward)


def message(
    features: Float[Array, "table components channels"],
    basis: Float[Array, "edges functions"],
    envelope: Float[Array, " edges"] | None,
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    edge_weight: Float[Array, "functions three_channels"],
    edge_bias: Float[Array, " channels"],
    mixing: Sequence[Float[Array, "_ channels"]],
    plan: ProductPlan,
    softplus_scale: float,
) -> Float[Array, "nodes outputs channels"]:
    """Compute the message in one pass, without a derivative; see `equivar_jax.kernels.messages.message`.

    Raises:
        NotCompiledError: There is no compiled kernel on this machine.
    """
    _require_library()
    dtype, channels = features.dtype, features.shape[2]
    layout = [(out.dim, len(plan.products_to(out))) for out in plan.outputs]
    starts = [product.out.start for out in plan.outputs for product in plan.products_to(out)]
    call = jax.ffi.ffi_call(
        f"equivar_message_{SUFFIX[dtype.name]}",
        jax.ShapeDtypeStruct((len(neighbours.counts), sum(dim for dim, _ in layout), channels), dtype),
        vmap_method="sequential",
    )
    return call(
        *(features, basis, jnp.zeros(0, dtype) if envelope is None else envelope, harmonics),
        *(*_edges(neighbours), edge_weight, edge_bias, jnp.concatenate(mixing)),
        **contraction_terms(plan),
        layout=np.array(layout, np.int32).ravel(),
        product_rows=np.array(starts, np.int32),
        softplus_scale=np.float64(softplus_scale),
        products=np.int64(plan.output_components),
    )


def _edges(neighbours: Neighbours) -> tuple[Array, Array, Array]:
    """Return the arrays that tell the C++ functions the edges of every node."""
    return neighbours.senders, neighbours.first, neighbours.counts


def is_argument(leaf) -> bool:
    """Return whether a leaf is an argument of a forward pass with `symbolic_zeros`."""
    return isinstance(leaf, jax.custom_derivatives.CustomVJPPrimal)


def unwrap(arguments):
    """Return the arrays in a tree of arguments of such a forward pass."""
    return jax.tree.map(lambda leaf: leaf.value, arguments, is_leaf=is_argument)


def mark(truth: bool) -> tuple | None:
    """Encode a truth value in the structure of a tree, so that the backward pass need not read an array."""
    return () if truth else None


def read_mark(marker: tuple | None) -> bool:
    """Return the truth value that `mark` encoded."""
    return marker is not None


def materialise(cotangent):
    """Return a cotangent as an array: zeros if it is only a symbol for them."""
    if isinstance(cotangent, jax.custom_derivatives.SymbolicZero):
        return jnp.zeros(cotangent.shape, cotangent.dtype)
    return cotangent


def integer_cotangents(neighbours: Neighbours) -> Neighbours:
    """Return what JAX takes as the cotangents of integer arrays, which have none: zeros of type float0."""
    return jax.tree.map(lambda array: np.zeros(array.shape, jax.dtypes.float0), neighbours)
