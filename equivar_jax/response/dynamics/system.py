"""What a trajectory in a field needs and does not change: masses, cell, potential, charges and field.

All are trees of arrays, so that a compiled trajectory takes them as arguments: another amplitude of the field
or other weights of a network compile nothing anew. A function without arrays of its own is wrapped.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from jaxtyping import Array, Bool, Float

from equivar_jax.errors import InputError
from equivar_jax.response.dynamics.verlet_list import ListPlan, PairList, plan_list
from equivar_jax.structures import source

Potential = Callable[
    [Float[Array, "atoms 3"], PairList | None], tuple[Float[Array, ""], Float[Array, "atoms 3"]]
]
"""(positions in Å, pairs) to the energy in eV and the forces in eV/Å."""
Charges = Callable[
    [Float[Array, "atoms 3"], PairList | None], tuple[Float[Array, "atoms 3 3"], Bool[Array, ""]]
]
"""(positions in Å, pairs) to the tensors [atom, field, displacement] in e, and whether room was lacking."""
Field = Callable[[Float[Array, ""]], Float[Array, "3"]]
"""Time in fs to the field in V/Å."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("masses", "volume", "potential", "charges", "field", "plan"),
    meta_fields=(),
)
@dataclass(frozen=True)
class System:
    """Everything that a trajectory does not change. A tree of arrays: other values compile nothing anew."""

    masses: Float[Array, " atoms"] | Float[np.ndarray, " atoms"]
    """In u."""
    volume: Float[Array, ""] | float
    """Of the cell in Å³."""
    potential: Potential
    charges: Charges
    field: Field
    plan: ListPlan | None
    """Sizes of the list of pairs, if potential or charges read one."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=("energy",), meta_fields=())
@dataclass(frozen=True)
class FromEnergy:
    """A potential whose forces are the derivative of its energy."""

    energy: Callable[[Float[Array, "atoms 3"], PairList | None], Float[Array, ""]]
    """(positions in Å, pairs) to eV."""

    def __call__(
        self, positions: Float[Array, "atoms 3"], pairs: PairList | None
    ) -> tuple[Float[Array, ""], Float[Array, "atoms 3"]]:
        """Energy in eV and forces in eV/Å."""
        energy, gradient = jax.value_and_grad(self.energy)(positions, pairs)
        return energy, -gradient


def from_energy(energy: Callable[..., Float[Array, ""]]) -> FromEnergy:
    """A potential from any differentiable JAX function (positions in Å, pairs) to an energy in eV."""
    return FromEnergy(_as_tree(energy))


@functools.partial(jax.tree_util.register_dataclass, data_fields=("value",), meta_fields=())
@dataclass(frozen=True)
class ConstantField:
    """A field that does not change."""

    value: Float[Array, "3"] | Float[np.ndarray, "3"]
    """In V/Å."""

    def __call__(self, _: Float[Array, ""]) -> Float[Array, "3"]:
        """In V/Å."""
        return jnp.asarray(self.value)


def make_system(
    atoms: Atoms,
    potential: Potential,
    charges: Charges,
    field: Field | np.ndarray | Sequence[float],
    cutoff: float = 0.0,
    skin: float = 0.5,
    room: float = 1.3,
) -> System:
    """Put together what a trajectory needs.

    Args:
        atoms: A crystal, periodic along three directions and typical of the trajectory, for masses and cell.
        potential: (positions, pairs) to energy and forces; see `from_energy`.
        charges: `NetworkCharges`, `FixedCharges`, or any such function.
        field: Three numbers in V/Å, or a JAX function from the time in fs to V/Å.
        cutoff: In Å, of the pairs that the potential reads; those of a network are seen to.
        skin: Of the list of pairs, in Å.
        room: How many times as many pairs as in `atoms` there may become.

    Raises:
        InputError: a structure without three periodic directions, or a field without three components.
    """
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise InputError(
            f"{source(atoms)}: periodic along {atoms.pbc.sum()} directions, dynamics in a field needs three; "
            "give a cell (with vacuum around a slab or molecule) and set pbc to true"
        )
    farthest = max(cutoff, getattr(charges, "cutoff", 0.0))
    return System(
        masses=atoms.get_masses(),
        volume=atoms.get_volume(),
        potential=_as_tree(potential),
        charges=_as_tree(charges),
        field=_checked(field) if callable(field) else _constant(field),
        plan=plan_list(atoms, farthest, skin, room) if farthest else None,
    )


def _as_tree(function: Any) -> Any:
    """A function that may be an argument of a compiled one; its arrays, if it has any, are traced."""
    return jax.tree_util.Partial(function) if jax.tree_util.all_leaves([function]) else function


def _checked(field: Field) -> Field:
    """A field that JAX can trace."""
    tree = _as_tree(field)
    try:
        shape = jax.eval_shape(lambda: tree(jnp.zeros(()))).shape
    except (TypeError, ValueError, AttributeError) as error:  # JAX's errors of tracing are TypeErrors
        raise InputError(
            f"field: not a JAX function of the time ({str(error).strip().splitlines()[0]}); use jax.numpy"
        ) from None
    if shape != (3,):
        raise InputError(f"field: returns shape {shape}; return three components in V/Å")
    return tree


def _constant(field: Any) -> ConstantField:
    value = np.asarray(field, dtype=np.float64)
    if value.shape != (3,) or not np.isfinite(value).all():
        raise InputError(f"field {field!r}: give three numbers in V/Å, or a function of the time in fs")
    return ConstantField(value)
