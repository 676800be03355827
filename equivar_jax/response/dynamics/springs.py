"""Potential of a crystal of springs as a JAX function, for trajectories of many atoms."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from jaxtyping import Array, Float, Int

from equivar_jax.errors import InputError
from equivar_jax.graphs.graph import build_graph, neighbour_counts
from equivar_jax.response.dynamics.verlet_list import PairList
from equivar_jax.structures import source


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("rest", "partners", "springs"), meta_fields=()
)
@dataclass(frozen=True)
class Springs:
    """A potential of springs, `E = 1/4 sum_i sum_(j bound to i) d K_ij d` with d = u_j - u_i.

    Each bond is counted from both of its ends, and bonds never change. The cost is linear in the number of
    atoms; the bonds are a table with a row for each atom, so that no scatter is needed.
    """

    rest: Float[Array, "atoms 3"] | Float[np.ndarray, "atoms 3"]
    """Positions at which all forces are zero, in Å."""
    partners: Int[Array, "atoms bonds"] | Int[np.ndarray, "atoms bonds"]
    """Index of the atom at the other end of each bond."""
    springs: Float[Array, "atoms bonds 3 3"] | Float[np.ndarray, "atoms bonds 3 3"]
    """K in eV/Å²; zero where an atom has fewer bonds."""

    def __call__(
        self, positions: Float[Array, "atoms 3"], _: PairList | None
    ) -> tuple[Float[Array, ""], Float[Array, "atoms 3"]]:
        """Compute the energy in eV and the forces in eV/Å."""
        moved = positions - jnp.asarray(self.rest, positions.dtype)
        stretched = moved[jnp.asarray(self.partners)] - moved[:, None]
        forces = jnp.einsum("nkab,nkb->na", jnp.asarray(self.springs, positions.dtype), stretched)
        return -0.5 * jnp.sum(moved * forces), forces


def springs_between(atoms: Atoms, cutoff: float, along: float, across: float) -> Springs:
    """Put springs on all bonds up to a length.

    `K = along n n + across (1 - n n)`, where n is the direction of the bond.

    Args:
        atoms: The crystal at rest.
        cutoff: Length of the longest bond in Å.
        along: Spring constant in eV/Å² for displacements along a bond.
        across: Spring constant in eV/Å² for displacements across a bond.

    Raises:
        InputError: The structure cannot be used, or an atom has no bond.
    """
    graph = build_graph(atoms, cutoff)
    counts, bonds = neighbour_counts(graph), graph.edges["vectors"]
    if not counts.all():
        raise InputError(
            f"{source(atoms)}: atom {int(np.argmin(counts))} has no bond within {cutoff} Å; give a longer "
            "cutoff"
        )
    place = np.arange(len(bonds)) - (np.cumsum(counts) - counts)[graph.receivers]
    directions = bonds / np.linalg.norm(bonds, axis=1, keepdims=True)
    parallel = np.einsum("ea,eb->eab", directions, directions)
    partners = np.zeros((len(atoms), counts.max()), np.int32)
    springs = np.zeros((*partners.shape, 3, 3))
    partners[graph.receivers, place] = graph.senders
    springs[graph.receivers, place] = along * parallel + across * (np.eye(3) - parallel)
    return Springs(atoms.positions.copy(), partners, springs)
