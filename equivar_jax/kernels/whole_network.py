"""The whole network in one call of C++, for inference on a CPU without JAX.

There is no tracing, no compilation and no padding: a structure of two atoms takes as long as its arithmetic. The
functions know no names of weights; `equivar_jax.network.compiled` describes a network to them as three lists.
Results are the same in every run, whatever the number of threads and the other structures of the batch.
"""

import ctypes
import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from equivar_jax.kernels.compiler import load_library

SUFFIX = {"float32": "f32", "float64": "f64"}
VECTOR_BYTES = 64
"""The channels must fill whole vectors of this size, the largest that a processor has."""
SMALL = 2000
"""A batch of fewer edges than this is done before a second thread has started."""


class Tape(NamedTuple):
    """A network as three lists, in the order in which `cpp/network.h` reads them."""

    integers: Int[np.ndarray, " integers"]
    """int32."""
    numbers: Float[np.ndarray, " numbers"]
    """float64: coefficients and constants."""
    weights: Float[np.ndarray, " weights"]
    """float32 or float64; the computation has this precision."""


class Structures(NamedTuple):
    """Atoms and edges of one structure or of many, one after the other; edges are sorted by receiver."""

    species: Int[np.ndarray, " nodes"]
    """int32 atomic numbers."""
    senders: Int[np.ndarray, " edges"]
    """int32; the node at the other end of each edge."""
    first: Int[np.ndarray, " nodes"]
    """int32; the first edge of each node."""
    counts: Int[np.ndarray, " nodes"]
    """int32; number of edges of each node."""
    vectors: Float[np.ndarray, "edges 3"]
    """float64, in Å, from receiver to sender."""


def fills_vectors(channels: int, dtype: np.dtype) -> bool:
    """Return whether the C++ functions exist for features of that many channels and that type."""
    return dtype.name in SUFFIX and channels * dtype.itemsize % VECTOR_BYTES == 0


def run(
    tape: Tape, structures: Structures, dielectric: bool = False
) -> tuple[Float[np.ndarray, "nodes 3 3"], Float[np.ndarray, "nodes 3 3"] | None]:
    """Compute the tensors of all nodes before the sum rule.

    Args:
        tape: The network.
        structures: The structures. Every sender must be a node, and every species a row of the network's
            tables; neither is checked.
        dielectric: Compute what the dielectric readout gives for each node, too.

    Returns:
        float64 tensors [node, field, displacement] in e, and those of the dielectric readout or None.

    Raises:
        NotCompiledError: There is no compiled library on this machine.
        MemoryError: There is not enough memory.
    """
    species, senders, first, counts = (
        np.ascontiguousarray(array, np.int32) for array in structures[:4]
    )
    vectors = np.ascontiguousarray(structures.vectors, np.float64)
    born = np.empty((len(species), 3, 3))
    atomic = np.empty((len(species), 3, 3)) if dielectric else None
    function = load_library("network")[f"equivar_network_{SUFFIX[tape.weights.dtype.name]}"]
    failed = function(
        *map(_pointer, tape),
        ctypes.c_int64(len(species)),
        ctypes.c_int64(len(senders)),
        *map(_pointer, (species, senders, first, counts, vectors, born)),
        None if atomic is None else _pointer(atomic),
        1 if len(senders) < SMALL else thread_count(),
    )
    if failed:
        raise MemoryError(f"not enough memory for {len(species)} atoms with {len(senders)} edges")
    return born, atomic


def thread_count() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
