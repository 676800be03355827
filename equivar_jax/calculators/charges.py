"""Born effective charges of a structure from any source: a network, a calculator, or labels."""

import functools
from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.structures import BEC, check_tensors

Charges = BaseCalculator | Callable[[Atoms], np.ndarray]
"""A source of Z in e, [atom, field, displacement]: a calculator with the property `born_effective_charges`,
or a function of atoms such as `load(RUN).predict` or `structures.labels_of`."""


def make_charge_function(charges: Charges) -> Callable[[Atoms], Float[np.ndarray, "atoms 3 3"]]:
    """Make a function of atoms that returns their Born effective charges.

    Returns:
        A function that returns a new array at each call: float64 (N, 3, 3), all finite. It raises an
        `InputError` for tensors that `check_tensors` refuses. It can be pickled if `charges` can.

    Raises:
        InputError: `charges` is neither a calculator with such a property nor a function.
    """
    if isinstance(charges, BaseCalculator) and BEC in charges.implemented_properties:
        return functools.partial(_charges_of_calculator, charges)
    if callable(charges):
        return functools.partial(_charges_of_function, charges)
    raise InputError(
        f"no {BEC} from {type(charges).__name__}; give a calculator that has them, such as "
        "EquivarCalculator(model), or a function of atoms"
    )


def _charges_of_calculator(calculator: BaseCalculator, atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
    return check_tensors(calculator.get_property(BEC, atoms), atoms).copy()


def _charges_of_function(
    function: Callable[[Atoms], np.ndarray], atoms: Atoms
) -> Float[np.ndarray, "atoms 3 3"]:
    return check_tensors(function(atoms), atoms).copy()
