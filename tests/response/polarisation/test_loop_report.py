"""Numbers of a loop, against loops of known shape."""

import json

import numpy as np
import pytest

from equivar_jax.errors import InputError
from equivar_jax.response.polarisation.loop_report import draw_loop, measure_loop, write_loop
from equivar_jax.response.units import KILOVOLT_PER_CM, MICROCOULOMB_PER_CM2


def parallelogram(shift=0.0, points=41):
    """A relay that switches between P = 1 and -1 at E = ± 0.5, with a slope of 0.2."""
    down = np.linspace(1, -1, points)
    field = np.concatenate([down, down[::-1][1:]])
    falling = np.concatenate([np.ones(points, bool), np.zeros(points - 1, bool)])
    switched = np.where(falling, field < -0.5, field < 0.5)
    return field, np.where(switched, -1.0, 1.0) + 0.2 * field + shift


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_a_relay_has_its_coercive_field_remanence_and_area(shift):
    """The area of a relay with jumps of 2 P_r at ± E_c is 4 E_c P_r; the slope loses nothing."""
    field, polarisation = parallelogram(shift)
    found = measure_loop(field, polarisation)
    # The relay switches somewhere between two points, which are 0.05 apart.
    assert found.coercive_field == pytest.approx((-0.5, 0.5), abs=0.05)
    assert found.remanent_polarisation == pytest.approx((-1.0, 1.0))
    assert found.centre == pytest.approx(shift)
    assert found.loss == pytest.approx(4 * 0.5, rel=0.06)


def test_an_ellipse_is_measured_exactly():
    """E = cos t, P = cos(t - d): E_c = sin d, P_r = sin d, loss pi sin d."""
    t = np.linspace(0, 2 * np.pi, 2001)
    found = measure_loop(np.cos(t), np.cos(t - 0.4))
    assert found.coercive_field == pytest.approx((-np.sin(0.4), np.sin(0.4)), rel=1e-5)
    assert found.remanent_polarisation == pytest.approx((-np.sin(0.4), np.sin(0.4)), rel=1e-5)
    assert found.loss == pytest.approx(np.pi * np.sin(0.4), rel=1e-5)


def test_what_is_no_loop_is_refused():
    field, polarisation = parallelogram()
    with pytest.raises(InputError, match="no hysteresis"):
        measure_loop(field, 0.2 * field)
    with pytest.raises(InputError, match="full cycle"):
        measure_loop(field[:41], polarisation[:41])


def test_numbers_are_written_in_the_units_of_their_names(tmp_path):
    """A loop of 1 eV/Å³ loses 160,217.66 J/cm³ (1.602177e-19 J in 1e-24 cm³)."""
    t = np.linspace(0, 2 * np.pi, 2001)
    field, polarisation = np.cos(t), np.cos(t - 0.4)
    found = measure_loop(field, polarisation)
    path = write_loop(tmp_path / "loop.json", field, polarisation, found)
    numbers = json.loads(path.read_text())
    assert numbers["coercive_field_kV_per_cm"][1] == pytest.approx(np.sin(0.4) * 1e5, rel=1e-5)
    assert numbers["remanent_polarisation_uC_per_cm2"][1] == pytest.approx(np.sin(0.4) * 1602.1766, rel=1e-5)
    assert numbers["loss_J_per_cm3"] == pytest.approx(np.pi * np.sin(0.4) * 160217.66, rel=1e-5)
    assert numbers["field_kV_per_cm"][0] == pytest.approx(KILOVOLT_PER_CM)
    assert numbers["polarisation_uC_per_cm2"][0] == pytest.approx(np.cos(0.4) * MICROCOULOMB_PER_CM2)
    draw_loop(tmp_path / "loop.svg", field, polarisation, found, first=10)
    assert "kV/cm" in (tmp_path / "loop.svg").read_text()
