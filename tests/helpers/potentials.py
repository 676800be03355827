"""Potentials that tests name as `helpers.potentials:NAME`: models, and what cannot be one."""

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones

from equivar_jax.response.phonons.gamma_input import example_phonons
from equivar_jax.response.phonons.harmonic import HarmonicCrystal

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
