"""Molecular dynamics in an electric field as one compiled program."""

from equivar_jax.response.dynamics.moving_charges import (
    FixedCharges,
    NetworkCharges,
    fixed_charges,
    network_charges,
)
from equivar_jax.response.dynamics.springs import Springs, springs_between
from equivar_jax.response.dynamics.system import System, from_energy, make_system
from equivar_jax.response.dynamics.verlet import Observables, State, simulate, start

__all__ = [
    "FixedCharges",
    "NetworkCharges",
    "Observables",
    "Springs",
    "State",
    "System",
    "fixed_charges",
    "from_energy",
    "make_system",
    "network_charges",
    "simulate",
    "springs_between",
    "start",
]
