"""The constant part of a trajectory in a field: masses, cell, potential, charges and field.

All of them are trees of arrays, which a compiled trajectory takes as arguments, so that another amplitude of
the field or other weights of a network need no new compilation. Functions without arrays are wrapped.
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

from equivar_jax.calculators.field_strength import warn_of_strong_field
from equivar_jax.errors import InputError
from equivar_jax.response.dynamics.verlet_list import ListPlan, PairList, plan_list
from equivar_jax.structures import source

Potential = Callable[
    [Float[Array, "atoms 3"], PairList | None], tuple[Float[Array, ""], Float[Array, "atoms 3"]]
]
"""Function of (positions in Å, pairs) that returns the energy in eV and the forces in eV/Å."""
ChargeFunction = Callable[
    [Float[Array, "atoms 3"], PairList | None], tuple[Float[Array, "atoms 3 3"], Bool[Array, ""]]
]
"""Function of (positions in Å, pairs) that returns the tensors [atom, field, displacement] in e, and whether
there was too little room."""
Field = Callable[[Float[Array, ""]], Float[Array, "3"]]
"""Function of the time in fs that returns the field in V/Å."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("masses", "volume", "potential", "charges", "field", "plan"),
    meta_fields=(),
)
@dataclass(frozen=True)
class System:
    """Everything that is constant along a trajectory: a tree of arrays. Other values need no compilation."""

    masses: Float[Array, " atoms"] | Float[np.ndarray, " atoms"]
    """Masses in u."""
    volume: Float[Array, ""] | float
    """Volume of the cell in Å³."""
    potential: Potential
    charges: ChargeFunction
    field: Field
    plan: ListPlan | None
    """Sizes of the list of pairs; None if neither potential nor charges read the list."""


@functools.partial(jax.tree_util.register_dataclass, data_fields=("energy",), meta_fields=())
@dataclass(frozen=True)
class FromEnergy:
    """A potential whose forces are the derivative of its energy."""

    energy: Callable[[Float[Array, "atoms 3"], PairList | None], Float[Array, ""]]
    """Function of (positions in Å, pairs) that returns the energy in eV."""

    def __call__(
        self, positions: Float[Array, "atoms 3"], pairs: PairList | None
    ) -> tuple[Float[Array, ""], Float[Array, "atoms 3"]]:
        """Compute the energy in eV and the forces in eV/Å."""
        energy, gradient = jax.value_and_grad(self.energy)(positions, pairs)
        return energy, -gradient


def from_energy(energy: Callable[..., Float[Array, ""]]) -> FromEnergy:
    """Make a potential from a differentiable JAX function of (positions in Å, pairs) to an energy in eV."""
    return FromEnergy(_as_tree(energy))


@functools.partial(jax.tree_util.register_dataclass, data_fields=("value",), meta_fields=())
@dataclass(frozen=True)
class ConstantField:
    """A field that does not change."""

    value: Float[Array, "3"] | Float[np.ndarray, "3"]
    """The field in V/Å."""

    def __call__(self, _: Float[Array, ""]) -> Float[Array, "3"]:
        """Return the field in V/Å, whatever the time."""
        return jnp.asarray(self.value)


def make_system(
    atoms: Atoms,
    potential: Potential,
    charges: ChargeFunction,
    field: Field | np.ndarray | Sequence[float],
    cutoff: float = 0.0,
    skin: float = 0.5,
    room: float = 1.3,
) -> System:
    """Put together everything that is constant along a trajectory.

    Args:
        atoms: A crystal, periodic along three directions and typical of the trajectory. Masses and cell are
            taken from it.
        potential: Function of (positions, pairs) that returns energy and forces; see `from_energy`.
        charges: `NetworkCharges`, `FixedCharges`, or another function of (positions, pairs).
        field: Three numbers in V/Å, or a JAX function from the time in fs to the field in V/Å. 1 V/Å is
            1e5 kV/cm; a stronger field brings a `StrongFieldWarning`, here or at the end of `simulate`.
        cutoff: Longest distance in Å of the pairs that the potential reads. The cutoff of a network is taken
            into account without it.
        skin: Skin of the list of pairs in Å.
        room: Factor by which the number of pairs may grow above that of `atoms`.

    Raises:
        InputError: The structure is not periodic along three directions or has constraints, or the field has
            another number of components than three.
    """
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise InputError(
            f"{source(atoms)}: periodic along {atoms.pbc.sum()} directions, dynamics in a field needs three; "
            "give a cell (with vacuum around a slab or molecule) and set pbc to true"
        )
    if atoms.constraints:
        names = ", ".join(type(constraint).__name__ for constraint in atoms.constraints)
        raise InputError(
            f"{source(atoms)}: has constraints ({names}), which a compiled trajectory does not keep; remove "
            "them by atoms.set_constraint(), or run ase.md with FieldCalculator"
        )
    farthest = max(cutoff, getattr(charges, "cutoff", 0.0))
    return System(
        masses=atoms.get_masses(),
        volume=atoms.get_volume(),
        potential=_as_tree(potential),
        charges=_as_tree(charges),
        field=_check_field(field) if callable(field) else _constant_field(field),
        plan=plan_list(atoms, farthest, skin, room) if farthest else None,
    )


def _as_tree(function: Any) -> Any:
    """Make a function an allowed argument of a compiled one; its arrays, if it has any, are traced."""
    return jax.tree_util.Partial(function) if jax.tree_util.all_leaves([function]) else function


def _check_field(field: Field) -> Field:
    """Check that JAX can trace a field and that it has three components; return it as a tree of arrays."""
    tree = _as_tree(field)
    try:
        shape = jax.eval_shape(lambda: tree(jnp.zeros(()))).shape
    except (TypeError, ValueError, AttributeError) as error:  # JAX raises TypeErrors in tracing
        raise InputError(
            f"field: not a JAX function of the time ({str(error).strip().splitlines()[0]}); use jax.numpy"
        ) from None
    if shape != (3,):
        raise InputError(f"field: returns shape {shape}; return three components in V/Å")
    return tree


def _constant_field(field: Any) -> ConstantField:
    """Make a field of three numbers in V/Å."""
    value = np.asarray(field, dtype=np.float64)
    if value.shape != (3,) or not np.isfinite(value).all():
        raise InputError(f"field {field!r}: give three numbers in V/Å, or a function of the time in fs")
    warn_of_strong_field(value, "an electric field")
    return ConstantField(value)
