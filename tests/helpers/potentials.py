"""Potentials that tests name as `helpers.potentials:NAME`: models, and what cannot be one."""

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

from equivar_jax.response.phonons.gamma_input import example_phonons
from equivar_jax.response.phonons.harmonic import HarmonicCrystal
from equivar_jax.response.polarisation.ferroelectric import SoftModeCrystal, barium_titanate

a_calculator = LennardJones(epsilon=0.01, sigma=2.0)
a_number = 3


def lennard_jones():
    """With a stress."""
    return LennardJones(epsilon=0.01, sigma=2.0, rc=6.0)


def springs():
    """Of the model crystal of the examples, in its own cell."""
    phonons = example_phonons()
    return HarmonicCrystal(phonons.atoms, phonons.force_constants, phonons.charges)


class Broken(Calculator):
    """Finite but for the forces."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (as ASE has it)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.full((len(atoms), 3), np.nan)}


class Flat(Broken):
    """One force for all atoms."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["forces"] = np.zeros(3)


class Forceless(Calculator):
    """Energy only."""

    implemented_properties = ["energy"]  # noqa: RUF012


def raising():
    """As of a package whose weights cannot be had."""
    try:
        raise OSError("no network")
    except OSError as error:
        raise RuntimeError("the weights\nare not here") from error


def needs_an_argument(path):
    """No factory."""


def text():
    """No calculator."""
    return "potential"


def molecule():
    """Two ions of elements that the small network knows, on a bond along x."""
    return Atoms("TiO", positions=[(0, 0, 0), (1.62, 0, 0)])


def bond():
    """A spring between them, without charges."""
    return Bond()


class Bond(Calculator):
    """`E = k (r - r0)² / 2`."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        between = self.atoms.positions[1] - self.atoms.positions[0]
        length = np.linalg.norm(between)
        pull = 40.0 * (length - 1.62) * between / length
        self.results = {"energy": 20.0 * (length - 1.62) ** 2, "forces": np.array([pull, -pull])}


def model_barium_titanate():
    """Of one cell, with Born charges."""
    return SoftModeCrystal(barium_titanate())


class Stopping(SoftModeCrystal):
    """The same, until it has been asked `allowed` times."""

    allowed = None

    def __init__(self):
        super().__init__(barium_titanate())

    def calculate(self, *arguments, **others):
        if Stopping.allowed is not None:
            Stopping.allowed -= 1
            if Stopping.allowed < 0:
                raise KeyboardInterrupt
        super().calculate(*arguments, **others)
