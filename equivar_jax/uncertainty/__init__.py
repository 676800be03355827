"""How sure a model can be: calibrated uncertainties, and the domain of its training data.

A checkpoint stores both. Nothing here depends on a network.
"""

from equivar_jax.uncertainty.calibration import Calibration, Residuals, calibrate, summarise_coverage
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
    "domain_of",
    "summarise_coverage",
]
