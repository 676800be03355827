"""Screening of many crystals by their Born effective charges."""

from equivar_jax.response.screening.measures import Known, charge_columns, structure_columns
from equivar_jax.response.screening.nominal import nominal_charges
from equivar_jax.response.screening.ranking import rank_rows
from equivar_jax.response.screening.screen import screen

__all__ = ["Known", "charge_columns", "nominal_charges", "rank_rows", "screen", "structure_columns"]
