"""Born effective charges along a trajectory, as functions that a compiled program can call."""

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
from equivar_jax.network.core import Core
from equivar_jax.network.tensor import apply_sum_rule
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.dynamics.verlet_list import Edges, PairList, add_room, edges_within
from equivar_jax.structures import born_effective_charges, source


@functools.partial(jax.tree_util.register_dataclass, data_fields=("tensors",), meta_fields=())
@dataclass(frozen=True)
class FixedCharges:
    """Charges that do not depend on where the atoms are."""

    tensors: Float[Array, "atoms 3 3"] | Float[np.ndarray, "atoms 3 3"]
    """The tensors [atom, field, displacement] in e."""

    def __call__(
        self, positions: Float[Array, "atoms 3"], _: PairList | None
    ) -> tuple[Float[Array, "atoms 3 3"], Bool[Array, ""]]:
        """Return the tensors in e, and False: there was room enough."""
        return jnp.asarray(self.tensors, positions.dtype), jnp.zeros((), bool)


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("params", "species", "charge"),
    meta_fields=("model", "capacity", "degree"),
)
@dataclass(frozen=True)
class NetworkCharges:
    """Charges that a network predicts for the present neighbourhoods, with the acoustic sum rule imposed."""

    params: dict
    """Weights; their precision is that of the network's arithmetic."""
    species: Int[Array, " atoms"] | Int[np.ndarray, " atoms"]
    """Atomic numbers."""
    charge: Float[Array, " graphs"] | Float[np.ndarray, " graphs"]
    """Net charge of the cell in e, one number."""
    model: Core
    capacity: int
    """Number of edges within the cutoff that there is room for."""
    degree: int
    """Number of edges of one atom that there is room for."""

    @property
    def cutoff(self) -> float:
        """Cutoff of the network in Å."""
        return self.model.config.cutoff

    def __call__(
        self, positions: Float[Array, "atoms 3"], pairs: PairList | None
    ) -> tuple[Float[Array, "atoms 3 3"], Bool[Array, ""]]:
        """Predict the tensors.

        Args:
            positions: Positions in Å.
            pairs: The list of pairs at these positions.

        Returns:
            Tensors [atom, field, displacement] in e, and whether there was too little room for the edges.

        Raises:
            ValueError: There is no list of pairs.
        """
        if pairs is None:
            raise ValueError("the network needs a list of pairs; make the system with make_system")
        edges = edges_within(pairs, positions, self.cutoff, self.capacity, self.degree)
        graph = self._graph(edges)
        raw = self.model.apply(self.params, graph)
        # In the precision of the trajectory, so that rounding in the network does not push the whole crystal.
        tensors = apply_sum_rule(raw.astype(positions.dtype), graph.n_node, jnp.asarray(self.charge))
        return tensors.astype(positions.dtype), edges.overflow

    def _graph(self, edges: Edges) -> jraph.GraphsTuple:
        """Make the graph that `Equivar` reads, without a padding node: no atom receives the padding edges."""
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
    """Make the charges of a trained network for a trajectory of a structure.

    Args:
        predictor: A trained network, as `equivar_jax.load` returns it.
        atoms: A structure typical of the trajectory; `info["charge"]` is the net charge of the cell in e.
        room: Factor by which the number of edges may grow above that of `atoms`.

    Raises:
        InputError: The structure cannot be used, or has an element that the network has never seen.
    """
    predictor.check_elements(atoms, allow_unseen=False)
    graph = build_graph(atoms, predictor.network.config.cutoff)
    return NetworkCharges(
        params=predictor.params,
        species=graph.nodes["species"],
        charge=graph.globals["charge"],
        model=predictor.network,
        capacity=add_room(len(graph.receivers), room),
        degree=add_room(int(neighbour_counts(graph).max(initial=0)), room),
    )


def fixed_charges(atoms: Atoms) -> FixedCharges:
    """Take the charges of a structure from its ASE result `born_effective_charges`.

    Raises:
        InputError: The structure has no such result.
    """
    tensors = born_effective_charges(atoms)
    if tensors is None:
        raise InputError(f"{source(atoms)}: no Born effective charges; attach them, or use a network")
    return FixedCharges(np.asarray(tensors, np.float64))
