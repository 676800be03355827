"""`EquivarCalculator`: a network as an ASE calculator, made for trajectories."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from jaxtyping import Float

from equivar_jax.calculators.field import NO_STRUCTURE, list_changes
from equivar_jax.calculators.polarised import dipole_of_cell
from equivar_jax.calculators.skin import SkinList
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample
from equivar_jax.prediction.abilities import why_no_polarisation
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.structures import BEC, source
from equivar_jax.uncertainty.domain import DomainWarning


class EquivarCalculator(Calculator):
    """ASE calculator of the property `born_effective_charges`, and of `dipole` where that is defined.

    The property is float64 (N, 3, 3) in e, [atom, field, displacement]. Its numbers are those of
    `Predictor.predict` to within the rounding of the network's precision, at less cost along a trajectory:
    neighbours are kept with a skin. The tensors sum to the net charge of the cell, `atoms.info["charge"]`.
    For tensors that are continuous in the positions, the network needs its envelope (`--model.envelope True`
    in training).

    A network in the form of a polarisation has ASE's `dipole` in e Å for neutral structures that are not
    periodic in all directions: `d = sum_i mu_i + q_i x_i`, which does not depend on the origin. The tensors
    determine it fully: what they leave open is a vector that is the same wherever the atoms are, and that
    turns with the molecule nonetheless, so that it is zero. Of a slab or a wire the property is the part
    across the periodic directions. The part along them has no value, and is left out; that of a crystal is
    refused. They change by q R when an atom is counted in another cell, and only changes along a path mean
    anything: see `equivar response polarisation`, and `FieldCalculator`.

    Args:
        model: What `equivar_jax.load` returns, or a run directory; None takes the weights of the package. One
            network of a committee, `load(member=0)`, is as many times faster as the committee has members.
        skin: Of the neighbour list in Å (see `SkinList`).
        allow_unseen: Only warn about elements that did not occur in the training data.

    Raises:
        InputError: `load` or `SkinList` refuses an argument; in a calculation, `Predictor.predict` would
            refuse the structure.
    """

    implemented_properties = [BEC]  # noqa: RUF012 (as ASE has it)

    def __init__(
        self, model: Predictor | str | Path | None = None, skin: float = 1.0, allow_unseen: bool = False
    ):
        super().__init__()
        self.model = model if isinstance(model, Predictor) else load(model)
        if self.why_no_polarisation is None:
            self.implemented_properties = [BEC, "dipole"]
        self.allow_unseen = allow_unseen
        self.neighbours = SkinList(self.model.config.cutoff, skin)
        self._warned: set[type[UserWarning]] = set()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what has changed since the last calculation, including the net charge."""
        return list_changes(self.atoms, atoms, tol)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = (BEC,),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Predict the tensors, and store them in `results`; arguments are those of ASE's calculators.

        Raises:
            InputError: there is no structure, or `Predictor.predict` would refuse it.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        if self.atoms is None:
            raise InputError(NO_STRUCTURE)
        if system_changes:
            self.results = {}
        graph = self.neighbours.graph(self.atoms)
        self._warn_once(self.model.structure_warnings(self.atoms, graph, self.allow_unseen))
        if "dipole" in properties:
            (dipoles,) = self.model.dipoles_of_samples([Sample(graph, None)])
            found = dipole_of_cell(self.model, self.atoms, dipoles, self.atoms.positions)
            self.results["dipole"] = _across_periodic_directions(self.atoms) @ found
        if BEC in properties or "dipole" not in properties:
            (prediction,) = self.model.predict_samples([Sample(graph, None)])
            self._warn_once(self.model.prediction_warnings(self.atoms, prediction))
            self.results[BEC] = prediction.tensors

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True):
        """Return a property as ASE's `Calculator.get_property` does.

        Raises:
            PropertyNotImplementedError: the property is not calculated; for the dipole, with the reason.
        """
        structure = self.atoms if atoms is None else atoms
        if name == "dipole" and structure is not None and (reason := self._why_no_dipole(structure)):
            raise PropertyNotImplementedError(f"{source(structure)}: no dipole: {reason}")
        return super().get_property(name, atoms, allow_calculation)

    @property
    def why_no_polarisation(self) -> str | None:
        """The reason for which the polarisation of the network cannot be used; None if it can."""
        return why_no_polarisation(self.model.config)

    def cell_dipole(
        self, atoms: Atoms, displacements: Float[np.ndarray, "atoms 3"]
    ) -> Float[np.ndarray, "3"]:
        """Compute V P in e Å up to a constant; see `polarised.dipole_of_cell`.

        Args:
            atoms: The structure.
            displacements: How far each atom has moved, in Å, not wrapped into the cell.

        Raises:
            InputError: the network gives no polarisation, or the structure cannot be used.
        """
        graph = self.neighbours.graph(atoms)
        self._warn_once(self.model.structure_warnings(atoms, graph, self.allow_unseen))
        (dipoles,) = self.model.dipoles_of_samples([Sample(graph, None)])
        return dipole_of_cell(self.model, atoms, dipoles, displacements)

    def _why_no_dipole(self, atoms: Atoms) -> str | None:
        """Return why a structure has no dipole with a value of its own; None if it has one."""
        if (reason := self.why_no_polarisation) is not None:
            return reason
        if atoms.pbc.all():
            return (
                "that of a crystal has a value only up to a constant and quanta; its changes are those of "
                "`equivar response polarisation`; for a molecule or slab in a box set pbc accordingly"
            )
        if charge := atoms.info.get("charge", 0.0):
            return f"with a net charge of {charge} e it would depend on the origin"
        return None

    def _warn_once(self, collected: Sequence[UserWarning]) -> None:
        """Emit warnings, but each kind of domain warning only once, so that a long run does not repeat it."""
        for warning in collected:
            if type(warning) not in self._warned:
                warnings.warn(warning, stacklevel=3)
            if isinstance(warning, DomainWarning):
                self._warned.add(type(warning))


def _across_periodic_directions(atoms: Atoms) -> Float[np.ndarray, "3 3"]:
    """Return the projector on the directions along which a structure is not periodic."""
    along = np.linalg.qr(atoms.cell.array[atoms.pbc].T)[0]
    return np.eye(3) - along @ along.T
