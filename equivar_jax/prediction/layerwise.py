"""Prediction of structures of any size in bounded memory: layer by layer, a few thousand atoms at a time.

Each layer needs the features of all atoms from the layer before it, 12 f numbers per atom for f channels, so
two tables of features are held (6 kB per atom for BM1). Everything that belongs to edges exists for one piece
of the atoms at a time. A polarisation is differentiated in the same way, backwards (see `backwards`).
"""

import collections
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from equivar_jax.graphs.graph import AnyGraph
from equivar_jax.kernels import needs_slots
from equivar_jax.network.core import Core
from equivar_jax.network.features import Features
from equivar_jax.network.model import Equivar
from equivar_jax.network.plan import live_irreps
from equivar_jax.network.polarisation import Polarisation
from equivar_jax.prediction.distances import Known, distances
from equivar_jax.prediction.pieces import Piece, cut_into_pieces, graph_of_piece
from equivar_jax.progress import ProgressBar

NODES_AT_ONCE = 8192
"""Atoms in one piece of a structure."""
Wanted = tuple[Known, Float[np.ndarray, " atoms"]]
"""Known features, and an array to fill with the distances of the atoms from them."""


def tensors_layer_by_layer(
    model: Equivar,
    params: dict,
    graph: AnyGraph,
    nodes_at_once: int = NODES_AT_ONCE,
    progress: bool = False,
    wanted: Wanted | None = None,
) -> Float[np.ndarray, "atoms 3 3"]:
    """Compute the Born effective charges of one structure before the sum rule, as `model.apply` gives them.

    Args:
        model: The network, of the direct form.
        params: Its weights.
        graph: One structure, as `equivar_jax.graphs.graph.build_graph` makes it.
        nodes_at_once: Atoms in one piece.
        progress: Show a progress bar.
        wanted: Known features, and an array to fill with the distances of the atoms from them.

    Returns:
        float64 (N, 3, 3) in e, [atom, field direction, displacement direction].
    """
    return _read_out_layer_by_layer(model, params, graph, nodes_at_once, progress, wanted)


def dipoles_layer_by_layer(
    model: Polarisation,
    params: dict,
    graph: AnyGraph,
    nodes_at_once: int = NODES_AT_ONCE,
    wanted: Wanted | None = None,
) -> Float[np.ndarray, "atoms 3"]:
    """Compute the dipoles of the atoms of one structure in e Å, as `Polarisation.dipoles` gives them.

    The arguments are those of `tensors_layer_by_layer`.
    """
    return _read_out_layer_by_layer(model, params, graph, nodes_at_once, False, wanted)


def _read_out_layer_by_layer(
    model: Core,
    params: dict,
    graph: AnyGraph,
    nodes_at_once: int,
    progress: bool,
    wanted: Wanted | None,
) -> Float[np.ndarray, "atoms *components"]:
    """Compute in float64 what the readout of a network gives for each atom."""
    structure = Structure.of(model, params, graph, nodes_at_once)
    with structure.bar(model.config.interactions, progress) as bar:
        (table,) = collections.deque(tables_of_layers(model, params, structure, bar), maxlen=1)
        found = []
        for piece in structure.pieces:
            new = interact(model, model.config.interactions - 1, params, table, structure, piece)
            own = jnp.asarray(structure.species[piece.start : piece.start + nodes_at_once])
            found.append(np.asarray(_read_out(model, params, new, own), np.float64))
            if wanted is not None:
                far = wanted[1][piece.start : piece.start + nodes_at_once]
                far[:] = np.asarray(_distances(model, new, own, wanted[0]))[: len(far)]
            bar.update(structure.atoms_of(piece))
    return np.concatenate(found)[: structure.atoms]


