"""Born effective charges of a structure, whatever they come from: a network, a calculator, labels."""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.structures import BEC, check_tensors

Charges = BaseCalculator | Callable[[Atoms], np.ndarray]
"""A calculator with `born_effective_charges`, or a function of atoms such as `load(RUN).predict` or
`structures.labels_of`: Z in e, [atom, field, displacement]."""


def function_of(charges: Charges) -> Callable[[Atoms], Float[np.ndarray, "atoms 3 3"]]:
    """Charges as a function of atoms that gives a new array each time: float64, (N, 3, 3), all finite.

    Raises:
        InputError: neither a calculator with such a property nor a function; from the function that is
            returned, what `check_tensors` refuses.
    """
    if isinstance(charges, BaseCalculator) and BEC in charges.implemented_properties:
        return lambda atoms: check_tensors(charges.get_property(BEC, atoms), atoms).copy()
    if callable(charges):
        return lambda atoms: check_tensors(charges(atoms), atoms).copy()
    raise InputError(
        f"no {BEC} from {type(charges).__name__}; give a calculator that has them, such as "
        "EquivarCalculator(model), or a function of atoms"
    )
