"""Conversions, against numbers from textbooks and other programs."""

import pytest

from equivar_jax.response import units


def test_polarisation_in_microcoulomb_per_square_centimetre():
    """One electron charge a square Bohr radius is 57.2147 C/m² (CODATA's e/a0²)."""
    assert pytest.approx(units.MICROCOULOMB_PER_CM2 / 0.529177211**2, rel=1e-5) == 57.2147 * 100


def test_vacuum_permittivity():
    """e²/(4 pi eps0) is 14.39964 eV Å (Ashcroft and Mermin, inside cover: 14.4 eV Å)."""
    assert pytest.approx(14.39964, rel=1e-6) == 1 / (4 * 3.14159265 * units.VACUUM_PERMITTIVITY)


def test_frequencies_as_phonopy_converts_them():
    """Phonopy's VaspToTHz is 15.633302 THz and its THzToCm 33.356410 1/cm."""
    assert pytest.approx(15.633302, rel=1e-6) == units.TERAHERTZ
    assert pytest.approx(33.356410, rel=1e-6) == units.INVERSE_CM / units.TERAHERTZ


def test_field_in_kilovolt_per_centimetre():
    """1 V/Å is 10^8 V/cm, 100 MV/cm."""
    assert pytest.approx(1e5) == units.KILOVOLT_PER_CM
