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
from equivar_jax.prediction.abilities import why_no_polarisation
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.dynamics.system import ChargeFunction
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
        graph, overflow = self._graph_at(positions, pairs)
        return self._neutral(self.model.apply(self.params, graph), positions.dtype), overflow

    @property
    def has_polarisation(self) -> bool:
        """Whether the tensors are derivatives of a polarisation (see `why_no_polarisation`)."""
        return why_no_polarisation(self.model.config) is None

    def with_dipole(
        self, positions: Float[Array, "atoms 3"], pairs: PairList | None
    ) -> tuple[Float[Array, "atoms 3 3"], Float[Array, "3"], Bool[Array, ""]]:
        """Predict the tensors, and the dipole V P of the cell whose derivatives they are.

        Args:
            positions: Positions in Å, never wrapped into the cell: the charges of the atoms are multiplied by
                them.
            pairs: The list of pairs at these positions.

        Returns:
            Tensors as `__call__` has them, the dipole in e Å up to a constant of the trajectory, and whether
            there was too little room.
        """
        graph, overflow = self._graph_at(positions, pairs)
        raw, atomic = self.model.apply(self.params, graph, method="tensors_and_dipoles")
        charges = self.model.apply(self.params, graph, method="charges").astype(positions.dtype)
        charges += (self.charge[0] - charges.sum()) / len(positions)  # what rounding left
        dipole = jnp.sum(atomic.astype(positions.dtype), axis=0) + charges @ positions
        return self._neutral(raw, positions.dtype), dipole, overflow

    def _graph_at(
        self, positions: Float[Array, "atoms 3"], pairs: PairList | None
    ) -> tuple[jraph.GraphsTuple, Bool[Array, ""]]:
        """Make the graph at these positions, and tell whether there was too little room for its edges."""
        if pairs is None:
            raise ValueError("the network needs a list of pairs; make the system with make_system")
        edges = edges_within(pairs, positions, self.cutoff, self.capacity, self.degree)
        return self._graph(edges), edges.overflow

    def _neutral(self, raw: Float[Array, "atoms 3 3"], dtype: jnp.dtype) -> Float[Array, "atoms 3 3"]:
        """Apply the sum rule in the precision of the trajectory.

        So rounding in the network does not push the whole crystal.
        """
        atoms = jnp.full(1, len(raw), jnp.int32)
        return apply_sum_rule(raw.astype(dtype), atoms, jnp.asarray(self.charge)).astype(dtype)

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


def has_polarisation(charges: ChargeFunction) -> bool:
    """Return whether charges are derivatives of a polarisation that they know."""
    return getattr(charges, "has_polarisation", False)


def charges_and_dipole(
    charges: ChargeFunction, positions: Float[Array, "atoms 3"], pairs: PairList | None
) -> tuple[Float[Array, "atoms 3 3"], Float[Array, "3"], Bool[Array, ""]]:
    """Compute tensors in e, V P in e Å up to a constant (0 if unknown), and whether room was too little."""
    if has_polarisation(charges):
        return charges.with_dipole(positions, pairs)  # type: ignore[attr-defined]
    tensors, overflow = charges(positions, pairs)
    return tensors, jnp.zeros(3, positions.dtype), overflow


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
