"""Choice of the electronic dielectric tensor: the given one, else the structure's, else the network's."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.prediction.dielectric import electronic_dielectric_tensor
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.structures import EPSILON, SOURCE, epsilon_inf, source


def choose_epsilon_inf(
    atoms: Atoms, given: float | Sequence[float | int] | np.ndarray | None, predictor: Predictor | None = None
) -> Float[np.ndarray, "3 3"]:
    """Choose the electronic (ion-clamped) dielectric tensor of a structure.

    The given numbers come first, then `info["epsilon_inf"]` of the structure, then the network.

    Args:
        atoms: The structure.
        given: One number (isotropic), three (the diagonal), six (Voigt: xx yy zz yz xz xy) or nine
            (row-major), dimensionless, in the Cartesian axes of the structure; or None.
        predictor: A model, used if it was trained with `--model.dielectric True`; its tensor is printed, and
            of a calibrated committee the standard deviations as well.

    Returns:
        The tensor, dimensionless and symmetric.

    Raises:
        InputError: There is no tensor, `given` has another count of numbers, or the tensor cannot be that of
            an insulator.
    """
    if given is not None:
        return _tensor_of(np.asarray(given, dtype=np.float64).ravel(), atoms)
    tensor = epsilon_inf(atoms)
    if tensor is not None:
        return tensor
    if predictor is not None and predictor.config.dielectric:
        return _predict(atoms, predictor)
    raise InputError(
        f"{source(atoms)}: no electronic dielectric tensor, which screens the field of the ions and so sets "
        f"the LO-TO splitting; give --epsilon-inf, info[{EPSILON!r}] of the structure, or a network trained "
        "with --model.dielectric True, as the weights of the package are (--checkpoint shipped)"
    )


def _predict(atoms: Atoms, predictor: Predictor) -> Float[np.ndarray, "3 3"]:
    """Predict the tensor and print it, with its standard deviations if the model has any."""
    sigma = None
    if predictor.metadata.dielectric_calibration is None:
        tensor = electronic_dielectric_tensor(predictor, atoms)
    else:
        tensor, sigma = electronic_dielectric_tensor(predictor, atoms, uncertainty=True)
    text = (
        f"{source(atoms)}: electronic dielectric tensor of the network (xx yy zz yz xz xy): {_format(tensor)}"
    )
    print(text if sigma is None else f"{text}; standard deviations: {_format(sigma)}")
    return tensor


def _format(tensor: Float[np.ndarray, "3 3"]) -> str:
    """Format the six components of a symmetric tensor."""
    return " ".join(f"{value:z.3f}" for value in full_3x3_to_voigt_6_stress(tensor))


def _tensor_of(numbers: Float[np.ndarray, " numbers"], atoms: Atoms) -> Float[np.ndarray, "3 3"]:
    """Make a tensor of the given numbers, and refuse one that cannot be that of an insulator."""
    if len(numbers) not in (1, 3, 6, 9):
        raise InputError(
            f"--epsilon-inf has {len(numbers)} numbers; give 1, 3 (diagonal), 6 (xx yy zz yz xz xy) or 9"
        )
    if len(numbers) == 6:
        tensor = voigt_6_to_full_3x3_stress(numbers)
    else:
        tensor = numbers.reshape(3, 3) if len(numbers) == 9 else np.diag(np.broadcast_to(numbers, 3))
    carrier = Atoms(info={EPSILON: tensor, SOURCE: f"{source(atoms)}, with the given epsilon-inf"})
    return np.asarray(epsilon_inf(carrier))
