"""The Clebsch-Gordan algebra of one interaction, worked out ahead of time."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from equivar_jax.kernels.irreps import Irrep, clebsch_gordan, parse_irreps

HIDDEN = parse_irreps("0e", "1o", "1e", "2e")
EDGE = parse_irreps("0e", "1o", "2e")

# The paths node x edge -> out. O(3) allows 17; the published weight tensor has 15 blocks. This order fits
# them best (in its first layer only the blocks 0, 6 and 11 are live); which two were left out is inferred.
PATHS = tuple(
    parse_irreps(*path)
    for path in (
        ("0e", "0e", "0e"),
        ("1o", "1o", "0e"),
        ("2e", "2e", "0e"),
        ("1e", "0e", "1e"),
        ("1e", "2e", "1e"),
        ("1o", "1o", "1e"),
        ("0e", "1o", "1o"),
        ("1e", "1o", "1o"),
        ("1o", "0e", "1o"),
        ("1o", "2e", "1o"),
        ("2e", "1o", "1o"),
        ("0e", "2e", "2e"),
        ("1o", "1o", "2e"),
        ("2e", "0e", "2e"),
        ("2e", "2e", "2e"),
    )
)


@dataclass(frozen=True)
class Product:
    """One path of a plan, and where its operands and its result lie.

    `path` is its number in `PATHS`, `node` selects components of the node features, `degree` is the degree l
    of the edge, and `out` selects components of the result.
    """

    path: int
    node: slice = field(hash=False)  # before Python 3.12 a slice has no hash
    degree: int
    out: slice = field(hash=False)

    def coefficients(self) -> Float[np.ndarray, "node edge out"]:
        """Return the Clebsch-Gordan coefficients of the path.

        They are so scaled that operands of unit variance give a result of unit variance.
        """
        node, edge, out = PATHS[self.path]
        return clebsch_gordan(node.l, edge.l, out.l) * out.dim**0.5


@dataclass(frozen=True)
class ProductPlan:
    """The products that lead from irreps that are not zero to irreps that are needed.

    The first interaction sees only scalars and runs 3 of the 15 paths; the last one does not compute 1o,
    which the readout does not use. What is left out contributes exactly nothing.
    """

    inputs: tuple[Irrep, ...]
    products: tuple[Product, ...]

    @property
    def input_components(self) -> int:
        """Number of components of the node features in each channel."""
        return sum(ir.dim for ir in self.inputs)

    @property
    def output_components(self) -> int:
        """Number of components of all products together in each channel (47 with all paths)."""
        return sum(PATHS[p.path][2].dim for p in self.products)

    @property
    def outputs(self) -> tuple[Irrep, ...]:
        """The irreps that some product leads to, in the order of `HIDDEN`."""
        return tuple(ir for ir in HIDDEN if self.products_to(ir))

    def products_to(self, out: Irrep) -> tuple[Product, ...]:
        """Return the products whose result transforms as `out`."""
        return tuple(p for p in self.products if PATHS[p.path][2] == out)


@functools.cache
def plan_products(inputs: tuple[Irrep, ...], needed: tuple[Irrep, ...]) -> ProductPlan:
    """Choose the paths from `inputs` to `needed` and lay out their operands and results.

    Args:
        inputs: Irreps of the node features that are not identically zero, in the order of their components.
        needed: Irreps of the result that a later layer reads.

    Returns:
        The plan; its products are in the order of `PATHS`.
    """
    start = dict(zip(inputs, offsets(inputs), strict=False))
    products: list[Product] = []
    position = 0
    for index, (node, edge, out) in enumerate(PATHS):
        if node in start and out in needed:
            rows = slice(start[node], start[node] + node.dim)
            products.append(Product(index, rows, edge.l, slice(position, position + out.dim)))
            position += out.dim
    return ProductPlan(inputs, tuple(products))


def offsets(irreps: Sequence[Irrep]) -> tuple[int, ...]:
    """Return the first component of each irrep, and the total, if they are laid one after the other."""
    return tuple(int(k) for k in np.cumsum([0, *(ir.dim for ir in irreps)]))