class Structure(NamedTuple):
    """One structure in pieces."""

    graph: AnyGraph
    pieces: list[Piece]
    species: Int[np.ndarray, " table"]
    """Atomic numbers, padded with zeros to fill the last piece."""
    all_species: Int[Array, " table"]
    """The same, on the device."""
    atoms: int
    """Without padding."""
    dtype: np.dtype
    """Precision of the computation."""

    @classmethod
    def of(cls, model: Core, params: dict, graph: AnyGraph, nodes_at_once: int) -> "Structure":
        """Cut a structure into pieces for the kernel of a network."""
        dtype = np.dtype(jax.tree.leaves(params)[0].dtype)
        slots = needs_slots(model.config.kernel, model.config.channels, dtype)
        pieces, atoms = cut_into_pieces(graph, nodes_at_once, slots), len(graph.nodes["species"])
        species = np.pad(graph.nodes["species"], (0, pieces[-1].start + nodes_at_once - atoms))
        return cls(graph, pieces, species, jnp.asarray(species), atoms, dtype)

    def atoms_of(self, piece: Piece) -> int:
        """Return the number of atoms of a piece, without padding."""
        return min(len(piece.counts), self.atoms - piece.start)

    def bar(self, passes: int, is_shown: bool) -> ProgressBar:
        """Make the progress bar for so many passes over the atoms."""
        return ProgressBar(total=passes * self.atoms, unit="atom", unit_scale=True, disable=not is_shown)


def tables_of_layers(
    model: Core, params: dict, structure: Structure, bar: ProgressBar
) -> Iterator[Float[Array, "table components channels"]]:
    """Yield the features of all atoms before each interaction; only the last two are held here."""
    table = _embed(model, params, structure.all_species, structure.dtype)
    yield table
    for layer in range(model.config.interactions - 1):
        following: Array | None = None
        for piece in structure.pieces:
            new = interact(model, layer, params, table, structure, piece)
            following = _place_rows(following, new, piece.start, len(structure.species))
            bar.update(structure.atoms_of(piece))
        assert following is not None  # every structure has a piece
        table = following
        yield table


def interact(model: Core, layer: int, params: dict, table, structure: Structure, piece: Piece):
    """Compute one interaction for the nodes of one piece."""
    graph = graph_of_piece(structure.graph, piece, structure.all_species, structure.dtype)
    return _interact(model, layer, params, table, piece.start, graph)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _embed(model: Core, params: dict, species, dtype):
    return model.apply(params, species, dtype, method="embed_species").array


@functools.partial(jax.jit, static_argnums=(0, 1))
def _interact(model: Core, layer: int, params: dict, table, start, graph):
    """Compute one interaction for the nodes of one piece; the layer tells which irreps the table has."""
    irreps = live_irreps(model.config, layer)
    own = jax.lax.dynamic_slice_in_dim(table, start, len(graph.nodes["neighbours"]))
    species = jax.lax.dynamic_slice_in_dim(graph.nodes["species"], start, len(own))
    features = Features(irreps, table), Features(irreps, own)
    edges = model.apply(params, graph, method="embed_edges")
    return model.apply(params, layer, *features, edges, species, method="interact").array


@functools.partial(jax.jit, static_argnums=0)
def _read_out(model: Core, params: dict, array, species):
    features = Features(live_irreps(model.config, model.config.interactions), array)
    return model.apply(params, features, species, method="read_out")


@functools.partial(jax.jit, static_argnums=0)
def _distances(model: Core, array, species, known: Known):
    features = Features(live_irreps(model.config, model.config.interactions), array)
    return distances(features, species, known)


@functools.partial(jax.jit, donate_argnums=0)
def _overwrite_rows(table, rows, start):
    return jax.lax.dynamic_update_slice_in_dim(table, rows, start, 0)


def _place_rows(table, rows, start: int, nodes: int):
    """Put rows into the next table from row `start` on; where there is no table yet, make one of zeros."""
    if table is None:
        table = jnp.zeros((nodes, *rows.shape[1:]), rows.dtype)
    return _overwrite_rows(table, rows, start)
