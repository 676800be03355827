"""Windows: runs of structures whose graphs are built together, ahead of the network."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms

WINDOW_ATOMS = 4096
"""Graphs are built together for structures of about this many atoms in all."""


def split_into_windows(structures: Sequence[Atoms]) -> Iterator[Sequence[Atoms]]:
    """Cut a sequence into runs of about `WINDOW_ATOMS` atoms, each of which makes several batches."""
    if len(structures) == 1:  # the usual case takes no time
        yield structures
        return
    ends = np.cumsum([len(atoms) for atoms in structures]) // WINDOW_ATOMS
    starts = np.flatnonzero(np.diff(ends, prepend=-1)).tolist()
    for start, stop in itertools.pairwise([*starts, len(structures)]):
        yield structures[start:stop]
