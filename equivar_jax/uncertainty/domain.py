"""The domain of the training data of a model, and warnings for structures outside it.

The domain has three parts, since a prediction can be wrong unnoticed in three ways: how often each element
occurred, how close each two elements came, and how far the members of a committee were apart on the
validation data.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float, Int

from equivar_jax.graphs.batch import Sample
from equivar_jax.structures import source

if TYPE_CHECKING:  # jraph imports JAX
    import jraph

FEW_STRUCTURES = 5
"""An element in fewer structures than this is rare: it was hardly learned."""
CLOSEST = 0.9
"""Smallest distance without a warning, relative to the shortest one of the two elements in training."""
CLOSEST_UNSEEN = 0.6
"""The same relative to the sum of covalent radii, for pairs of elements that training did not have."""
_SPECIES = len(chemical_symbols)


class DomainWarning(UserWarning):
    """A structure is outside what the model was trained on."""


class RareElementWarning(DomainWarning):
    """An element was in very few structures of the training data."""


class CloseAtomsWarning(DomainWarning):
    """Atoms are closer than atoms of their elements were in the training data."""


class UncertainWarning(DomainWarning):
    """The uncertainty of an atom is larger than almost all of those on the validation data."""


@dataclass(frozen=True)
class Domain:
    """The training data in a few numbers. Pairs of elements are named "O-Ti", the lighter one first."""

    structures: dict[str, int]
    """Number of structures that contain each element."""
    atoms: dict[str, int]
    """Number of atoms of each element."""
    shortest: dict[str, float]
    """Shortest distance in Å of each pair of elements that came within the cutoff."""
    largest_sigma: float | None = None
    """99th percentile over the atoms of the validation data of the mean uncertainty of an atom, in e; None if
    the uncertainties are not calibrated."""

    def structure_warnings(self, atoms: Atoms, graph: "jraph.GraphsTuple") -> list[DomainWarning]:
        """Return the warnings for a structure that do not need a prediction: rare elements, close atoms.

        Args:
            atoms: The structure.
            graph: Its graph, as `build_graph` makes it.
        """
        return [*self._rare_element_warnings(atoms), *self._close_atom_warnings(atoms, graph)]

    def uncertainty_warnings(
        self, atoms: Atoms, sigma: Float[np.ndarray, "atoms 3 3"]
    ) -> list[DomainWarning]:
        """Return a warning if atoms of a structure are less certain than those of the validation data.

        Args:
            atoms: The structure.
            sigma: Standard deviations of its predicted tensors, in e.
        """
        of_atom = sigma.mean(axis=(1, 2))
        if self.largest_sigma is None or not (outside := of_atom > self.largest_sigma).any():
            return []
        message = (
            f"{source(atoms)}: {outside.sum()} of {len(atoms)} atoms are less certain than 99 % of the "
            f"validation data: sigma up to {of_atom.max():.3g} e, against {self.largest_sigma:.3g} e there"
        )
        return [UncertainWarning(message)]

    def _rare_element_warnings(self, atoms: Atoms) -> list[DomainWarning]:
        seen = {symbol: self.structures.get(symbol, 0) for symbol in sorted(set(atoms.symbols))}
        rare = [f"{symbol} ({count})" for symbol, count in seen.items() if 0 < count < FEW_STRUCTURES]
        if not rare:
            return []
        message = (
            f"{source(atoms)}: elements that were in fewer than {FEW_STRUCTURES} structures of the training "
            f"data: {', '.join(rare)}"
        )
        return [RareElementWarning(message)]

    def _close_atom_warnings(self, atoms: Atoms, graph: "jraph.GraphsTuple") -> list[DomainWarning]:
        species, vectors = graph.nodes["species"], graph.edges["vectors"]
        pairs = species[graph.receivers], species[graph.senders]
        distances = np.sqrt(np.einsum("ea,ea->e", vectors, vectors))
        ratios = distances / self._allowed_distances[pairs]
        if not len(ratios) or ratios.min() >= 1.0:
            return []
        worst = int(np.argmin(ratios))
        name = _pair_name(int(pairs[0][worst]), int(pairs[1][worst]))
        if name in self.shortest:
            known = f"never closer than {self.shortest[name]:.2f} Å in the training data"
        else:
            known = "a pair of elements that the training data did not have"
        message = (
            f"{source(atoms)}: {(ratios < 1.0).sum() // 2} pairs of atoms are too close for this model, such "
            f"as {name}, {distances[worst]:.2f} Å, {known}"
        )
        return [CloseAtomsWarning(message)]

    @functools.cached_property
    def _allowed_distances(self) -> Float[np.ndarray, "species species"]:
        """Shortest distance of two elements without a warning, in Å, indexed by their atomic numbers."""
        radii = np.asarray(covalent_radii)[:_SPECIES]
        allowed = CLOSEST_UNSEEN * (radii[:, None] + radii)
        for name, distance in self.shortest.items():
            first, second = (chemical_symbols.index(symbol) for symbol in name.split("-"))
            allowed[first, second] = allowed[second, first] = CLOSEST * distance
        return allowed


def domain_of(samples: Iterable[Sample]) -> Domain:
    """Measure the domain of training data, without `largest_sigma`, which only a committee has."""
    structures: Counter[int] = Counter()
    atoms: Counter[int] = Counter()
    shortest = np.full((_SPECIES, _SPECIES), np.inf)
    for sample in samples:
        graph = sample.graph
        species: Int[np.ndarray, " atoms"] = np.asarray(graph.nodes["species"])
        numbers, counts = np.unique(species, return_counts=True)
        structures.update(numbers.tolist())
        atoms.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        distances = np.linalg.norm(graph.edges["vectors"], axis=1)
        np.minimum.at(shortest, (species[graph.receivers], species[graph.senders]), distances)
    pairs = [(i, j) for i, j in np.argwhere(np.isfinite(shortest)).tolist() if i <= j]
    return Domain(
        {chemical_symbols[number]: structures[number] for number in sorted(structures)},
        {chemical_symbols[number]: atoms[number] for number in sorted(atoms)},
        {_pair_name(i, j): float(min(shortest[i, j], shortest[j, i])) for i, j in pairs},
    )


def gather_warnings(remarks: Sequence[DomainWarning], structures: int) -> list[DomainWarning]:
    """Reduce warnings to one of each kind: the first, with the number of other structures that have the like.

    Args:
        remarks: The warnings, at most one of a kind for each structure.
        structures: Number of structures.
    """
    kinds: defaultdict[type[DomainWarning], list[DomainWarning]] = defaultdict(list)
    for remark in remarks:
        kinds[type(remark)].append(remark)
    return [
        first if not more else kind(f"{first}; and the like in {len(more)} more of {structures} structures")
        for kind, (first, *more) in kinds.items()
    ]


def _pair_name(first: int, second: int) -> str:
    """Return the name of a pair of elements, such as "O-Ti", from their atomic numbers."""
    return "-".join(chemical_symbols[number] for number in sorted((first, second)))
