"""The electronic dielectric tensor of a crystal, from a network with a readout for it.

phonopy needs this tensor beside the Born effective charges for the non-analytical correction. Where a DFPT
value exists, use that one: the network's is for structures without.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.graph import find_neighbours
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.structures import source


def electronic_dielectric_tensor(predictor: Predictor, atoms: Atoms) -> Float[np.ndarray, "3 3"]:
    """Predict the high-frequency, ion-clamped dielectric tensor eps_inf of one crystal.

    Args:
        predictor: A loaded model that was trained with `--model.dielectric True`.
        atoms: A crystal, periodic in all three directions.

    Returns:
        Dimensionless, symmetric, float64; no eigenvalue is below 1.

    Raises:
        InputError: the model has no such readout, it has never seen an element of the structure, or the
            structure is not periodic in all three directions.
    """
    unseen = sorted(set(atoms.get_chemical_symbols()) - set(_known_symbols(predictor)))
    if unseen:
        raise InputError(
            f"{source(atoms)}: the model has never seen {', '.join(unseen)}; it knows "
            f"{' '.join(_known_symbols(predictor))}; train on such data"
        )
    return dielectric_tensors(predictor, [atoms])[0]


def dielectric_tensors(
    predictor: Predictor, structures: Sequence[Atoms]
) -> Float[np.ndarray, "structures 3 3"]:
    """Predict the electronic dielectric tensors of many crystals, in batches.

    Elements that the model has never seen are not refused, unlike in `electronic_dielectric_tensor`.

    Args:
        predictor: A loaded model that was trained with `--model.dielectric True`.
        structures: Crystals, periodic in all three directions.

    Returns:
        Dimensionless, symmetric, float64; no eigenvalue is below 1.

    Raises:
        InputError: the model has no such readout, or a structure is not periodic in all three directions.
    """
    config = predictor.config
    if not config.dielectric:
        raise InputError(
            "the model has no readout for the electronic dielectric tensor; train one with "
            "--model.dielectric True on structures with info['epsilon_inf']"
        )
    for atoms in structures:
        if not atoms.pbc.all():
            raise InputError(
                f"{source(atoms)}: a dielectric tensor needs a crystal, periodic in three directions; "
                "set its cell and pbc"
            )
    samples = [Sample(find_neighbours(atoms, config.cutoff), None) for atoms in structures]
    return predictor.dielectric_of_samples(samples)


def _known_symbols(predictor: Predictor) -> list[str]:
    """Return the symbols of the elements that the model was trained on."""
    return [chemical_symbols[number] for number in predictor.metadata.elements]
