"""What the model potentials of the examples and tests have in common: ASE's keeping of atoms and results."""

from collections.abc import Sequence
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes


class ModelPotential(Calculator):
    """A calculator whose results are a function of the atoms; a subclass has `compute`."""

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute all that the potential gives, and store it in `results`.

        The arguments are those of ASE's calculators.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None  # ASE's base class has set it
        self.results = self.compute(self.atoms)

    def compute(self, atoms: Atoms) -> dict[str, Any]:
        """Compute `implemented_properties` by name, in ASE's units; born_effective_charges in e."""
        raise NotImplementedError
