"""The whole network in one call of C++, for inference on a CPU without JAX.

There is no tracing, no compilation and no padding: a structure of two atoms takes as long as its arithmetic.
The functions know no names of weights; `equivar_jax.network.compiled` describes a network to them as three
lists.
Results are the same in every run, whatever the number of threads and the other structures of the batch.
"""

import ctypes
import functools
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from equivar_jax.kernels.compiler import NotCompiledError, load_library

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


class Familiar(NamedTuple):
    """What the last features of training data were like, as `cpp/familiarity.h` reads it."""

    integers: Int[np.ndarray, " integers"]
    """int32."""
    weights: Float[np.ndarray, " weights"]
    """Of the precision of the network."""


class Structures(NamedTuple):
    """Atoms and edges of one structure or of many, one after the other; edges are sorted by receiver.

    The arrays are contiguous and of the types that are named here.
    """

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

    @classmethod
    def join(
        cls,
        species: Sequence[Int[np.ndarray, " _nodes"]],
        senders: Sequence[Int[np.ndarray, " _edges"]],
        receivers: Sequence[Int[np.ndarray, " _edges"]],
        vectors: Sequence[Float[np.ndarray, "_edges 3"]],
    ) -> "Structures":
        """Join structures, each with its own numbering of nodes."""
        starts = np.cumsum([0, *map(len, species)])[:-1]
        nodes = sum(map(len, species))
        shifted = [np.add(own, start) for own, start in zip(receivers, starts, strict=True)]
        counts = np.bincount(np.concatenate(shifted), minlength=nodes).astype(np.int32)
        return cls(
            np.concatenate(species).astype(np.int32, copy=False),
            np.concatenate([np.add(own, start) for own, start in zip(senders, starts, strict=True)]).astype(
                np.int32
            ),
            (np.cumsum(counts) - counts).astype(np.int32),
            counts,
            np.ascontiguousarray(np.concatenate(vectors), np.float64),
        )


def fills_vectors(channels: int, dtype: np.dtype) -> bool:
    """Return whether the C++ functions exist for features of that many channels and that type."""
    return dtype.name in SUFFIX and channels * dtype.itemsize % VECTOR_BYTES == 0


class Watch(ctypes.Structure):
    """What another thread sees of a call, and says to it, while it runs."""

    _fields_ = (("done", ctypes.c_int64), ("stop", ctypes.c_int64))
    done: int
    """Nodes that were done, counted once for each layer."""
    stop: int
    """Set it to one, and the call comes back at once with a result that means nothing."""


@functools.cache
def reason_unavailable() -> str | None:
    """Return why there are no compiled functions on this machine, or None if there are.

    The first call on a machine compiles them.
    """
    try:
        load_library("network")
    except NotCompiledError as error:
        return str(error)
    return None


class LastFeatures(NamedTuple):
    """Arrays that `run` fills beside the tensors, from the features that the readout reads."""

    known: Familiar | None = None
    """What `distances` are from."""
    distances: Float[np.ndarray, " nodes"] | None = None
    """float64; infinite for a species that `known` does not have."""
    features: Float[np.ndarray, "nodes components channels"] | None = None
    """The features themselves, in the precision of the network."""


def run(
    tape: Tape,
    structures: Structures,
    dielectric: bool = False,
    watch: Watch | None = None,
    wanted: LastFeatures = LastFeatures(),  # noqa: B008 (it is a constant)
) -> tuple[Float[np.ndarray, "nodes 3 3"], Float[np.ndarray, "nodes 3 3"] | None]:
    """Compute the tensors of all nodes before the sum rule.

    Args:
        tape: The network.
        structures: The structures. Every sender must be a node, and every species a row of the network's
            tables; neither is checked.
        dielectric: Compute what the dielectric readout gives for each node, too.
        watch: For another thread.
        wanted: Contiguous arrays to fill, too.

    Returns:
        float64 tensors [node, field, displacement] in e, and those of the dielectric readout or None.

    Raises:
        NotCompiledError: There is no compiled library on this machine.
        MemoryError: There is not enough memory.
    """
    born = np.empty((len(structures.species), 3, 3))
    atomic = np.empty_like(born) if dielectric else None
    _call("network", tape, structures, (born, atomic), watch, wanted)
    return born, atomic


def run_polarisation(
    tape: Tape,
    structures: Structures,
    tensors: bool = True,
    watch: Watch | None = None,
    wanted: LastFeatures = LastFeatures(),  # noqa: B008 (it is a constant)
) -> tuple[Float[np.ndarray, "nodes 3 3"] | None, Float[np.ndarray, "nodes 3"]]:
    """Compute the dipoles of all nodes, and the derivatives of their sum by the positions.

    The derivatives take a pass backwards, from all three directions of the dipole at once.

    Args:
        tape: The network, in the form of a polarisation.
        structures: The structures, see `run`.
        tensors: Compute the derivatives, too.
        watch: For another thread.
        wanted: Contiguous arrays to fill, too.

    Returns:
        float64 derivatives [node, field, displacement] in e, without the charges of the elements, or None;
        and dipoles in e Å.

    Raises:
        NotCompiledError: There is no compiled library on this machine.
        MemoryError: There is not enough memory.
    """
    dipoles = np.empty((len(structures.species), 3))
    found = np.empty((*dipoles.shape, 3)) if tensors else None
    _call("polarisation", tape, structures, (found, dipoles), watch, wanted)
    return found, dipoles


def _call(
    name: str,
    tape: Tape,
    structures: Structures,
    results: tuple[np.ndarray | None, np.ndarray | None],
    watch: Watch | None,
    wanted: LastFeatures,
) -> None:
    """Call a function of `cpp/network.cc`, which fills the results.

    Raises:
        NotCompiledError: There is no compiled library on this machine.
        MemoryError: There is not enough memory.
    """
    failed = _function(name, tape.weights.dtype.name)(
        *(array.ctypes.data for array in tape),
        *(len(structures.species), len(structures.senders)),
        *(array.ctypes.data for array in structures),
        *map(_address, results),
        *(_address(array) for array in wanted.known or (None, None)),
        *(_address(wanted.distances), _address(wanted.features)),
        1 if is_small(structures) else thread_count(),
        None if watch is None else ctypes.addressof(watch),
    )
    if failed:
        raise MemoryError(
            f"not enough memory for {len(structures.species)} atoms with {len(structures.senders)} edges"
        )


@functools.cache
def _function(name: str, dtype: str):
    """Return the function for a form and a precision, with the types of its arguments."""
    function = load_library("network")[f"equivar_{name}_{SUFFIX[dtype]}"]
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [*[pointer] * 3, size, size, *[pointer] * 11, ctypes.c_int, pointer]
    return function


def _address(array: np.ndarray | None) -> int | None:
    return None if array is None else array.ctypes.data


def is_small(structures: Structures) -> bool:
    """Return whether one thread does the work of a network."""
    return len(structures.senders) < SMALL


@functools.cache
def thread_count() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
