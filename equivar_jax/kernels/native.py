"""The form of the neighbours (`neighbour_form`) on a CPU in C++, called by XLA's foreign function interface.

The algorithm is that of `chunked`, but the edge products stay in registers, which is several times faster. It
needs a C++ compiler on the machine (see `compiler`). Padding costs nothing. Results are the same in every
run, since the work is divided by shapes and thread count alone.
"""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels.compiler import NotCompiledError, load_library
from equivar_jax.kernels.contraction import contraction_terms
from equivar_jax.kernels.multilinear import Form
from equivar_jax.kernels.neighbour_form import NeighbourSpace
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
    for name in ("form", "nodes", "message"):
        for suffix in SUFFIX.values():
            function = jax.ffi.pycapsule(getattr(compiled, f"equivar_{name}_{suffix}"))
            jax.ffi.register_ffi_target(f"equivar_{name}_{suffix}", function, platform="cpu")


def evaluate(operands: Sequence[Array], neighbours: Neighbours, form: Form) -> Sequence[Array]:
    """Compute the outputs of a form in one pass; see `equivar_jax.kernels.multilinear.evaluate`.

    Raises:
        NotCompiledError: There is no compiled kernel on this machine.
    """
    space = form.space
    assert isinstance(space, NeighbourSpace)
    plan = space.plan
    sizes = (space.table, plan.input_components, space.channels, plan.output_components, max(1, form.slices))
    return call_form(
        "form",
        (*_edges(neighbours), *operands),
        form,
        **contraction_terms(plan),
        sizes=np.array(sizes, np.int32),
    )


def call_form(
    name: str, arrays: Sequence[Array], form: Form, **attributes: np.ndarray | np.int64
) -> Sequence[Array]:
    """Call a C++ function that computes the outputs of a form, which it gets written down as integers.

    Args:
        name: Of the function.
        arrays: Its arguments, the operands last.
        form: What to compute.
        attributes: What else it reads.

    Raises:
        NotCompiledError: There is no compiled kernel on this machine.
    """
    _require_library()
    dtype = form.space.dtype
    shapes = [form.shape(output.slot, output.batched) for output in form.outputs]
    call = jax.ffi.ffi_call(
        f"equivar_{name}_{SUFFIX[dtype.name]}", [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    )
    outputs: list[int] = []
    for output in form.outputs:
        outputs += [output.slot, output.batched, len(output.terms), *itertools.chain(*output.terms)]
    return call(
        *arrays,
        **attributes,
        operands=np.array(list(zip(form.slots, form.batched, strict=True)), np.int32).ravel(),
        outputs=np.array(outputs, np.int32),
    )


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
