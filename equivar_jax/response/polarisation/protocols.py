"""Field protocols: functions of the time t in fs that return the electric field E in V/Å, shape (3,).

Each is pure, so that it may be sampled for a quasi-static loop or given to
`equivar_jax.calculators.field.FieldCalculator` for dynamics.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from equivar_jax.errors import InputError

Protocol = Callable[[float], Float[np.ndarray, "3"]]
"""E in V/Å, Cartesian components, at a time in fs."""
Direction = Sequence[float | int] | np.ndarray
"""Cartesian components of a vector of any length except zero."""

ALONG_Z = (0.0, 0.0, 1.0)


def constant(amplitude: float, direction: Direction = ALONG_Z) -> Protocol:
    """Make a field that does not change, `E(t) = A n`.

    Args:
        amplitude: A in V/Å.
        direction: Direction of the unit vector n.
    """
    field = _require_finite(amplitude, "an amplitude", "V/Å") * unit_vector(direction)
    return lambda _time: field.copy()


def sine(amplitude: float, period: float, direction: Direction = ALONG_Z) -> Protocol:
    """Make a sinusoidal field, `E(t) = A sin(2 pi t / T) n`.

    Args:
        amplitude: A in V/Å.
        period: T in fs.
        direction: Direction of the unit vector n.
    """
    peak, rate = _peak_field(amplitude, direction), 2 * math.pi / _require_positive(period, "a period")
    return lambda time: math.sin(rate * time) * peak


def triangle(amplitude: float, period: float, direction: Direction = ALONG_Z) -> Protocol:
    """Make a triangular field: straight lines from 0 at t = 0 to A at T/4, -A at 3T/4, 0 at T, and so on.

    Its rate |dE/dt| is constant.

    Args:
        amplitude: A in V/Å.
        period: T in fs.
        direction: Direction of positive fields.
    """
    peak, duration = _peak_field(amplitude, direction), _require_positive(period, "a period")

    def field(time: float) -> Float[np.ndarray, "3"]:
        phase = (time / duration + 0.25) % 1.0
        return (1.0 - 4.0 * abs(phase - 0.5)) * peak

    return field


def steps(amplitudes: Sequence[float | int], duration: float, direction: Direction = ALONG_Z) -> Protocol:
    """Make a field that has each amplitude in turn for the same time, and keeps the last one.

    Args:
        amplitudes: Amplitudes in V/Å.
        duration: Duration of each step in fs. Step k lasts from `k duration` up to `(k + 1) duration`.
        direction: Direction of positive fields.
    """
    if not len(amplitudes):
        raise InputError("a field protocol without steps; give at least one amplitude")
    values = [_require_finite(value, "an amplitude", "V/Å") for value in amplitudes]
    along, each = unit_vector(direction), _require_positive(duration, "a duration")

    def field(time: float) -> Float[np.ndarray, "3"]:
        return values[min(max(math.floor(time / each), 0), len(values) - 1)] * along

    return field


def unit_vector(direction: Direction) -> Float[np.ndarray, "3"]:
    """Return the vector of length 1 along a direction.

    Raises:
        InputError: The direction is not three finite numbers, or all of them are zero.
    """
    vector = np.asarray(direction, dtype=np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all() or not vector.any():
        raise InputError(f"a direction {vector.tolist()}; give three finite numbers that are not all zero")
    return vector / np.linalg.norm(vector)


def _peak_field(amplitude: float, direction: Direction) -> Float[np.ndarray, "3"]:
    """Return the field of that amplitude (V/Å) along a direction."""
    return _require_finite(amplitude, "an amplitude", "V/Å") * unit_vector(direction)


def _require_finite(value: float, name: str, unit: str) -> float:
    """Return a number, and refuse one that is not finite."""
    if not math.isfinite(value):
        raise InputError(f"{name} of {value} {unit}; give a finite number")
    return float(value)


def _require_positive(value: float, name: str) -> float:
    """Return a time in fs, and refuse one that is not positive and finite."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} of {value} fs; give a positive number")
    return float(value)
