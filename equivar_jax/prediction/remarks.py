"""What a model warns of: elements and surroundings that are not those of its training data.

The functions collect warnings without emitting them: a call with many structures gathers those of a kind.
"""

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from equivar_jax.errors import InputError
from equivar_jax.graphs.graph import AnyGraph, neighbour_counts
from equivar_jax.prediction.members import Prediction
from equivar_jax.structures import source
from equivar_jax.uncertainty.domain import DomainWarning, unfamiliar_atoms_warnings
from equivar_jax.weights.metadata import Metadata


class IsolatedAtomWarning(UserWarning):
    """An atom has no neighbour within the cutoff."""


class UnseenElementWarning(UserWarning):
    """An element did not occur in the training data, so its predicted tensors are meaningless."""


def element_warnings(atoms: Atoms, known: Metadata, allow_unseen: bool) -> list[UserWarning]:
    """Collect a warning about elements that did not occur in the training data.

    Args:
        atoms: The structure.
        known: What the checkpoint knows of its network and training data.
        allow_unseen: Only warn about such elements.

    Raises:
        InputError: there are such elements, and either `allow_unseen` is false or the network has no place
            for them.
    """
    unseen = sorted({*atoms.numbers.tolist()}.difference(known.elements))
    if not unseen:
        return []
    names = ", ".join(chemical_symbols[number] for number in unseen if number < len(chemical_symbols))
    message = f"{source(atoms)}: the model has never seen {names}"
    if not allow_unseen or unseen[-1] >= known.config.model.species:
        of_training = " ".join(chemical_symbols[number] for number in known.elements)
        raise InputError(
            f"{message}; it knows {of_training}; train on such data, or allow it (--allow-unseen)"
        )
    return [UnseenElementWarning(f"{message}; the tensors mean nothing there")]


def structure_warnings(
    atoms: Atoms, graph: AnyGraph, known: Metadata, allow_unseen: bool
) -> list[UserWarning]:
    """Collect the warnings about a structure that need no prediction.

    They are about elements that were never or rarely seen in training, atoms without a neighbour, and atoms
    closer than in the training data.

    Args:
        atoms: The structure.
        graph: Its graph, as `find_neighbours` returns it.
        known: What the checkpoint knows of its network and training data.
        allow_unseen: Only warn about elements that did not occur in the training data.

    Raises:
        InputError: as `element_warnings`.
    """
    remarks = element_warnings(atoms, known, allow_unseen)
    isolated = int(np.sum(neighbour_counts(graph) == 0))
    if isolated:
        cutoff = known.config.model.cutoff
        message = f"{source(atoms)}: {isolated} atoms have no neighbour within {cutoff} Å"
        remarks.append(IsolatedAtomWarning(message))
    if known.domain is not None:
        unseen = {*atoms.numbers.tolist()}.difference(known.elements)
        remarks += known.domain.structure_warnings(atoms, graph, unseen)
    return remarks


def prediction_warnings(atoms: Atoms, prediction: Prediction, known: Metadata) -> list[DomainWarning]:
    """Collect the warnings that need a prediction.

    Args:
        atoms: The structure.
        prediction: What the model gave for it.
        known: What the checkpoint knows of its network and training data.

    Returns:
        A warning if the features of atoms are far from those of the training data, where these are known;
        and one if atoms are less certain than those of the validation data, from a calibrated committee that
        knows its domain.
    """
    remarks: list[DomainWarning] = []
    if prediction.distances is not None:
        remarks += unfamiliar_atoms_warnings(atoms, prediction.distances)
    if known.domain is not None and known.calibration is not None and prediction.spread is not None:
        sigma = prediction.sigma(known.calibration, atoms.numbers)
        remarks += known.domain.uncertainty_warnings(atoms, sigma)
    return remarks
