"""The same message-passing layer in this package, in cuequivariance-jax and in e3j.

The layer is the message of a middle interaction: 12 components a channel, 15 paths, the sum over neighbours
and the mixing of channels (`equivar_jax.kernels.messages`). The other libraries get our terms, radial part
and mixing, so that all return the same numbers. All keep channels last, so that no layout is converted.
"""

import importlib.util
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from equivar_jax.kernels import (
    EDGE,
    EdgeFeatures,
    MessageWeights,
    ProductPlan,
    choose_kernel,
    message,
    radial_part,
)

OURS = "equivar_jax"
PRECISION = jax.lax.Precision.HIGHEST  # as in our own mixing


class Inputs(NamedTuple):
    """The input of a layer, with the edges in the contestant's order."""

    features: Float[Array, "nodes 12 channels"]
    edges: EdgeFeatures
    receivers: Int[Array, " edges"]
    weights: MessageWeights


class Contestant(NamedTuple):
    """A layer, and how it has to be called."""

    layer: Callable[[Inputs], Float[Array, "nodes outputs channels"]]
    by_sender: bool
    """Whether its edges must be sorted by sender; otherwise they are sorted by receiver."""
    method: str
    """The library's own name for how it computes."""


class Term(NamedTuple):
    """One term of the message: `sums[row] += coefficient * x[node] * rho[degree] * Y[harmonic]`.

    It is summed over the neighbours.
    """

    row: int
    node: int
    degree: int
    harmonic: int
    coefficient: float


def polynomial(plan: ProductPlan) -> list[Term]:
    """Return the products of a plan term by term, sorted by row.

    Rows are laid out [irrep, component, product], so that `mix` can read products and channels as one axis.
    """
    terms, first = [], 0
    for out in plan.outputs:
        products = plan.products_to(out)
        for place, product in enumerate(products):
            coefficients = product.coefficients()
            for m, s, k in np.argwhere(np.abs(coefficients) > 1e-12).tolist():
                row, node = first + k * len(products) + place, product.node.start + m
                harmonic = product.degree**2 + s  # l = 0, 1, 2 start at 0, 1, 4
                terms.append(Term(row, node, product.degree, harmonic, float(coefficients[m, s, k])))
        first += out.dim * len(products)
    return sorted(terms)


def mix(
    sums: Sequence[Float[Array, "nodes rows channels"]], mixing: Sequence[Array], plan: ProductPlan
) -> Float[Array, "nodes outputs channels"]:
    """Mix the channels of each irrep's sums, rows in the order of `polynomial`."""
    joined = [part.reshape(len(part), out.dim, -1) for part, out in zip(sums, plan.outputs, strict=True)]
    mixed = [
        jnp.matmul(part, matrix, precision=PRECISION) for part, matrix in zip(joined, mixing, strict=True)
    ]
    return jnp.concatenate(mixed, axis=1)


def row_boundaries(plan: ProductPlan) -> list[int]:
    """Return the boundaries between the rows of the irreps, from 0 on."""
    return [0, *np.cumsum([out.dim * len(plan.products_to(out)) for out in plan.outputs]).tolist()]


def ours(kernel: str, plan: ProductPlan, channels: int) -> Contestant:
    """Make the layer of this package."""

    def layer(inputs: Inputs) -> Array:
        return message(inputs.features, inputs.edges, inputs.weights, plan, kernel)

    return Contestant(layer, False, choose_kernel(kernel, channels))


def cuequivariance(plan: ProductPlan, channels: int) -> Contestant:
    """Make the layer of cuequivariance-jax.

    It is one segmented polynomial with gather and scatter inside, and one operand for each irrep of the
    result.
    """
    import cuequivariance as cue  # type: ignore[import-not-found]
    import cuequivariance_jax as cuex  # type: ignore[import-not-found]

    product = cue.SegmentedTensorProduct.from_subscripts("u,u,,u")
    harmonics = sum(ir.dim for ir in EDGE)
    operands = (
        (len(EDGE), True),
        (plan.input_components, True),
        (harmonics, False),
        (plan.output_components, True),
    )
    for operand, (segments, has_channels) in enumerate(operands):
        for _ in range(segments):
            product.add_segment(operand, (channels,) if has_channels else ())
    for term in polynomial(plan):
        product.add_path(term.degree, term.node, term.harmonic, term.row, c=term.coefficient)
    whole = cue.SegmentedPolynomial.eval_last_operand(product)
    split = whole.split_operand_by_segment(-1, row_boundaries(plan))
    method = "uniform_1d" if jax.default_backend() == "gpu" else "naive"

    def layer(inputs: Inputs) -> Array:
        (features, edges, receivers, weights), nodes = inputs, len(inputs.features)
        radial = radial_part(edges, weights)
        sums = cuex.segmented_polynomial(
            split,
            [radial.reshape(len(radial), -1), features.reshape(nodes, -1), edges.harmonics],
            [jax.ShapeDtypeStruct((nodes, out.size), features.dtype) for out in split.outputs],
            [None, edges.neighbours.senders, None, *[receivers] * len(split.outputs)],
            method=method,
        )
        return mix([part.reshape(nodes, -1, channels) for part in sums], weights.mixing, plan)

    return Contestant(layer, False, method)


