"""Conversions of response functions, from `ase.units` (Å, eV, e, atomic mass units).

A quantity in ASE's units times the constant is the quantity in the unit of the constant's name.
"""

import math

from ase import units

MICROCOULOMB_PER_CM2 = 1e6 / units.C * (1e-2 * units.m) ** 2
"""Of a polarisation in e/Å²."""

VACUUM_PERMITTIVITY = units._eps0 * units.C / units.m
"""Epsilon_0 in e/(V Å); e/epsilon_0 is 180.95 V Å."""

INVERSE_CM = units._hbar / units._e * units.second / units.invcm
"""Of an angular frequency in sqrt(eV/(Å² u)): its wavenumber omega / (2 pi c)."""

TERAHERTZ = units.second / (2 * math.pi) * 1e-12
"""Of an angular frequency in sqrt(eV/(Å² u)): its frequency omega / (2 pi)."""

KILOVOLT_PER_CM = 1e-3 * 1e-2 * units.m
"""Of a field in V/Å."""
