"""What a checkpoint remembers to say how sure it is; knows no network."""

from equivar_jax.uncertainty.calibration import Calibration, Residuals, calibrate, covered
from equivar_jax.uncertainty.domain import (
    CloseAtomsWarning,
    Domain,
    DomainWarning,
    RareElementWarning,
    UncertainWarning,
    domain_of,
)

__all__ = [
    "Calibration",
    "CloseAtomsWarning",
    "Domain",
    "DomainWarning",
    "RareElementWarning",
    "Residuals",
    "UncertainWarning",
    "calibrate",
    "covered",
    "domain_of",
]
