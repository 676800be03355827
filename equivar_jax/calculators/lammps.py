"""`LammpsField`: Born effective charges in LAMMPS, through the Python callback of `fix external`."""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float

from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.calculators.field import Field, FieldCalculator
from equivar_jax.calculators.lammps_library import (
    check_fixed_box,
    check_instance,
    check_integrator,
    warn_of_charge,
    warn_of_order,
)
from equivar_jax.calculators.lammps_path import (
    Last,
    PathState,
    check_same,
    is_next,
    is_same_crystal,
    read_state,
    write_state,
)
from equivar_jax.calculators.lammps_structure import LammpsStructure, Species
from equivar_jax.calculators.sparse import SparseCharges
from equivar_jax.errors import InputError
from equivar_jax.structures import BEC

FEMTOSECONDS = {"metal": 1e3, "real": 1.0}
"""Unit of time of LAMMPS's units in fs."""
MINIMISING = 2
"""What `lammps_is_running` returns in a minimisation."""


class LammpsField:
    """A uniform electric field that acts on the atoms of a running LAMMPS through Born effective charges.

    The forces `e sum_a E_a Z[i, a, b]` are added to those of LAMMPS at every step, by a `fix external` of all
    atoms that this class makes. They are those of `FieldCalculator` with the same charges, which calculates
    them. E, and all vectors, are in LAMMPS's own axes, see `field_in_lammps_axes`.

        lmp = open_lammps()
        lmp.file("in.crystal")
        born = LammpsField(lmp, EquivarCalculator(), [0, 0, 0.01], species=["Mg", "O"])
        born.command("run 1000")

    A field that depends on time is taken at the time of each step, LAMMPS's `time` in fs, which a restart
    continues and `reset_timestep` sets: velocity Verlet in LAMMPS asks once a step for forces.

    In thermo output `f_born` is the energy of the field, -W, in LAMMPS's units, and a part of `pe` and
    `etotal`, which is conserved; `f_born[1]` to `f_born[3]` are V (P - P0) in e Å, `f_born[4]` to `f_born[6]`
    E in V/Å. W is the work of the field since the first configuration, by the trapezoidal rule in E, and in Z
    as `FieldCalculator` has it; where the network gives P (and `every=1`), -W is -E V (P - P0) in a constant
    field. A change of the cell or the atoms between two runs begins a new path with W = 0. There is no
    virial: the stress of the field does not follow from Z, so that the pressure lacks it.

    LAMMPS by itself goes on after an error of a callback. Here it stops: `command` raises the error, and
    `lmp.command` one of LAMMPS's that has its message.

    Args:
        lmp: A `lammps.lammps` on one rank, with atoms, in units metal or real.
        charges: Source of Z in e; see `equivar_jax.calculators.charges`.
        field: E in V/Å, or a function that returns E at a time in fs. The attribute may be set to another at
            any time. One beyond 1 V/Å brings a `StrongFieldWarning`.
        species: Element of each LAMMPS type: a list in their order, or a dictionary.
        every: Calculate Z at the steps that are multiples of this, and hold it in between. In a minimisation
            it is calculated each time.
        extrapolate: Between those steps continue the line through the last two calculations.
        charge: Net charge of the cell in e, which the network is told: the net force is its product with E.
        check_masses: Refuse elements whose masses are not those of LAMMPS.
        name: ID of the fix.
        restart: File that `write_restart` made at the step at which LAMMPS is.

    Raises:
        InputError: LAMMPS or an argument cannot be used.
    """

    def __init__(
        self,
        lmp: Any,
        charges: Charges,
        field: Field,
        species: Species,
        every: int = 1,
        extrapolate: bool = False,
        charge: float = 0.0,
        check_masses: bool = True,
        name: str = "born",
        restart: str | Path | None = None,
    ):
        check_instance(lmp)
        if lmp.has_id("fix", name):
            raise InputError(f"LAMMPS has a fix {name} already; choose another name, or unfix it")
        system = lmp.extract_global("units")
        self.lmp = lmp
        self.name = name
        self.failure: BaseException | None = None
        """What stopped the last run; None if nothing did."""
        self._energy_unit = units.mol / units.kcal if system == "real" else 1.0
        self._time_unit = FEMTOSECONDS[system]
        self._structure = LammpsStructure(lmp, species, charge, check_masses)
        self._sparse = SparseCharges(make_charge_function(charges), every, extrapolate)
        self._charges = charges if every == 1 else self._sparse_charges
        self._field = field
        self._begin_path()
        self._last: Last | None = None
        self._applied = np.zeros(3)  # E of the last step
        self._restart = None if restart is None else read_state(Path(restart))
        self._step = 0
        warn_of_charge(lmp, charge)
        warn_of_order(lmp)
        lmp.command(f"fix {name} all external pf/callback 1 1")
        lmp.command(f"fix_modify {name} energy yes virial no")
        lmp.fix_external_set_vector_length(name, 6)
        self._tell()  # LAMMPS leaves it undefined
        lmp.set_fix_external_callback(name, self._call)

    @property
    def field(self) -> Field:
        """E in V/Å, or the function that returns E at a time in fs."""
        return self._field

    @field.setter
    def field(self, field: Field) -> None:
        self._calculator.field = np.zeros(3) if callable(field) else field
        self._field = field if callable(field) else self._calculator.field

    @property
    def work(self) -> float:
        """W, the work of the field along the path so far, in eV."""
        return self._work

    @property
    def dipole_change(self) -> Float[np.ndarray, "3"]:
        """V (P - P0) in e Å: change of the dipole of the cell since the first configuration."""
        return self._earlier + self._calculator.dipole_change

    @property
    def has_polarisation(self) -> bool:
        """Whether `dipole_change` is a function of the configuration, and not an integral."""
        return self._calculator.has_polarisation

    @property
    def born_effective_charges(self) -> Float[np.ndarray, "atoms 3 3"]:
        """Z of the last step in e, [atom, field, displacement], atoms in the order of their IDs."""
        if self._last is None:
            raise InputError("there are no charges before the first step; run 0 calculates them")
        return self._calculator.results[BEC].copy()

    def command(self, text: str) -> None:
        """Give LAMMPS a command such as `run 1000`, and raise what stopped it.

        Raises:
            InputError: Charges or field could not be used; any other error of the callback is raised as well.
        """
        self._resume()
        try:
            self.lmp.command(text)
        except Exception:  # LAMMPS's own words for what the callback has raised, which is more to the point
            if self.failure is None:
                raise
        if (failure := self.failure) is not None:
            self._resume()
            raise failure

    def write_restart(self, path: str | Path) -> None:
        """Write what continues the path after a restart: W, V (P - P0), and charges that are held.

        Args:
            path: A file, written beside that of LAMMPS's `write_restart`, at the same step.

        Raises:
            InputError: There was no step yet, or the file cannot be written.
        """
        last = self._last
        if last is None:
            raise InputError(f"{path}: there is no path before the first step; run 0 begins one")
        known = self._sparse.known if self._sparse.every > 1 else []
        write_state(
            Path(path), PathState(last.step, last.ids, last.atoms, self.work, self.dipole_change, known)
        )

    def close(self) -> None:
        """Take the fix out of LAMMPS."""
        self.lmp.command(f"unfix {self.name}")

    def _begin_path(self) -> None:
        """Begin a path: W and V (P - P0) are zero at the next configuration."""
        self._work, self._earlier = 0.0, np.zeros(3)
        self._calculator = FieldCalculator(_NoPotential(use_cache=False), self._charges, np.zeros(3))
        self.field = self._field
        self._sparse.forget()

    def _sparse_charges(self, atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
        return self._sparse.at(self._step, atoms)

    def _call(self, _: object, step: int, __: int, ids: np.ndarray, x: np.ndarray, f: np.ndarray) -> None:
        """Set the forces of the field; what LAMMPS calls in each step."""
        f[:] = 0.0
        if self.failure is not None:  # the run is about to end
            return
        try:
            forces, order = self._forces(int(step), ids, x)
            f[order] = forces * self._energy_unit
            self._tell()
        except BaseException as error:  # an interrupt, too: ctypes would swallow it
            self._stop(error)

    def _forces(
        self, step: int, ids: np.ndarray, x: np.ndarray
    ) -> tuple[Float[np.ndarray, "atoms 3"], np.ndarray]:
        """Calculate forces in eV/Å in the order of the IDs, and extend the path; return that order, too."""
        check_integrator(self.lmp)
        check_fixed_box(self.lmp)
        atoms, order = self._structure.read(ids, x)
        minimises = self.lmp.lib.lammps_is_running(self.lmp.lmp) == MINIMISING
        self._follow(step, ids[order], atoms, minimises)
        calculator, before = self._calculator, self.dipole_change
        if callable(self._field):
            calculator.field = self._field_at(step, minimises)
        forces = calculator.get_property("forces", atoms)
        field = np.array(calculator.field)
        self._work += float((self._applied + field) / 2 @ (self.dipole_change - before))
        self._last, self._applied = Last(step, ids[order].copy(), atoms), field
        return forces, order

    def _follow(self, step: int, ids: np.ndarray, atoms: Atoms, minimises: bool) -> None:
        """Find out how a configuration follows the last one: on the same path, a new one, or a restart."""
        self._step, last = step, self._last
        if last is None:
            if self._restart is not None:
                check_same(self._restart, step, ids, atoms)
                self._work, self._earlier = self._restart.work, self._restart.dipole_change
                self._sparse.known = self._restart.known
        elif not is_same_crystal(last, ids, atoms):
            if step == last.step + 1:
                raise InputError(
                    f"LAMMPS, step {step}: cell or atoms changed during a run, which begins another path "
                    "with other energies; keep both, and change them between runs"
                )
            self._begin_path()
            self._last = None
        elif minimises or not is_next(last, step, atoms):
            self._sparse.forget()

    def _field_at(self, step: int, minimises: bool) -> Any:
        """Return E in V/Å at the time of a step; refuse a minimisation, which has no time."""
        assert callable(self._field)
        if minimises:
            raise InputError(
                "the field depends on time, and a minimisation has none; set `field` to three numbers before "
                "it"
            )
        begin, begun, dt = (self.lmp.extract_global(name) for name in ("atime", "atimestep", "dt"))
        return self._field((begin + (step - begun) * dt) * self._time_unit)

    def _tell(self) -> None:
        """Give LAMMPS the energy and the vector of the fix."""
        self.lmp.fix_external_set_energy_global(self.name, -self._work * self._energy_unit)
        for index, value in enumerate([*self.dipole_change, *self._applied], start=1):
            self.lmp.fix_external_set_vector(self.name, index, float(value))

    def _stop(self, error: BaseException) -> None:
        """Stop the run, and leave an error in LAMMPS that has the message.

        LAMMPS knows no way to stop a run with an error from a callback: its own `error` ends the process. So
        the message is left as the ID of a fix that does not exist.
        """
        self.failure = error
        words = " ".join(f"{self.name}: {error or type(error).__name__}".split())
        self.lmp.lib.lammps_fix_external_set_energy_global(self.lmp.lmp, f"({words})".encode(), 0.0)
        self.lmp.force_timeout()

    def _resume(self) -> None:
        """Let LAMMPS run again after a stop, which it would otherwise remember."""
        if self.failure is not None:
            self.failure = None
            self.lmp.command("timer timeout off")


class _NoPotential(BaseCalculator):
    """What the field is added to: nothing, since LAMMPS has its own forces."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (as ASE has it)

    def calculate(self, atoms: Atoms, *_: object) -> None:
        """Store no energy and no forces in `results`; arguments are those of ASE's calculators."""
        self.results = {"energy": 0.0, "free_energy": 0.0, "forces": np.zeros((len(atoms), 3))}
