"""`FieldCalculator`: any ASE calculator in an electric field, which acts through Born effective charges."""

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

from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.calculators.field_strength import warn_of_strong_field
from equivar_jax.calculators.polarised import make_dipole_function
from equivar_jax.errors import InputError
from equivar_jax.structures import BEC

Vector = Sequence[float | int] | np.ndarray
"""Three components of a field E in V/Å."""
Field = Vector | Callable[[float], Vector]
"""A field E in V/Å, or a function that returns E at a time in fs."""

NO_STRUCTURE = "there is no structure to calculate; give the atoms, or set atoms.calc to this calculator"
"""What a calculator says that was asked for a property before it had seen any atoms."""


class FieldCalculator(Calculator):
    """ASE calculator of any potential in a uniform electric field.

    The forces are `F_ib = F_ib(base) + e sum_a E_a Z[i, a, b]`. By the sum rule, the net force is Q E,
    which is zero for a neutral cell. E is the macroscopic field in the crystal.

    Energies: `free_energy`, which optimisers and thermostats take to be consistent with the forces, is that
    of the base minus `work`, the work W of the field on the atoms since the first configuration in eV; its
    sum with the kinetic energy is conserved. A change of cell, charge, `pbc` or species begins a new path,
    with W = 0. Wrapping atoms into the cell does not count as motion.

    - Charges that are derivatives of a polarisation P (`EquivarCalculator` or `Predictor.predict` with a
      network in that form, and `every=1`): `energy = E(base) - E V (P - P0)`, P0 being that of the first
      configuration and V (P - P0) `dipole_change`. It is a function of the configuration, the forces are
      minus its derivatives, and with the kinetic energy it is conserved in a constant field: there is no
      integral. Compare energies of one path. Those of two paths differ by `E V` times the difference of
      their P0; and when an atom with charge q has gone once round the cell the energy is less by `E q R`,
      since the field did work on it. W is the sum over steps of `E V (P' - P)`; in a constant field that is
      E V (P - P0).
    - Any other charges: `energy` is that of the base, and `W = sum over steps of e E (Z + Z') / 2 du` by the
      trapezoidal rule. It depends on the path, unless Z is constant: then it is exactly `e sum_i E Z_i u_i`
      with u the displacements since the first configuration.

    The force `Z E` leaves out the polarisability of the electrons, `-V E chi E / 2`, whose forces are of
    second order in the field (Raman tensors), and the dependence of Z on the field. The change of Z with
    the positions is in the forces as far as `charges` knows it. There is no stress at all, because its
    piezoelectric part does not follow from Z.

    A field that depends on time is evaluated in the middle of each time step, t + dt/2, and held for the
    whole step, which keeps the error of velocity Verlet at second order in dt. A dynamics gives the time:

        atoms.calc = FieldCalculator(EMT(), charges, lambda t: [0, 0, 0.01 * np.sin(0.05 * t)])
        dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
        atoms.calc.follow(dynamics)

    Other terms of the potential belong into the base, `FieldCalculator(SumCalculator([...]), ...)`: a sum of
    ASE around this calculator keeps its results until atoms move, and so misses a field that has changed.

    Args:
        base: Calculator with energy and forces.
        charges: Source of Z in e; see `equivar_jax.calculators.charges`. A function that always returns the
            same array gives fixed charges.
        field: E in V/Å; see `Field`. The attribute may be set to another field at any time. One beyond 1 V/Å
            brings a `StrongFieldWarning`; 1 V/Å is 1e5 kV/cm.
        every: Calculate Z at every this many new configurations, and keep it in between. The forces are then
            no derivatives of an energy, so that the work is integrated also where there is a polarisation.

    Raises:
        InputError: `field`, `charges` or `every` cannot be used; in a calculation, the field depends on time,
            but there is no dynamics to follow or its time stands still.
    """

    implemented_properties = ["energy", "free_energy", "forces", BEC]  # noqa: RUF012 (as ASE has it)

    def __init__(self, base: BaseCalculator, charges: Charges, field: Field, every: int = 1):
        super().__init__()
        if every < 1:
            raise InputError(f"charges every {every} configurations are not possible; give every=1 or more")
        self.base = base
        self._warned = False  # of a strong field
        self.field = field
        self.every = every
        self.work = 0.0
        """Work of the field along the path so far, in eV."""
        self.dipole_change = np.zeros(3)
        """V (P - P0) in e Å: change of the dipole of the cell since the first configuration."""
        self._tensors_of = make_charge_function(charges)
        self._dipole_of = make_dipole_function(charges) if every == 1 else None
        self._start = np.zeros(3)  # the dipole at the first configuration, up to the same constant as later
        self._moved = np.zeros((0, 3))  # displacements since the first configuration
        self._dynamics: MolecularDynamics | None = None
        self._applied = np.zeros(3)  # the field in `results`
        self._last: Atoms | None = None  # the last configuration of the path
        self._tensors = np.zeros((0, 3, 3))
        self._age = 0  # configurations since the tensors were calculated
        self._clock = (-1, 0)  # a step of the dynamics, and the number of configurations seen in it

    @property
    def field(self) -> Float[np.ndarray, "3"] | Callable[[float], Vector]:
        """E in V/Å, or the function that returns E at a time in fs."""
        return self._field

    @field.setter
    def field(self, field: Field) -> None:
        self._field = field if callable(field) else _check_vector(field, "the field")
        if not callable(self._field):
            self._warn_once(self._field)

    @property
    def has_polarisation(self) -> bool:
        """Whether `dipole_change` and the energy are functions of the configuration, not integrals."""
        return self._dipole_of is not None

    def follow(self, dynamics: object) -> None:
        """Take the time for the field from a dynamics; call this again for every new dynamics.

        Args:
            dynamics: Any dynamics of `ase.md`; its time begins at zero with its first step.

        Raises:
            InputError: this is no molecular dynamics; an optimiser, for example, has no time.
        """
        if not isinstance(dynamics, MolecularDynamics):
            raise InputError(f"{type(dynamics).__name__} has no time; follow a dynamics of ase.md")
        self._dynamics = dynamics
        self._clock = (-1, 0)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True):
        """Return a property as ASE's `Calculator.get_property` does.

        Raises:
            PropertyNotImplementedError: the property is not calculated; for the stress, with the reason.
        """
        if name == "stress":
            raise PropertyNotImplementedError(
                "there is no stress in a field: its piezoelectric part does not follow from Born effective "
                "charges; keep the cell fixed"
            )
        return super().get_property(name, atoms, allow_calculation)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation, including the field and the net charge."""
        changed = list_changes(self.atoms, atoms, tol)
        # Without its dynamics a field has no value yet. That is an error of a calculation, not of a program
        # that only asks whether there are results, as ASE does before it writes a trajectory.
        waits = callable(self._field) and self._dynamics is None
        if waits or not np.array_equal(self._current_field(), self._applied):
            changed.append("field")
        return changed

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Calculate energies, forces and charges, and store them in `results`.

        The arguments are those of ASE's calculators.

        Raises:
            InputError: there is no structure, or what the class says of a calculation.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        if self.atoms is None:
            raise InputError(NO_STRUCTURE)
        field = self._current_field()
        energy, forces = self.base.get_potential_energy(self.atoms), self.base.get_forces(self.atoms)
        self._follow_path(self.atoms, field)
        self._applied = field.copy()
        self.results = {
            "energy": energy - float(field @ self.dipole_change) if self.has_polarisation else energy,
            "free_energy": _free_energy(self.base, self.atoms, energy) - self.work,
            "forces": forces + np.einsum("a,iab->ib", field, self._tensors),
            BEC: self._tensors.copy(),
        }

    def _current_field(self) -> Float[np.ndarray, "3"]:
        if not callable(self._field):
            return self._field
        if self._dynamics is None:
            raise InputError(
                "the field depends on time, but there is no dynamics; call follow(dynamics) before it runs"
            )
        time = (self._dynamics.get_time() + self._dynamics.dt / 2) / units.fs
        field = _check_vector(self._field(time), f"the field at {time:.6g} fs")
        self._warn_once(field)
        return field

    def _warn_once(self, field: Float[np.ndarray, "3"]) -> None:
        """Warn of the first field that is too strong for a crystal."""
        if not self._warned:
            self._warned = warn_of_strong_field(field, "an electric field")

    def _follow_path(self, atoms: Atoms, field: Float[np.ndarray, "3"]) -> None:
        """Extend the path to a configuration, unless it is the last one: update the tensors and the work."""
        changed = list_changes(self._last, atoms)
        if not changed:
            return
        self._check_clock()
        last = self._last if changed == ["positions"] else None
        age = (self._age + 1) % self.every if last is not None else 0
        tensors = self._tensors if age else self._tensors_of(atoms)
        if last is None:
            self.work, self.dipole_change, self._moved = 0.0, np.zeros(3), np.zeros((len(atoms), 3))
            if self._dipole_of is not None:
                self._start = self._dipole_of(atoms, self._moved)
        else:
            # Leaves out the lattice vectors by which wrapping moves atoms.
            step, _ = find_mic(atoms.positions - last.positions, atoms.cell, atoms.pbc)
            moved = self._moved + step
            if self._dipole_of is not None:
                change = self._dipole_of(atoms, moved) - self._start
            else:
                change = self.dipole_change + np.einsum("iab,ib->a", (self._tensors + tensors) / 2, step)
            self.work += float(field @ (change - self.dipole_change))
            self.dipole_change, self._moved = change, moved
        self._last, self._tensors, self._age = atoms.copy(), tensors, age

    def _check_clock(self) -> None:
        """Refuse a time that stands still while atoms move.

        A step of a dynamics makes one new configuration, the first step two.
        """
        if not callable(self._field) or self._dynamics is None:
            return
        step, seen = self._clock
        seen = seen + 1 if step == self._dynamics.nsteps else 1
        if seen > 2:
            raise InputError(
                "atoms move while the time of the field stands still; call follow(dynamics) with the "
                "dynamics that runs"
            )
        self._clock = (self._dynamics.nsteps, seen)


def list_changes(before: Atoms | None, atoms: Atoms, tol: float = 0.0) -> list[str]:
    """List what differs between two configurations: what ASE's calculators compare, and the net charge.

    Apart from the net charge the list is that of `ase.calculators.calculator.compare_atoms`, in less time:
    most arrays are equal to the last bit and need no comparison with a tolerance.

    Args:
        before: The earlier configuration; None means that everything has changed.
        atoms: The later configuration.
        tol: Largest difference of numbers that counts as equal.
    """
    if before is None:
        return list(all_changes)
    old, new = (_compared_arrays(structure) for structure in (before, atoms))
    changed = [name for name in all_changes if not _are_equal(old.get(name), new.get(name), tol)]
    if before.info.get("charge", 0.0) != atoms.info.get("charge", 0.0):
        changed.append("charge")
    return changed


def _compared_arrays(atoms: Atoms) -> dict[str, Any]:
    return {**atoms.arrays, "cell": atoms.cell.array, "pbc": atoms.pbc}


def _are_equal(old: Any, new: Any, tol: float) -> bool:
    return np.array_equal(old, new) or equal(old, new, atol=tol)


def _check_vector(values: Vector, name: str) -> Float[np.ndarray, "3"]:
    """Return a field in float64; refuse anything but three finite numbers."""
    field = np.array(values, dtype=np.float64)
    if field.shape != (3,) or not np.isfinite(field).all():
        raise InputError(f"{name} is {values!r}; give three numbers in V/Å")
    return field


def _free_energy(base: BaseCalculator, atoms: Atoms, energy: float) -> float:
    """Return the energy that is consistent with the forces, where a calculator tells it from its energy."""
    try:
        return base.get_potential_energy(atoms, force_consistent=True)
    except PropertyNotImplementedError:
        return energy
