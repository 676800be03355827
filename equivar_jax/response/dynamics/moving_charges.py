"""Born effective charges at every step of a trajectory, as functions that a compiled program can call."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from ase import Atoms
from jaxtyping import Array, Bool, Float, Int

from equivar_jax.errors import InputError
from equivar_jax.graphs.graph import build_graph, neighbour_counts
from equivar_jax.kernels import needs_slots
from equivar_jax.network.model import Equivar
from equivar_jax.network.tensor import apply_sum_rule
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.dynamics.verlet_list import Edges, PairList, edges_within, with_room
from equivar_jax.structures import born_effective_charges, source


@functools.partial(jax.tree_util.register_dataclass, data_fields=("tensors",), meta_fields=())
@dataclass(frozen=True)
class FixedCharges:
    """The same tensors wherever the atoms are."""

    tensors: Float[Array, "atoms 3 3"] | Float[np.ndarray, "atoms 3 3"]
    """[atom, field, displacement] in e."""

    def __call__(
        self, positions: Float[Array, "atoms 3"], _: PairList | None
    ) -> tuple[Float[Array, "atoms 3 3"], Bool[Array, ""]]:
        """The tensors, and that nothing is missing."""
        return jnp.asarray(self.tensors, positions.dtype), jnp.zeros((), bool)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("params", "species", "charge"),
    meta_fields=("model", "capacity", "degree"),
)
@dataclass(frozen=True)
class NetworkCharges:
    """The tensors that a network gives for the neighbourhoods of the moment, under the acoustic sum rule."""

    params: dict
    """Weights; their precision is that of the network."""
    species: Int[Array, " atoms"] | Int[np.ndarray, " atoms"]
    """Atomic numbers."""
    charge: Float[Array, " graphs"] | Float[np.ndarray, " graphs"]
    """Net charge of the cell in e, one number."""
    model: Equivar
    capacity: int
    """Edges within the cutoff that there is room for."""
    degree: int
    """Edges of one atom that there is room for."""

    @property
    def cutoff(self) -> float:
        """Of the network, in Å."""
        return self.model.config.cutoff

    def __call__(
        self, positions: Float[Array, "atoms 3"], pairs: PairList | None
    ) -> tuple[Float[Array, "atoms 3 3"], Bool[Array, ""]]:
        """Tensors [atom, field, displacement] in e, and whether there was too little room for the edges.

        Raises:
            ValueError: there is no list of pairs.
        """
        if pairs is None:
            raise ValueError("the network needs a list of pairs; make the system with make_system")
        edges = edges_within(pairs, positions, self.cutoff, self.capacity, self.degree)
        graph = self._graph(edges)
        raw = self.model.apply(self.params, graph)
        # In the precision of the trajectory, so that rounding of the network pushes no crystal.
        tensors = apply_sum_rule(raw.astype(positions.dtype), graph.n_node, jnp.asarray(self.charge))
        return tensors.astype(positions.dtype), edges.overflow

    def _graph(self, edges: Edges) -> jraph.GraphsTuple:
        """In the form that `Equivar` reads, without a padding node: no atom receives the padding edges."""
        atoms = len(self.species)
        dtype = jax.tree.leaves(self.params)[0].dtype
        slots = jnp.zeros((atoms, 0), jnp.int32)
        if needs_slots(self.model.config.kernel, self.model.config.channels, dtype):
            place = jnp.arange(self.degree, dtype=jnp.int32)
            filled = place < edges.counts[:, None]
            slots = jnp.where(filled, edges.first[:, None] + place, self.capacity).astype(jnp.int32)
        return jraph.GraphsTuple(
            nodes={
                "species": jnp.asarray(self.species),
                "first_edge": edges.first,
                "neighbours": edges.counts,
                "slots": slots,
            },
            edges={"vectors": edges.vectors.astype(dtype)},
            globals={"charge": jnp.asarray(self.charge)},
            senders=edges.senders,
            receivers=edges.receivers,
            n_node=jnp.full(1, atoms, jnp.int32),
            n_edge=jnp.full(1, self.capacity, jnp.int32),
        )


def network_charges(predictor: Predictor, atoms: Atoms, room: float = 1.3) -> NetworkCharges:
    """The charges of a trained network along a trajectory that begins near `atoms`.

    Args:
        predictor: What `equivar_jax.load` returns.
        atoms: A structure typical of the trajectory; `info["charge"]` is the net charge of the cell in e.
        room: How many times as many edges as in `atoms` there may become.

    Raises:
        InputError: a structure that cannot be used, or an element that the network has never seen.
    """
    predictor.check_elements(atoms, allow_unseen=False)
    graph = build_graph(atoms, predictor.network.config.cutoff)
    return NetworkCharges(
        params=predictor.params,
        species=graph.nodes["species"],
        charge=graph.globals["charge"],
        model=predictor.network,
        capacity=with_room(len(graph.receivers), room),
        degree=with_room(int(neighbour_counts(graph).max(initial=0)), room),
    )


def fixed_charges(atoms: Atoms) -> FixedCharges:
    """The charges that a structure carries as its ASE result `born_effective_charges`.

    Raises:
        InputError: it carries none.
    """
    tensors = born_effective_charges(atoms)
    if tensors is None:
        raise InputError(f"{source(atoms)}: no Born effective charges; attach them, or use a network")
    return FixedCharges(np.asarray(tensors, np.float64))