def e3j(ordering: str, plan: ProductPlan) -> Contestant:
    """Make the layer of e3j: its `e3j.core.Convolution` with our terms put in.

    As constructed it runs 17 paths and reads one scalar for each path and edge. Ours has 15 paths and needs
    one scalar for each degree, so replacing its product and mixing makes its work less. With edges sorted by
    sender it relies on every edge having a reverse; with edges sorted by receiver its derivative sorts them
    anew.

    Args:
        ordering: "SENDER" or "RECEIVER".
        plan: The products of the layer.
    """
    from e3j.core import Convolution, TensorProduct  # type: ignore[import-not-found]
    from e3j.spaces import O3Space  # type: ignore[import-not-found]
    from e3j.utils import options  # type: ignore[import-not-found]
    from e3j.utils.config import Config  # type: ignore[import-not-found]
    from e3j.utils.sparse import sparse_bcoo  # type: ignore[import-not-found]

    fused = jax.default_backend() == "gpu" and importlib.util.find_spec("e3j_ops") is not None
    method = options.Convolution.FUSED_CUDA if fused else options.Convolution.UNFUSED
    config = Config(convolution=method)
    nodes, edges = (O3Space(" + ".join(map(str, irreps))) for irreps in (plan.inputs, EDGE))
    rows = O3Space(f"{plan.output_components}x0e")  # only its size is read
    terms = polynomial(plan)
    coefficients = sparse_bcoo(
        jnp.array([term.coefficient for term in terms], jnp.float32),
        jnp.array([(term.row, term.node, term.harmonic) for term in terms]),
        (rows.dim, nodes.dim, edges.dim),
    )
    degrees = {term.row: term.degree for term in terms}
    convolution = Convolution((nodes, edges), nodes, graph_ordering=ordering, config=config)
    convolution.target = rows
    convolution._otimes = TensorProduct(
        (nodes, edges), rows, coefficients, config=config, layout=options.Layout.TRAILING_CHANNELS
    )
    convolution._mix = ScalarsByDegree(np.array([degrees[row] for row in range(rows.dim)]), len(EDGE))
    boundaries = row_boundaries(plan)

    def layer(inputs: Inputs) -> Array:
        features, edges, receivers, weights = inputs
        radial = radial_part(edges, weights)
        sums = convolution(features, edges.harmonics, radial, edges.neighbours.senders, receivers)
        return mix(jnp.split(sums, boundaries[1:-1], axis=1), weights.mixing, plan)

    return Contestant(layer, ordering == "SENDER", method.value)


class ScalarsByDegree(NamedTuple):
    """A stand-in for e3j's `ScalarMixing`, in which products of one edge degree share a scalar."""

    mix_indices: Int[np.ndarray, " rows"]
    num_irreps: int

    def __call__(self, scalars: Array, products: Array) -> Array:
        """Scale the products of every edge."""
        return scalars[:, self.mix_indices] * products


def contestants(channels: int) -> dict[str, Callable[[ProductPlan, int], Contestant]]:
    """Return the makers of all layers by name, with ours in XLA where "auto" means another kernel."""
    found: dict[str, Callable[[ProductPlan, int], Contestant]] = {OURS: lambda *a: ours("auto", *a)}
    if choose_kernel("auto", channels) != "chunked":
        found[f"{OURS}, XLA only"] = lambda *a: ours("chunked", *a)
    return found | {
        "cuequivariance-jax": cuequivariance,
        "e3j": lambda plan, _: e3j("RECEIVER", plan),
        "e3j, edges by sender": lambda plan, _: e3j("SENDER", plan),
    }
