"""How sure a model can be: calibrated uncertainties, and the domain of its training data.

A checkpoint stores both. Nothing here depends on a network.
"""

from equivar_jax.uncertainty.calibration import Calibration, calibrate, summarise_coverage
from equivar_jax.uncertainty.domain import (
    CloseAtomsWarning,
    DensityWarning,
    Domain,
    DomainWarning,
    LikelyMetalWarning,
    RareElementWarning,
    UncertainWarning,
    UnfamiliarAtomsWarning,
    domain_of,
)
from equivar_jax.uncertainty.features import FeatureDomain, LastFeatures, feature_domain
from equivar_jax.uncertainty.metals import metal_probability
from equivar_jax.uncertainty.residuals import Residuals

__all__ = [
    "Calibration",
    "CloseAtomsWarning",
    "DensityWarning",
    "Domain",
    "DomainWarning",
    "FeatureDomain",
    "LastFeatures",
    "LikelyMetalWarning",
    "RareElementWarning",
    "Residuals",
    "UncertainWarning",
    "UnfamiliarAtomsWarning",
    "calibrate",
    "domain_of",
    "feature_domain",
    "metal_probability",
    "summarise_coverage",
]
