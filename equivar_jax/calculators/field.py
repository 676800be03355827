"""Any ASE calculator in an electric field, through Born effective charges."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import (
    BaseCalculator,
    Calculator,
    PropertyNotImplementedError,
    all_changes,
    equal,
)
from ase.geometry import find_mic
from ase.md.md import MolecularDynamics
from jaxtyping import Float

from equivar_jax.calculators.charges import Charges, function_of
from equivar_jax.errors import InputError
from equivar_jax.structures import BEC

Vector = Sequence[float | int] | np.ndarray
"""A field E in V/Å: three components."""
Field = Vector | Callable[[float], Vector]
"""E in V/Å, or a function of the time in fs that returns it."""


class FieldCalculator(Calculator):
    """Any potential in a uniform electric field: `F_ib = F_ib(base) + e sum_a E_a Z[i, a, b]`.

    The net force is Q E by the sum rule, zero for a neutral cell. E is the macroscopic field in the crystal.

    Energies: `energy` is that of the base, a function of the configuration alone. `work` is what the field
    has done on the atoms since the first configuration, `W = sum over steps of e E (Z + Z') / 2 du` in eV
    (trapezoid; wrapping atoms into the cell does not move them). `free_energy`, which optimisers and
    thermostats take as consistent with the forces, is that of the base minus W; with the kinetic energy it is
    conserved. Where Z and E are constant, W is exactly `e sum_i E Z_i u_i`, u the displacements since the
    first configuration. Otherwise it depends on the path, unless Z is the derivative of a polarisation.
    Another cell, charge, `pbc` or species begins a new path, with W = 0.

    What `Z E` leaves out: the polarisability of the electrons, `-V E chi E / 2`, whose forces are of second
    order in the field (Raman tensors), and the dependence of Z on the field. How Z changes with the positions
    is in the forces as far as `charges` knows it. The piezoelectric part of the stress does not follow from
    Z; so there is no stress at all.

    A field that depends on time is taken in the middle of each time step, t + dt/2, for the whole step, which
    keeps the error of velocity Verlet at second order in dt. The time is that of a dynamics:

        atoms.calc = FieldCalculator(EMT(), charges, lambda t: [0, 0, 0.01 * np.sin(0.05 * t)])
        dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
        atoms.calc.follow(dynamics)

    Args:
        base: Calculator with energy and forces.
        charges: Z in e; see `equivar_jax.calculators.charges`. A function that always returns the same array
            gives fixed charges.
        field: E in V/Å; see `Field`. It may be set anew at any time.
        every: Z is calculated for every so many new configurations, and kept in between.

    Raises:
        InputError: what cannot be a field, charges or `every`; when it calculates, a field that depends on
            time without a dynamics to follow, or with one that stands still.
    """

    implemented_properties = ["energy", "free_energy", "forces", BEC]  # noqa: RUF012 (as ASE has it)

    def __init__(self, base: BaseCalculator, charges: Charges, field: Field, every: int = 1):
        super().__init__()
        if every < 1:
            raise InputError(f"charges every {every} configurations; give 1 or more")
        self.base = base
        self.field = field
        self.every = every
        self.work = 0.0
        """Of the field along the path, in eV."""
        self._tensors_of = function_of(charges)
        self._dynamics: MolecularDynamics | None = None
        self._applied = np.zeros(3)  # the field in `results`
        self._last: Atoms | None = None  # the configuration that the path has come to
        self._tensors = np.zeros((0, 3, 3))
        self._age = 0  # configurations since the tensors were calculated
        self._clock = (-1, 0)  # a step of the dynamics, and how many configurations came in it

    @property
    def field(self) -> Float[np.ndarray, "3"] | Callable[[float], Vector]:
        """E in V/Å, or the function of the time in fs."""
        return self._field

    @field.setter
    def field(self, field: Field) -> None:
        self._field = field if callable(field) else _three(field, "the field")

    def follow(self, dynamics: object) -> None:
        """Take the time for the field from a dynamics; to be called anew for every new one.

        Args:
            dynamics: Any of `ase.md`; its time begins at zero with its first step.

        Raises:
            InputError: not a molecular dynamics; optimisers have no time.
        """
        if not isinstance(dynamics, MolecularDynamics):
            raise InputError(f"no time in {type(dynamics).__name__}; follow a dynamics of ase.md")
        self._dynamics = dynamics
        self._clock = (-1, 0)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True):
        """As ASE has it.

        Raises:
            PropertyNotImplementedError: what is not calculated; the stress, with the reason.
        """
        if name == "stress":
            raise PropertyNotImplementedError(
                "no stress in a field: its piezoelectric part does not follow from Born effective charges; "
                "keep the cell as it is"
            )
        return super().get_property(name, atoms, allow_calculation)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation, the field and the net charge included."""
        changed = changes(self.atoms, atoms, tol)
        if not np.array_equal(self._field_now(), self._applied):
            changed.append("field")
        return changed

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results`."""
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None  # ASE's base class has set it
        field = self._field_now()
        energy, forces = self.base.get_potential_energy(self.atoms), self.base.get_forces(self.atoms)
        self._move(self.atoms, field)
        self._applied = field.copy()
        self.results = {
            "energy": energy,
            "free_energy": _free_energy(self.base, self.atoms, energy) - self.work,
            "forces": forces + np.einsum("a,iab->ib", field, self._tensors),
            BEC: self._tensors.copy(),
        }

    def _field_now(self) -> Float[np.ndarray, "3"]:
        if not callable(self._field):
            return self._field
        if self._dynamics is None:
            raise InputError("the field depends on time: call follow(dynamics) before the dynamics runs")
        time = (self._dynamics.get_time() + self._dynamics.dt / 2) / units.fs
        return _three(self._field(time), f"the field at {time:.6g} fs")

    def _move(self, atoms: Atoms, field: Float[np.ndarray, "3"]) -> None:
        """Go on to a configuration, if it is not the last one: tensors and work."""
        changed = changes(self._last, atoms)
        if not changed:
            return
        self._check_clock()
        last = self._last if changed == ["positions"] else None
        age = (self._age + 1) % self.every if last is not None else 0
        tensors = self._tensors if age else self._tensors_of(atoms)
        if last is not None:
            mean = (self._tensors + tensors) / 2
            # Without the lattice vectors by which wrapping moves atoms.
            moved, _ = find_mic(atoms.positions - last.positions, atoms.cell, atoms.pbc)
            self.work += float(np.einsum("a,iab,ib->", field, mean, moved))
        else:
            self.work = 0.0
        self._last, self._tensors, self._age = atoms.copy(), tensors, age

    def _check_clock(self) -> None:
        """Refuse a time that stands still while atoms move.

        A step of a dynamics comes to one new configuration, its first step to two.
        """
        if not callable(self._field) or self._dynamics is None:
            return
        step, seen = self._clock
        seen = seen + 1 if step == self._dynamics.nsteps else 1
        if seen > 2:
            raise InputError(
                "atoms move while the time of the field stands still: follow(dynamics) that runs"
            )
        self._clock = (self._dynamics.nsteps, seen)


def changes(before: Atoms | None, atoms: Atoms, tol: float = 0.0) -> list[str]:
    """ASE's list of what differs between two configurations, and the net charge.

    The list is that of `ase.calculators.calculator.compare_atoms`, in less time: most arrays are equal to the
    last bit, and need no tolerance.
    """
    if before is None:
        return list(all_changes)
    old, new = (_state(structure) for structure in (before, atoms))
    changed = [name for name in all_changes if not _same(old.get(name), new.get(name), tol)]
    if before.info.get("charge", 0.0) != atoms.info.get("charge", 0.0):
        changed.append("charge")
    return changed


def _state(atoms: Atoms) -> dict[str, Any]:
    return {**atoms.arrays, "cell": atoms.cell.array, "pbc": atoms.pbc}


def _same(old: Any, new: Any, tol: float) -> bool:
    return np.array_equal(old, new) or equal(old, new, atol=tol)


def _three(values: Vector, name: str) -> Float[np.ndarray, "3"]:
    field = np.array(values, dtype=np.float64)
    if field.shape != (3,) or not np.isfinite(field).all():
        raise InputError(f"{name} is {values!r}; give three numbers in V/Å")
    return field


def _free_energy(base: BaseCalculator, atoms: Atoms, energy: float) -> float:
    """What is consistent with the forces, where a calculator distinguishes it from its energy."""
    try:
        return base.get_potential_energy(atoms, force_consistent=True)
    except PropertyNotImplementedError:
        return energy
