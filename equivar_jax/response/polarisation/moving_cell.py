"""A cell that moves while a field acts on its atoms.

The stress is that of the potential alone. The field strains the crystal through the atoms that it displaces,
which is most of the response of a ferroelectric; what a strain at fixed fractional coordinates does to the
polarisation, the clamped-ion part of the piezoelectric tensor, does not follow from Born charges and is left
out.
"""

import numpy as np
from ase import Atoms, units
from ase.stress import voigt_6_to_full_3x3_stress
from jaxtyping import Float

from equivar_jax.calculators.field import FieldCalculator

STEPS_BETWEEN = 10
"""Time steps from one change of the cell to the next; each of them costs forces once more."""
STIFFNESS = 100.0 * units.GPa
"""Elastic constant in eV/Å³ that a change assumes; only the pace of the cell depends on it."""
TIME = 200.0
"""Time in fs in which a cell of this stiffness gives way to its stress."""
LARGEST_STRAIN = 2e-3
"""Of one change."""


class MovingCellCalculator(FieldCalculator):
    """`FieldCalculator` with the stress of the potential alone, for a cell that moves.

    Energies are of no use: each change of the cell begins a new path, with no work done.
    """

    implemented_properties = [*FieldCalculator.implemented_properties, "stress"]  # noqa: RUF012 (as ASE has it)

    def get_property(self, name: str, atoms: Atoms | None = None, allow_calculation: bool = True):
        """Return a property as ASE's `Calculator.get_property` does; the stress is that of the potential."""
        if name != "stress":
            return super().get_property(name, atoms, allow_calculation)
        given = self.atoms if atoms is None else atoms
        return self.base.get_property("stress", given, allow_calculation)


def relax_cell(atoms: Atoms, step: int, timestep: float) -> None:
    """Let the cell give way a little to its stress, as the barostat of Berendsen does, towards zero pressure.

    The stress has the part of the motion, `-sum_i p_i p_i / (m_i V)`. The mean of the cell is that of the
    pressure zero; its fluctuations are smaller than those of the ensemble. Nothing is remembered from one
    change to the next. The strain is symmetric, so that the cell does not turn.

    Args:
        atoms: With a calculator that has the stress. Cell and positions are changed.
        step: Number of the time step; only every `STEPS_BETWEEN`-th changes the cell.
        timestep: In fs.
    """
    if step == 0 or step % STEPS_BETWEEN:
        return
    momenta = atoms.get_momenta()
    motion = (momenta / atoms.get_masses()[:, None]).T @ momenta / atoms.get_volume()
    stress: Float[np.ndarray, "3 3"] = voigt_6_to_full_3x3_stress(atoms.get_stress()) - motion
    # A positive stress, as ASE counts it, is that of a stretched crystal, which shrinks.
    strain = -stress / STIFFNESS * (STEPS_BETWEEN * timestep / TIME)
    strain = np.clip(strain, -LARGEST_STRAIN, LARGEST_STRAIN)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
