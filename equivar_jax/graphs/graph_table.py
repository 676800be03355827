"""Graphs as columns on disk, which are built once, in worker processes, and then memory-mapped."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.graph import build_graph, neighbour_counts
from equivar_jax.graphs.packing import GraphSizes
from equivar_jax.parallel import map_in_order
from equivar_jax.progress import ProgressBar
from equivar_jax.storage.store import Columns, ColumnWriter, open_columns, piece_starts
from equivar_jax.storage.structure_table import StructureTable
from equivar_jax.structures import epsilon_inf

FORMAT = "2"
"""Version of the columns, a part of every key; raise it when the columns change."""
CHUNK = 256
"""Structures that a worker process takes at a time."""
POOL_PAYS_FROM = 4 * CHUNK
"""Structures from which worker processes are used; to start one costs as much as a thousand small graphs."""
SHOW_PROGRESS_FROM = 500
"""Structures from which a progress bar is shown."""


class SampleTable(Sequence[Sample]):
    """A read-only sequence of graphs with their labels; each is made when it is asked for."""

    def __init__(self, structures: StructureTable, columns: Columns, chosen: np.ndarray | None = None):
        self.structures = structures
        self._columns = columns
        self._chosen = np.arange(len(structures)) if chosen is None else chosen
        self._atoms = piece_starts(columns["sizes"])
        self._edges = piece_starts(columns["edges"])

    def subset(self, indices: np.ndarray | Sequence[int]) -> "SampleTable":
        """Return a table of some of the samples, without copying them.

        Args:
            indices: Places of the samples in this sequence.
        """
        places = np.asarray(indices, dtype=np.int64)
        return SampleTable(self.structures.subset(places), self._columns, self._chosen[places])

    def __len__(self) -> int:
        return len(self._chosen)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index):
        import jraph  # imports JAX, which one may not need

        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        row = int(self._chosen[index])
        atoms = slice(self._atoms[row], self._atoms[row + 1])
        edges = slice(self._edges[row], self._edges[row + 1])
        species = self._columns["species"][atoms]
        graph = jraph.GraphsTuple(
            nodes={"species": species},
            edges={"vectors": self._columns["vectors"][edges]},
            globals={"charge": self._columns["charges"][row : row + 1]},
            senders=self._columns["senders"][edges],
            receivers=np.repeat(np.arange(len(species), dtype=np.int32), self._columns["neighbours"][atoms]),
            n_node=np.array([len(species)], np.int32),
            n_edge=np.array([edges.stop - edges.start], np.int32),
        )
        dielectric = self._columns["dielectric"][row]
        usable = None if np.isnan(dielectric[0, 0]) else dielectric
        return Sample(graph, self.structures.tensors(index), usable)

    @property
    def has_dielectric(self) -> np.ndarray:
        """True for each sample that has a usable electronic dielectric tensor: bool [samples]."""
        return ~np.isnan(self._columns["dielectric"][:, 0, 0])[self._chosen]

    @property
    def sizes(self) -> GraphSizes:
        """Atoms, edges and largest neighbour count of every graph, read without making the graphs."""
        columns = (np.asarray(self._columns[name])[self._chosen] for name in ("sizes", "edges", "degrees"))
        return GraphSizes(*(column.astype(np.int64) for column in columns))


def cached_samples(folder: Path, key: str, structures: StructureTable, cutoff: float) -> SampleTable:
    """Open the graphs of structures from the cache, or build them and keep them there.

    Many graphs are built in worker processes.

    Args:
        folder: The folder of these graphs in the cache.
        key: Names structures, cutoff and code; graphs of another key are replaced.
        structures: The structures, labelled or not.
        cutoff: Largest edge length in Å.

    Raises:
        InputError: No graph can be built from a structure.
    """
    key = f"{FORMAT}:{key}"
    columns = open_columns(folder, key)
    if columns is None:
        writer = ColumnWriter(folder)
        try:
            for piece in _build(structures, cutoff):
                writer.append(**piece)
            columns = writer.finish(key)
        except BaseException:
            writer.discard()
            raise
    return SampleTable(structures, columns)


def _build(structures: StructureTable, cutoff: float) -> Iterator[dict[str, np.ndarray]]:
    """Build the columns of all graphs, and yield them piece by piece."""
    pieces = [structures[start : start + CHUNK] for start in range(0, len(structures), CHUNK)] or [structures]
    many = len(structures) >= POOL_PAYS_FROM
    # A worker opens the structures itself: only their folder and some row numbers are sent to it.
    work = functools.partial(_graph_columns, cutoff=cutoff)
    with ProgressBar(
        total=len(structures), desc="graphs", unit="structure", disable=len(structures) < SHOW_PROGRESS_FROM
    ) as bar:
        for columns in map_in_order(work, pieces, processes=many):
            yield columns
            bar.update(len(columns["sizes"]))


def _graph_columns(structures: Sequence[Atoms], cutoff: float) -> dict[str, np.ndarray]:
    """Build the graphs of some structures and return their columns, one graph after the other."""
    graphs = [build_graph(atoms, cutoff) for atoms in structures]
    counts = [neighbour_counts(graph) for graph in graphs]
    return {
        "sizes": np.array([len(count) for count in counts], np.int32),
        "edges": np.array([count.sum() for count in counts], np.int64),
        "degrees": np.array([count.max(initial=0) for count in counts], np.int32),
        "dielectric": np.array([_epsilon_or_nan(atoms) for atoms in structures]).reshape(-1, 3, 3),
        "charges": _concatenate([graph.globals["charge"] for graph in graphs], np.float64),
        "neighbours": _concatenate(counts, np.int32),
        "species": _concatenate([graph.nodes["species"] for graph in graphs], np.int32),
        "senders": _concatenate([graph.senders for graph in graphs], np.int32),
        "vectors": _concatenate([graph.edges["vectors"] for graph in graphs], np.float32, (3,)),
    }


def _epsilon_or_nan(atoms: Atoms) -> np.ndarray:
    """Return the electronic dielectric tensor of a structure, NaN if it has none or an unusable one."""
    try:
        tensor = epsilon_inf(atoms)
    except InputError:  # matters only to a network that reads it out, and loading the data reports it then
        tensor = None
    return np.full((3, 3), np.nan) if tensor is None else tensor


def _concatenate(pieces: Sequence[np.ndarray], dtype: type, shape: tuple[int, ...] = ()) -> np.ndarray:
    return np.concatenate([np.zeros((0, *shape), dtype), *pieces], dtype=dtype, casting="same_kind")
