"""Factors that convert from ASE's units (Å, eV, e, atomic mass units), computed from `ase.units`.

A quantity in ASE's units times the factor is that quantity in the unit that the factor's name gives.
"""

import math

from ase import units

MICROCOULOMB_PER_CM2 = 1e6 / units.C * (1e-2 * units.m) ** 2
"""Converts a polarisation from e/Å²."""

VACUUM_PERMITTIVITY = units._eps0 * units.C / units.m
"""Not a factor: epsilon_0 in e/(V Å). So e/epsilon_0 is 180.95 V Å."""

INVERSE_CM = units._hbar / units._e * units.second / units.invcm
"""Converts an angular frequency omega from sqrt(eV/(Å² u)) to its wavenumber omega / (2 pi c)."""

TERAHERTZ = units.second / (2 * math.pi) * 1e-12
"""Converts an angular frequency omega from sqrt(eV/(Å² u)) to its frequency omega / (2 pi)."""

KILOVOLT_PER_CM = 1e-3 * 1e-2 * units.m
"""Converts a field from V/Å."""
