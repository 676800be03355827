"""All pairs of atoms within a cutoff, by C++ where it is compiled, else by matscipy."""

import ctypes
import functools

import numpy as np
from jaxtyping import Float, Int
from matscipy.neighbours import neighbour_list

from equivar_jax.kernels.compiler import NotCompiledError, load_library
from equivar_jax.structures import determinant

Pairs = tuple[Int[np.ndarray, " edges"], Int[np.ndarray, " edges"], Float[np.ndarray, "edges 3"]]
"""Receivers i, int32 in rising order; senders j, int32; vectors `x_j + S @ cell - x_i`, float64 in Å."""


def find_pairs(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    periodic: np.ndarray,
    cutoff: float,
) -> Pairs:
    """Find all pairs of atoms whose distance is below the cutoff, periodic images included.

    The function in C++ is many times faster than matscipy's for the small cells of crystals; it finds the
    same pairs.

    Args:
        positions: Finite positions in Å.
        cell: Cell vectors in rows, of full rank; it must contain all atoms along directions that are not
            periodic.
        periodic: Whether each direction is periodic, shape (3,).
        cutoff: In Å.

    Raises:
        MemoryError: There is not enough memory.
    """
    function = _compiled()
    if function is None:
        return _by_matscipy(positions, cell, periodic, cutoff)
    positions, cell = (np.ascontiguousarray(array, np.float64) for array in (positions, cell))
    periodic = np.ascontiguousarray(periodic, np.int32)
    atoms, counts = len(positions), np.empty(len(positions), np.int32)
    # A sphere of the mean density holds so many. A slab or a molecule is denser than its cell; then the
    # search
    # is repeated with the number that was found.
    density = atoms / abs(determinant(cell))
    capacity = int(atoms * (1.2 * density * 4.19 * cutoff**3 + 16))
    while True:
        senders, vectors = np.empty(capacity, np.int32), np.empty((capacity, 3))
        found = function(
            *(positions.ctypes.data, atoms, cell.ctypes.data, periodic.ctypes.data, float(cutoff)),
            *(capacity, senders.ctypes.data, counts.ctypes.data, vectors.ctypes.data),
        )
        if found < 0:
            raise MemoryError(f"not enough memory for the neighbours of {atoms} atoms")
        if found <= capacity:
            receivers = np.repeat(np.arange(atoms, dtype=np.int32), counts)
            return receivers, senders[:found], vectors[:found]
        capacity = found


@functools.cache
def _compiled():
    """Return the function in C++, or None where it is not compiled."""
    try:
        function = load_library("network").equivar_neighbours
    except NotCompiledError:
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [pointer, size, pointer, pointer, ctypes.c_double, size, *[pointer] * 3]
    function.restype = size
    return function


def _by_matscipy(positions, cell, periodic, cutoff: float) -> Pairs:
    receivers, senders, vectors = neighbour_list(
        "ijD", positions=positions, cell=cell, pbc=np.asarray(periodic, bool), cutoff=float(cutoff)
    )
    order = np.argsort(receivers, kind="stable")
    return (
        receivers[order].astype(np.int32),
        senders[order].astype(np.int32),
        vectors[order].reshape(-1, 3).astype(np.float64),
    )
