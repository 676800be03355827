"""Old places of public names, which still work for one minor release, with a warning.

The folder `old_places` has a module for each old module that is gone; it looks names up in the table below.
The packages `equivar_jax` and `equivar_jax.response` have that folder at the end of their search path.
"""

import functools
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any

FORWARDED = {
    "equivar_jax.batch": ("equivar_jax.graphs", ("Batch", "Sample", "collate", "graph_of")),
    "equivar_jax.calculator": ("equivar_jax.calculators", ("EquivarCalculator",)),
    "equivar_jax.cross_validate": ("equivar_jax.folds", ("cross_validate", "fold_folder")),
    "equivar_jax.dielectric": (
        "equivar_jax.prediction",
        ("dielectric_tensors", "electronic_dielectric_tensor"),
    ),
    "equivar_jax.field": ("equivar_jax.calculators", ("FieldCalculator",)),
    "equivar_jax.model": (
        "equivar_jax.network",
        ("Equivar", "born_effective_charges", "count_parameters", "displace"),
    ),
    "equivar_jax.response.moving_charges": (
        "equivar_jax.response.dynamics",
        ("FixedCharges", "NetworkCharges", "fixed_charges", "network_charges"),
    ),
    "equivar_jax.response.system": (
        "equivar_jax.response.dynamics",
        ("System", "from_energy", "make_system"),
    ),
    "equivar_jax.response.verlet": (
        "equivar_jax.response.dynamics",
        ("Observables", "State", "simulate", "start"),
    ),
}
"""For each old module: the package that has its public names now, and these names."""


def forward(old: str) -> Callable[[str], Any]:
    """Make the `__getattr__` of an old module.

    Args:
        old: Name of the old module, a key of `FORWARDED`.

    Returns:
        A function that returns the object of a given name from its new place. It issues a
        `DeprecationWarning` that names both places, and raises `AttributeError` for names that are not in the
        table.
    """
    return functools.partial(_look_up, old)


def _look_up(old: str, name: str) -> Any:
    new, names = FORWARDED[old]
    if name not in names:
        raise AttributeError(f"module {old!r} has no attribute {name!r}; it has moved to {new!r}")
    warnings.warn(
        f"{old}.{name} has moved to {new}.{name}; the old place will be removed in the next minor version",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(import_module(new), name)
