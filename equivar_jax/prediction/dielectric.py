"""The electronic dielectric tensor of a crystal, from a network with a readout for it.

phonopy needs this tensor beside the Born effective charges for the non-analytical correction. Where a DFPT
value exists, use that one: the network's is for structures without.

The readout is `1 + (1 + S)²` with a symmetric S (`network.model`), so that the tensor of each network, and
the mean over a committee, is symmetric and has no eigenvalue below 1, that of vacuum. How far the members are
apart is calibrated as it is for Born effective charges (see `uncertainty.calibration`), with crystals in the
place of atoms.
"""

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.graph import find_neighbours
from equivar_jax.prediction.abilities import require_readout
from equivar_jax.prediction.trained_model import TrainedModel
from equivar_jax.structures import source
from equivar_jax.uncertainty.residuals import Residuals, pool_spread

Tensors = Float[np.ndarray, "structures 3 3"]
NEGLIGIBLE = 1e-4
"""Components and spreads below this share of the mean eigenvalue are zero by symmetry, but for rounding."""


@overload
def electronic_dielectric_tensor(
    predictor: TrainedModel, atoms: Atoms, *, uncertainty: Literal[False] = False
) -> Float[np.ndarray, "3 3"]: ...


@overload
def electronic_dielectric_tensor(
    predictor: TrainedModel, atoms: Atoms, *, uncertainty: Literal[True]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 3"]]: ...


def electronic_dielectric_tensor(predictor, atoms, *, uncertainty=False):
    """Predict the high-frequency, ion-clamped dielectric tensor eps_inf of one crystal.

    Args:
        predictor: A loaded model that was trained with `--model.dielectric True`.
        atoms: A crystal, periodic in all three directions.
        uncertainty: Return the tensor and the standard deviation of each component.

    Returns:
        Dimensionless, symmetric, float64; no eigenvalue is below 1.

    Raises:
        InputError: the model has no such readout, it has never seen an element of the structure, the
            structure is not periodic in all three directions, or the uncertainty is asked for without a
            committee that was calibrated for it.
    """
    unseen = sorted(set(atoms.get_chemical_symbols()) - set(_known_symbols(predictor)))
    if unseen:
        raise InputError(
            f"{source(atoms)}: the model has never seen {', '.join(unseen)}; it knows "
            f"{' '.join(_known_symbols(predictor))}; train on such data"
        )
    found = dielectric_tensors(predictor, [atoms], uncertainty=uncertainty)
    return (found[0][0], found[1][0]) if uncertainty else found[0]


@overload
def dielectric_tensors(
    predictor: TrainedModel, structures: Sequence[Atoms], *, uncertainty: Literal[False] = False
) -> Tensors: ...


@overload
def dielectric_tensors(
    predictor: TrainedModel, structures: Sequence[Atoms], *, uncertainty: Literal[True]
) -> tuple[Tensors, Tensors]: ...


def dielectric_tensors(predictor, structures, *, uncertainty=False):
    """Predict the electronic dielectric tensors of many crystals, in batches.

    Elements that the model has never seen are not refused, unlike in `electronic_dielectric_tensor`.

    Args:
        predictor: A loaded model that was trained with `--model.dielectric True`.
        structures: Crystals, periodic in all three directions.
        uncertainty: Return the tensors and the standard deviation of each component.

    Returns:
        Dimensionless, symmetric, float64; no eigenvalue is below 1. Of a committee the mean.

    Raises:
        InputError: the model has no such readout, a structure is not periodic in all three directions, or the
            uncertainty is asked for without a committee that was calibrated for it.
    """
    calibration = predictor.dielectric_calibration if uncertainty else None  # before anything is computed
    of_members = dielectric_of_members(predictor, structures)
    mean = of_members.mean(axis=0)
    return mean if calibration is None else (mean, calibration.sigma(spread_of(of_members), mean))


def dielectric_of_members(
    predictor: TrainedModel, structures: Sequence[Atoms]
) -> Float[np.ndarray, "members structures 3 3"]:
    """Predict the electronic dielectric tensors of many crystals by each network of the model.

    Raises:
        InputError: as `dielectric_tensors`.
    """
    require_readout(predictor.config)
    for atoms in structures:
        if not atoms.pbc.all():
            raise InputError(
                f"{source(atoms)}: a dielectric tensor needs a crystal, periodic in three directions; "
                "set its cell and pbc"
            )
    samples = [Sample(find_neighbours(atoms, predictor.config.cutoff), None) for atoms in structures]
    if not samples:
        return np.zeros((predictor.members, 0, 3, 3))
    return predictor.dielectric_of_members(samples)


def spread_of(of_members: Float[np.ndarray, "members structures 3 3"]) -> Tensors:
    """Compute the spread of each component over the members, pooled (see `pool_spread`)."""
    return pool_spread(of_members.std(axis=0, ddof=1))


def dielectric_residuals(
    of_members: Float[np.ndarray, "members structures 3 3"], labels: Tensors
) -> Residuals:
    """Compare the tensors of a committee with labels, for `calibrate`: a crystal in the place of an atom.

    Of the components that symmetry makes equal, xy and yx, one is counted, and none that it makes zero.
    """
    mean, spread = of_members.mean(axis=0), spread_of(of_members)
    smallest = NEGLIGIBLE * np.trace(mean, axis1=1, axis2=2)[:, None, None] / 3
    counted = ((spread > smallest) | (np.abs(mean) > smallest)) & np.triu(np.ones((3, 3), bool))
    return Residuals(mean - labels, spread, counted, np.arange(len(labels)), mean)


def _known_symbols(predictor: TrainedModel) -> list[str]:
    """Return the symbols of the elements that the model was trained on."""
    return [chemical_symbols[number] for number in predictor.metadata.elements]
