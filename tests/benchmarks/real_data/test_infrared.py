"""The infrared spectrum of BaTiO3: what is taken from it."""

import numpy as np
import pytest

from benchmarks.real_data.infrared import bands, barium_titanate, titanium_offset


def test_bands_are_the_maxima_that_rise_above_their_surroundings():
    x = np.arange(0.0, 800.0, 2.0)
    lines = ((180, 20, 1.0), (482, 15, 0.4), (700, 10, 0.01))
    spectrum = sum(height * np.exp(-(((x - place) / width) ** 2)) for place, width, height in lines)
    found = bands(x, spectrum)
    assert [band["per_cm"] for band in found] == [180, 482]
    assert [band["share"] for band in found] == pytest.approx([1, 0.4])


def test_titanium_is_off_the_middle_of_its_oxygen_atoms_along_the_polar_axis():
    """By 0.5224 - (4 * 0.4895 + 2 * 0.4756) / 6 of c, whichever cell it is in, and wrapped or not."""
    atoms = barium_titanate().repeat(2)
    expected = (0.5224 - (4 * 0.4895 + 2 * 0.4756) / 6) * 4.0352
    np.testing.assert_allclose(titanium_offset([atoms]), [0, 0, expected], atol=1e-9)
    moved = atoms.copy()
    moved.positions += [1.1, 2.3, -0.7]
    moved.wrap()
    moved.positions[moved.numbers == 22] += [0.02, 0, 0]
    np.testing.assert_allclose(titanium_offset([atoms, moved]), [0.01, 0, expected], atol=1e-9)
