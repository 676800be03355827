"""`EquivarCalculator`: a network as an ASE calculator, made for trajectories."""

import warnings
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

from equivar_jax.calculators.field import list_changes
from equivar_jax.calculators.skin import SkinList
from equivar_jax.graphs.batch import Sample
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.structures import BEC
from equivar_jax.uncertainty.domain import DomainWarning


class EquivarCalculator(Calculator):
    """ASE calculator of the property `born_effective_charges`.

    The property is float64 (N, 3, 3) in e, [atom, field, displacement]. Its numbers are those of
    `Predictor.predict` to within the rounding of the network's precision, at less cost along a trajectory:
    neighbours are kept with a skin. The tensors sum to the net charge of the cell, `atoms.info["charge"]`.
    For tensors that are continuous in the positions, the network needs its envelope (`--model.envelope True`
    in training).

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
        """Predict the tensors, and store them in `results`; arguments are those of ASE's calculators."""
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None  # ASE's base class has set it
        graph = self.neighbours.graph(self.atoms)
        self._warn_once(self.model.structure_warnings(self.atoms, graph, self.allow_unseen))
        (found,) = self.model.predict_samples([Sample(graph, None)])
        self._warn_once(self.model.prediction_warnings(self.atoms, found))
        self.results = {BEC: found.tensors}

    def _warn_once(self, collected: Sequence[UserWarning]) -> None:
        """Emit warnings, but each kind of domain warning only once, so that a long run does not repeat it."""
        for warning in collected:
            if type(warning) not in self._warned:
                warnings.warn(warning, stacklevel=3)
            if isinstance(warning, DomainWarning):
                self._warned.add(type(warning))
