"""Waveforms of the field."""

import numpy as np
import pytest

from equivar_jax.errors import InputError
from equivar_jax.response.polarisation import protocols


def test_triangle_passes_its_corners_and_is_straight_between():
    field = protocols.triangle(0.02, 1000.0, (0, 3, 0))
    along = [field(time)[1] for time in (0.0, 125.0, 250.0, 500.0, 750.0, 1000.0, 1250.0)]
    assert along == pytest.approx([0, 0.01, 0.02, 0, -0.02, 0, 0.02], abs=1e-15)
    assert np.array_equal(field(100.0)[[0, 2]], [0, 0])


def test_sine_has_its_amplitude_and_period():
    field = protocols.sine(0.03, 400.0, (1, 1, 0))
    assert np.linalg.norm(field(100.0)) == pytest.approx(0.03)
    assert field(100.0) == pytest.approx([0.03 / np.sqrt(2), 0.03 / np.sqrt(2), 0])
    assert field(437.0) == pytest.approx(field(37.0))


def test_steps_last_as_long_as_they_should():
    field = protocols.steps([0.01, -0.02], 50.0)
    assert [field(time)[2] for time in (0.0, 49.9, 50.0, 99.0, 1e6)] == [0.01, 0.01, -0.02, -0.02, -0.02]


def test_a_constant_field_cannot_be_changed_through_what_it_returned():
    field = protocols.constant(0.5)
    field(0.0)[2] = 7.0
    assert field(1.0).tolist() == [0.0, 0.0, 0.5]


@pytest.mark.parametrize(
    "make",
    [
        lambda: protocols.triangle(0.1, 0.0),
        lambda: protocols.sine(float("nan"), 10.0),
        lambda: protocols.steps([], 10.0),
        lambda: protocols.steps([0.1], float("inf")),
        lambda: protocols.constant(0.1, (0, 0, 0)),
        lambda: protocols.constant(0.1, (1, 0)),
    ],
)
def test_what_is_no_waveform_is_refused(make):
    with pytest.raises(InputError, match="give"):
        make()
