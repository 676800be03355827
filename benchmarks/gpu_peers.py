"""One message-passing layer in equivariant CUDA libraries: `python -m benchmarks.gpu_peers`.

Measured is the message of a middle interaction: 12 components a channel, 15 paths, the sum over neighbours
and the mixing of channels. cuequivariance-jax and e3j get our polynomial, our radial part and our mixing, so
that all return the same numbers; before the clock starts each must do so to 1e-4, values and gradients. Who
is not installed, fails or differs is left out, with the reason.

Everyone keeps channels last, so no layout is converted. Outside the clock are the radial basis, the harmonics
and, for `e3j, edges by sender`, the order of the edges: a network makes them once for all layers.
"""

import argparse
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from benchmarks.machine import describe_machine
from benchmarks.shapes import fitted, one_batch, perovskites
from benchmarks.timing import RESULTS, interleaved, write_result
from equivar_jax.batch import Batch
from equivar_jax.config import TrainConfig, load_config
from equivar_jax.kernels import (
    EDGE, HIDDEN, EdgeFeatures, MessageWeights, ProductPlan, choose, message, plan_products, radial_part,
)  # fmt: skip
from equivar_jax.model import Equivar, embed_edges
from equivar_jax.radial import GAUSSIAN_SQUARE_SUM
from equivar_jax.steps import ErrorSums, TrainState, make_optimizer, make_steps

OUTPUT = RESULTS / "gpu_peers.json"
OURS = "equivar_jax"
LIBRARIES = ("cuequivariance", "cuequivariance-jax", "cuequivariance-ops-jax-cu13", "e3j", "e3j_ops")
TOLERANCE = 1e-4
LEARNING_RATE = 0.005
PRECISION = jax.lax.Precision.HIGHEST


class Inputs(NamedTuple):
    """What a layer reads, the edges in the contestant's order."""

    features: Float[Array, "nodes 12 channels"]
    edges: EdgeFeatures
    receivers: Int[Array, " edges"]
    weights: MessageWeights


class Contestant(NamedTuple):
    """A layer, and what it wants to be called with."""

    layer: Callable[[Inputs], Float[Array, "nodes outputs channels"]]
    by_sender: bool
    """Whether it wants its edges sorted by sender; by receiver otherwise."""
    method: str
    """How it computes, in its own words."""


class Term(NamedTuple):
    """`sums[row] += coefficient * x[node] * rho[degree] * Y[harmonic]` over the neighbours."""

    row: int
    node: int
    degree: int
    harmonic: int
    coefficient: float


def polynomial(plan: ProductPlan) -> list[Term]:
    """The products of a plan, term by term, sorted by row.

    Rows are laid out [irrep, component, product], so that `mix` can read products and channels as one axis.
    """
    terms, first = [], 0
    for out in plan.outputs:
        products = plan.products_to(out)
        for place, product in enumerate(products):
            coefficients = product.coefficients()
            for m, s, k in zip(*np.nonzero(np.abs(coefficients) > 1e-12), strict=True):
                row, node, harmonic = first + k * len(products) + place, product.node.start + m, s
                harmonic += product.degree**2  # l = 0, 1, 2 start at 0, 1, 4
                terms.append(Term(row, node, product.degree, harmonic, float(coefficients[m, s, k])))
        first += out.dim * len(products)
    return sorted(terms)


def mix(
    sums: Sequence[Float[Array, "nodes rows channels"]], mixing: Sequence[Array], plan: ProductPlan
) -> Float[Array, "nodes outputs channels"]:
    """Mix the channels of each irrep's sums, rows in the order of `polynomial`."""
    joined = [part.reshape(len(part), out.dim, -1) for part, out in zip(sums, plan.outputs, strict=True)]
    mixed = [jnp.matmul(part, matrix, precision=PRECISION) for part, matrix in zip(joined, mixing, strict=True)]
    return jnp.concatenate(mixed, axis=1)


def row_boundaries(plan: ProductPlan) -> list[int]:
    """Where the rows of each irrep end, from 0 on."""
    return [0, *np.cumsum([out.dim * len(plan.products_to(out)) for out in plan.outputs]).tolist()]


def ours(kernel: str, plan: ProductPlan, channels: int) -> Contestant:
    """This package."""

    def layer(inputs: Inputs) -> Array:
        return message(inputs.features, inputs.edges, inputs.weights, plan, kernel)

    return Contestant(layer, False, choose(kernel, channels))


def cuequivariance(plan: ProductPlan, channels: int) -> Contestant:
    """One segmented polynomial with gather and scatter inside, one operand an irrep of the result."""
    import cuequivariance as cue  # type: ignore[import-not-found]
    import cuequivariance_jax as cuex  # type: ignore[import-not-found]

    # weights, node features, harmonics (no channels), result
    product = cue.SegmentedTensorProduct.from_subscripts("u,u,,u")
    sizes = (len(EDGE), plan.input_components, sum(ir.dim for ir in EDGE), plan.output_components)
    for operand, (segments, shape) in enumerate(zip(sizes, ((channels,), (channels,), (), (channels,)), strict=True)):
        for _ in range(segments):
            product.add_segment(operand, shape)
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


def e3j(ordering: str, plan: ProductPlan, channels: int) -> Contestant:
    """`e3j.core.Convolution` with our terms put in.

    As constructed it runs 17 paths and reads a scalar a path and edge. Ours are 15, and need one scalar a
    degree, so replacing product and mixing takes work from it. Sorted by sender it relies on every edge's
    having a reverse; sorted by receiver, its derivative sorts them anew.
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
    degrees = dict((term.row, term.degree) for term in terms)
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
    """Stands in for e3j's `ScalarMixing`: products of one edge degree share a scalar."""

    mix_indices: Int[np.ndarray, " rows"]
    num_irreps: int

    def __call__(self, scalars: Array, products: Array) -> Array:
        """Scale the products of every edge."""
        return scalars[:, self.mix_indices] * products


CONTESTANTS: dict[str, Callable[[ProductPlan, int], Contestant]] = {
    OURS: lambda *a: ours("auto", *a),
    f"{OURS}, XLA only": lambda *a: ours("chunked", *a),
    "cuequivariance-jax": cuequivariance,
    "e3j": lambda *a: e3j("RECEIVER", *a),
    "e3j, edges by sender": lambda *a: e3j("SENDER", *a),
}


def random_inputs(batch: Batch, channels: int, plan: ProductPlan, model) -> Inputs:
    """Unit normal features, and weights of the size that the network starts with."""
    graph = jax.tree.map(jnp.asarray, batch.graph)
    edges = embed_edges(graph, model)
    keys = iter(jax.random.split(jax.random.key(0), 3 + len(plan.outputs)))

    def normal(*shape: int) -> Array:
        return jax.random.normal(next(keys), shape)

    weights = MessageWeights(
        edge=normal(edges.basis.shape[1], len(EDGE) * channels) / GAUSSIAN_SQUARE_SUM**0.5,
        edge_bias=normal(channels),
        mixing=tuple(
            normal(len(plan.products_to(out)) * channels, channels) / channels**0.5 for out in plan.outputs
        ),
    )
    features = normal(len(graph.nodes["species"]), plan.input_components, channels)
    return Inputs(features, edges, graph.receivers, weights)
