"""A warning of fields that no crystal stands, which are mostly kV/cm taken for V/Å."""

import warnings

import numpy as np

STRONGEST = 1.0
"""In V/Å. The best thin insulators break down at a tenth of it."""
_KILOVOLT_PER_CM = 1e5
"""1 V/Å in kV/cm."""


class StrongFieldWarning(UserWarning):
    """Warns of an electric field stronger than 1 V/Å."""


def warn_of_strong_field(field: np.ndarray, what: str) -> bool:
    """Warn if a field is stronger than `STRONGEST`; return whether it is.

    Args:
        field: Components in V/Å, the last axis Cartesian.
        what: Name of the field, for the message.
    """
    strength = float(np.linalg.norm(field, axis=-1).max())
    if strength > STRONGEST:
        warnings.warn(
            f"{what} of {strength:g} V/Å is {strength * _KILOVOLT_PER_CM:g} kV/cm, which no crystal stands; "
            "1 V/Å is 1e5 kV/cm, so divide kV/cm by 1e5",
            StrongFieldWarning,
            stacklevel=3,
        )
    return strength > STRONGEST
