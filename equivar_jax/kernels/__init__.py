"""Message passing behind one function, `message`: the network does not know which implementation runs."""

from typing import TYPE_CHECKING

from equivar_jax.lazy import import_lazily

if TYPE_CHECKING:
    from equivar_jax.kernels.irreps import Irrep, clebsch_gordan, parse_irreps
    from equivar_jax.kernels.messages import (
        EdgeFeatures,
        MessageWeights,
        RadialSlope,
        message,
        radial_part,
        shifted_softplus,
    )
    from equivar_jax.kernels.neighbours import Neighbours, Size
    from equivar_jax.kernels.paths import EDGE, HIDDEN, PATHS, ProductPlan, offsets, plan_products
    from equivar_jax.kernels.sums import choose_kernel, needs_slots, neighbour_sum

__all__ = [
    "EDGE",
    "HIDDEN",
    "PATHS",
    "EdgeFeatures",
    "Irrep",
    "MessageWeights",
    "Neighbours",
    "ProductPlan",
    "RadialSlope",
    "Size",
    "choose_kernel",
    "clebsch_gordan",
    "message",
    "needs_slots",
    "neighbour_sum",
    "offsets",
    "parse_irreps",
    "plan_products",
    "radial_part",
    "shifted_softplus",
]

__getattr__, __dir__ = import_lazily(
    __name__,
    {
        "EDGE": "paths",
        "EdgeFeatures": "messages",
        "HIDDEN": "paths",
        "Irrep": "irreps",
        "MessageWeights": "messages",
        "Neighbours": "neighbours",
        "PATHS": "paths",
        "ProductPlan": "paths",
        "RadialSlope": "messages",
        "Size": "neighbours",
        "choose_kernel": "sums",
        "clebsch_gordan": "irreps",
        "message": "messages",
        "needs_slots": "sums",
        "neighbour_sum": "sums",
        "offsets": "paths",
        "parse_irreps": "irreps",
        "plan_products": "paths",
        "radial_part": "messages",
        "shifted_softplus": "messages",
    },
)
