"""The neighbour sum on a CPU in C++, through XLA's foreign function interface.

The algorithm is that of `chunked`, with the edge products in registers: several times faster where a C++
compiler is at hand (see `compiler`). Padding costs nothing. Results are the same in every run: the work is
divided by shapes and thread count alone.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels import chunked
from equivar_jax.kernels.compiler import NotCompiledError, library
from equivar_jax.kernels.neighbours import Neighbours
from equivar_jax.kernels.paths import ProductPlan

VECTOR_BYTES = 64
"""Channels must fill whole vectors of at most this size."""
_SUFFIX = {"float32": "f32", "float64": "f64"}
_FIRST_HARMONIC = (0, 1, 4)


def available(channels: int, dtype: np.dtype) -> bool:
    """Whether this process can use the kernel for features of that many channels."""
    if jax.default_backend() != "cpu" or np.dtype(dtype).name not in _SUFFIX:
        return False
    if channels * np.dtype(dtype).itemsize % VECTOR_BYTES:
        return False
    return why_not() is None


@functools.cache
def why_not() -> str | None:
    """Why there is no compiled kernel on this machine; None if there is one. Compiles it once a machine."""
    try:
        _register()
    except NotCompiledError as error:
        return str(error)
    return None


def _register() -> None:
    """Tell XLA of the compiled functions, once a process.

    Raises:
        NotCompiledError: they cannot be compiled here.
    """
    compiled = library()
    for direction in ("forward", "backward"):
        for suffix in _SUFFIX.values():
            function = jax.ffi.pycapsule(getattr(compiled, f"equivar_{direction}_{suffix}"))
            jax.ffi.register_ffi_target(f"equivar_{direction}_{suffix}", function, platform="cpu")


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def neighbour_sum(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
) -> Float[Array, "nodes products channels"]:
    """See `equivar_jax.kernels.neighbour_sum`.

    Raises:
        NotCompiledError: there is no compiled kernel on this machine.
    """
    if reason := why_not():
        raise NotCompiledError(f"kernel native: {reason}; use kernel auto or chunked")
    shape = (len(neighbours.counts), plan.output_components, features.shape[2])
    call = jax.ffi.ffi_call(
        f"equivar_forward_{_SUFFIX[features.dtype.name]}",
        jax.ShapeDtypeStruct(shape, features.dtype),
        vmap_method="sequential",
    )
    return call(features, radial, harmonics, *_edges(neighbours), **_terms(plan))


def _forward(features, radial, harmonics, neighbours, plan):
    arrays = features.value, radial.value, harmonics.value
    neighbours = jax.tree.map(lambda leaf: leaf.value, neighbours, is_leaf=_is_argument)
    # In training nobody asks for the derivative by positions, and the kernel can leave it out.
    return neighbour_sum(*arrays, neighbours, plan), (*arrays, neighbours, harmonics.perturbed)


def _is_argument(leaf) -> bool:
    return isinstance(leaf, jax.custom_derivatives.CustomVJPPrimal)


def _backward(plan, saved, cotangent):
    *arrays, neighbours, wants_harmonics = saved
    if isinstance(cotangent, jax.custom_derivatives.SymbolicZero):
        cotangent = jnp.zeros(cotangent.shape, cotangent.dtype)
    bars = _cotangents(*arrays, neighbours, cotangent, plan, wants_harmonics)
    return *bars, _no_cotangents(neighbours)


neighbour_sum.defvjp(_forward, _backward, symbolic_zeros=True)


@functools.partial(jax.custom_vjp, nondiff_argnums=(5, 6))
def _cotangents(features, radial, harmonics, neighbours, cotangent, plan, wants_harmonics):
    """Cotangents of features, radial part and harmonics; zeros for the last if they are not wanted."""
    dtype = features.dtype
    outputs = (features.shape, radial.shape, harmonics.shape if wants_harmonics else (0,))
    call = jax.ffi.ffi_call(
        f"equivar_backward_{_SUFFIX[dtype.name]}",
        tuple(jax.ShapeDtypeStruct(shape, dtype) for shape in outputs),
        vmap_method="sequential",
    )
    bars = call(features, radial, harmonics, *_edges(neighbours), cotangent, **_terms(plan))
    return tuple(bars) if wants_harmonics else (*bars[:2], jnp.zeros_like(harmonics))


def _cotangents_forward(features, radial, harmonics, neighbours, cotangent, plan, wants_harmonics):
    arguments = (features, radial, harmonics, neighbours, cotangent)
    return _cotangents(*arguments, plan, wants_harmonics), arguments


def _cotangents_backward(plan, _, arguments, bars):
    """Second derivatives go through the XLA kernel."""
    features, radial, harmonics, neighbours, cotangent = arguments

    def cotangents(features, radial, harmonics, cotangent):
        return chunked.neighbour_sum_transpose(plan, (features, radial, harmonics, neighbours), cotangent)

    _, pullback = jax.vjp(cotangents, features, radial, harmonics, cotangent)
    *floats, cotangent_bar = pullback(tuple(bars))
    return *floats, _no_cotangents(neighbours), cotangent_bar


_cotangents.defvjp(_cotangents_forward, _cotangents_backward)


def _edges(neighbours: Neighbours) -> tuple[Array, Array, Array]:
    return neighbours.senders, neighbours.first, neighbours.counts


def _no_cotangents(neighbours: Neighbours) -> Neighbours:
    """Integers have none."""
    return jax.tree.map(lambda array: np.zeros(array.shape, jax.dtypes.float0), neighbours)


def _terms(plan: ProductPlan) -> dict[str, np.ndarray]:
    """Clebsch-Gordan coefficients that are not zero: row of the result, row of U, and value.

    Row `out` of the sums is the sum of `coefficient` times row `u` of the edge products U, in which the
    harmonics s follow one another and each has the components m of the features.
    """
    rows = []
    for product in plan.products:
        coefficients = product.coefficients()
        for m, s, out in zip(*np.nonzero(np.abs(coefficients) > 1e-12), strict=True):
            harmonic = _FIRST_HARMONIC[product.degree] + s
            u = harmonic * plan.input_components + product.node.start + m
            rows.append((product.out.start + out, u, coefficients[m, s, out]))
    out, u, coefficient = zip(*sorted(rows), strict=True)
    return {
        "out": np.array(out, np.int32),
        "u": np.array(u, np.int32),
        "coefficient": np.array(coefficient, np.float64),
    }
