"""The domain of the training data of a model, and warnings for structures outside it.

A prediction can be wrong unnoticed in several ways, and the domain has a part for each: how often each
element occurred, how close each two elements came, how densely the neighbours of each element stood, and how
far the members of a committee were apart on the validation data. How far the features of an atom are from
those of the training data is measured by `features`.
"""

import contextlib
import functools
import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from jaxtyping import Float, Int

from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.graph import AnyGraph
from equivar_jax.structures import source
from equivar_jax.uncertainty.metals import LIKELY, metal_probability

FEW_STRUCTURES = 5
"""An element in fewer structures than this is rare: it was hardly learned."""
CLOSEST = 0.9
"""Smallest distance without a warning, relative to the shortest one of the two elements in training."""
DENSITY_MARGIN = 0.03
"""By which share a weighted number of neighbours may be outside the range of the training data."""
CLOSEST_UNSEEN = 0.6
"""The same relative to the sum of covalent radii, for pairs of elements that training did not have."""
FAR = 1.6
"""A distance from the training data (see `features`), or a sigma, brings a warning if it is more than this
many times what 99 % of held-out atoms have; chosen on quartz (`benchmarks/domain`), so that at most 5 % of
the atoms are warned of without need."""
MANY_ELEMENTS = 20
"""A network trained on this many elements or more is for any crystal, and warns of likely metals. One of few
materials is used for those, whose user knows that they have charges."""
_NAMED = 3
_SPECIES = len(chemical_symbols)


class DomainWarning(UserWarning):
    """A structure is outside what the model was trained on.

    Args:
        message: What the user is told.
        how_far: How far it is outside; of several structures the one with the largest number is named.
    """

    def __init__(self, message: str, how_far: float = 0.0):
        super().__init__(message)
        self.how_far = how_far


class RareElementWarning(DomainWarning):
    """An element was in very few structures of the training data, or in none."""


class CloseAtomsWarning(DomainWarning):
    """Atoms are closer than atoms of their elements were in the training data."""


class DensityWarning(DomainWarning):
    """The neighbours of an atom stand more densely, or less, than those of its element in training."""


class LikelyMetalWarning(DomainWarning):
    """The crystal is likely metallic, and has no Born effective charges then."""


class UnfamiliarAtomsWarning(DomainWarning):
    """The features of an atom are far from those of the training data."""


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
    """Mean uncertainty of an atom above which there is a warning, in e: `FAR` times the 99th percentile over
    the atoms of the validation data (earlier versions: that percentile); None if it is not calibrated."""
    neighbours: dict[str, list[float]] = field(default_factory=dict)
    """Smallest and largest weighted number of neighbours of an atom of each element, `sum (1 - r²/R²)²` over
    the neighbours at r within the cutoff R."""
    cutoff: float | None = None
    """R in Å; None where `neighbours` is not known."""

    def structure_warnings(
        self, atoms: Atoms, graph: AnyGraph, unseen: Collection[int] = ()
    ) -> list[DomainWarning]:
        """Return the warnings that do not need a prediction: rare elements, close atoms, density, metals.

        Args:
            atoms: The structure.
            graph: Its graph, as `build_graph` makes it, with the cutoff of the network.
            unseen: Atomic numbers of which the user has been warned already.
        """
        species, vectors = graph.nodes["species"], graph.edges["vectors"]
        squares = np.einsum("ea,ea->e", vectors, vectors)
        return [
            *self._rare_element_warnings(atoms, unseen),
            *self._close_atom_warnings(atoms, graph, squares),
            *self._density_warnings(atoms, species, graph.receivers, squares),
            *self._metal_warnings(atoms),
        ]

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
            f"validation data: sigma up to {of_atom.max():.3g} e; up to {self.largest_sigma:.3g} e are usual"
        )
        return [UncertainWarning(message, float(of_atom.max() / self.largest_sigma))]

    def _rare_element_warnings(self, atoms: Atoms, unseen: Collection[int]) -> list[DomainWarning]:
        numbers = set(atoms.numbers.tolist()) - {*unseen}
        symbols = sorted(chemical_symbols[number] for number in numbers)
        seen = {symbol: self.structures.get(symbol, 0) for symbol in symbols}
        rare = [f"{symbol} ({count})" for symbol, count in seen.items() if count < self._few]
        if not rare:
            return []
        message = (
            f"{source(atoms)}: elements that were in fewer than {self._few} structures of the training "
            f"data: {', '.join(rare)}"
        )
        return [RareElementWarning(message, -float(min(seen.values())))]

    def _metal_warnings(self, atoms: Atoms) -> list[DomainWarning]:
        if len(self.structures) < MANY_ELEMENTS or not atoms.pbc.any():
            return []
        probability = metal_probability(atoms)
        if probability < LIKELY:
            return []
        message = (
            f"{source(atoms)}: {atoms.symbols.formula.reduce()[0]} is likely metallic (probability "
            f"{probability:.2f}, from its composition): if it has no gap, it has no Born effective charges, "
            "and these tensors mean nothing"
        )
        return [LikelyMetalWarning(message, probability)]

    @functools.cached_property
    def _few(self) -> int:
        """Structures that make an element common: as many as the commonest has, if those are few."""
        return min(FEW_STRUCTURES, max(self.structures.values(), default=1))

    def _close_atom_warnings(
        self, atoms: Atoms, graph: AnyGraph, squares: Float[np.ndarray, " edges"]
    ) -> list[DomainWarning]:
        species = graph.nodes["species"]
        pairs = species[graph.receivers], species[graph.senders]
        distances = np.sqrt(squares)
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
        return [CloseAtomsWarning(message, 1 / float(ratios[worst]))]

    def _density_warnings(
        self,
        atoms: Atoms,
        species: Int[np.ndarray, " atoms"],
        receivers: Int[np.ndarray, " edges"],
        squares: Float[np.ndarray, " edges"],
    ) -> list[DomainWarning]:
        if self.cutoff is None:
            return []
        found = weigh_neighbours(len(species), receivers, squares, self.cutoff)
        low, high = self._densities
        # An atom without any neighbour has a warning of its own.
        outside = (found > high[species]) | ((found < low[species]) & (found > 0))
        if not outside.any():
            return []
        excess = outside * np.maximum(found / high[species], low[species] / np.maximum(found, 1e-9))
        worst = int(np.argmax(excess))
        name = chemical_symbols[species[worst]]
        known = self.neighbours[name]
        message = (
            f"{source(atoms)}: {outside.sum()} of {len(atoms)} atoms have more or fewer neighbours than the "
            f"training data, such as {name} (atom {worst}): {found[worst]:.2f}, weighted by distance, "
            f"against {known[0]:.2f} to {known[1]:.2f} there"
        )
        return [DensityWarning(message, float(excess[worst]))]

    @functools.cached_property
    def _densities(self) -> tuple[Float[np.ndarray, " species"], Float[np.ndarray, " species"]]:
        """Weighted numbers of neighbours without a warning, by atomic number; any, of an unseen element."""
        low, high = np.zeros(_SPECIES), np.full(_SPECIES, np.inf)
        for symbol, (smallest, largest) in self.neighbours.items():
            number = chemical_symbols.index(symbol)
            low[number] = (1 - DENSITY_MARGIN) * smallest
            high[number] = max((1 + DENSITY_MARGIN) * largest, 1e-9)
        return low, high

    @functools.cached_property
    def _allowed_distances(self) -> Float[np.ndarray, "species species"]:
        """Shortest distance of two elements without a warning, in Å, indexed by their atomic numbers."""
        radii = np.asarray(covalent_radii)[:_SPECIES]
        allowed = CLOSEST_UNSEEN * (radii[:, None] + radii)
        for name, distance in self.shortest.items():
            first, second = (chemical_symbols.index(symbol) for symbol in name.split("-"))
            allowed[first, second] = allowed[second, first] = CLOSEST * distance
        return allowed


@contextlib.contextmanager
def without_domain_warnings() -> Iterator[None]:
    """Emit no `DomainWarning` within: of the data that say what is usual, or where numbers say it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        yield


def unfamiliar_atoms_warnings(
    atoms: Atoms, distances: Float[np.ndarray, " atoms"]
) -> list[UnfamiliarAtomsWarning]:
    """Return a warning if the features of atoms are far from those of the training data.

    Args:
        atoms: The structure.
        distances: See `features`.
    """
    if distances.max() <= FAR:
        return []
    # Elements that training did not have are infinitely far, and are warned of by their names.
    outside = np.flatnonzero((distances > FAR) & np.isfinite(distances))
    if not len(outside):
        return []
    order = outside[np.argsort(-distances[outside], kind="stable")]
    named = ", ".join(
        f"{chemical_symbols[atoms.numbers[k]]} (atom {k}) {distances[k]:.1f}" for k in order[:_NAMED].tolist()
    )
    more = ", ..." if len(order) > _NAMED else ""
    message = (
        f"{source(atoms)}: {len(outside)} of {len(atoms)} atoms are unlike those of the training data: "
        f"their features are more than {FAR:g} times as far from it as those of 99 % of held-out atoms: "
        f"{named}{more}"
    )
    return [UnfamiliarAtomsWarning(message, float(distances[order[0]]))]


def weigh_neighbours(
    atoms: int, receivers: Int[np.ndarray, " edges"], squares: Float[np.ndarray, " edges"], cutoff: float
) -> Float[np.ndarray, " atoms"]:
    """Compute the number of neighbours of each atom, each weighted by its distance: `sum (1 - r²/R²)²`.

    Args:
        atoms: Number of atoms.
        receivers: The atom that an edge belongs to.
        squares: Squared lengths of the edges, in Å².
        cutoff: R in Å; no edge is longer.
    """
    weights = np.square(1.0 - squares / cutoff**2)
    return np.bincount(receivers, weights, atoms).astype(np.float64)  # of no edges NumPy counts integers


def domain_of(samples: Iterable[Sample], cutoff: float | None = None) -> Domain:
    """Measure the domain of training data, without `largest_sigma`, which only a committee has.

    Args:
        samples: The training part.
        cutoff: Of its graphs, in Å; without it the numbers of neighbours are left out.
    """
    low, high = np.full(_SPECIES, np.inf), np.zeros(_SPECIES)
    structures: Counter[int] = Counter()
    atoms: Counter[int] = Counter()
    shortest = np.full((_SPECIES, _SPECIES), np.inf)
    for sample in samples:
        graph = sample.graph
        species: Int[np.ndarray, " atoms"] = np.asarray(graph.nodes["species"])
        numbers, counts = np.unique(species, return_counts=True)
        structures.update(numbers.tolist())
        atoms.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        squares = np.square(graph.edges["vectors"]).sum(axis=1)
        np.minimum.at(shortest, (species[graph.receivers], species[graph.senders]), np.sqrt(squares))
        if cutoff is not None:
            found = weigh_neighbours(len(species), graph.receivers, squares, cutoff)
            np.minimum.at(low, species, found)
            np.maximum.at(high, species, found)
    pairs = [(i, j) for i, j in np.argwhere(np.isfinite(shortest)).tolist() if i <= j]
    return Domain(
        {chemical_symbols[number]: structures[number] for number in sorted(structures)},
        {chemical_symbols[number]: atoms[number] for number in sorted(atoms)},
        {_pair_name(i, j): float(min(shortest[i, j], shortest[j, i])) for i, j in pairs},
        neighbours={
            chemical_symbols[number]: [float(low[number]), float(high[number])]
            for number in sorted(structures)
            if cutoff is not None
        },
        cutoff=cutoff,
    )


def gather_warnings(remarks: Sequence[DomainWarning], structures: int) -> list[DomainWarning]:
    """Reduce warnings to one of each kind, with the number of other structures that have the like.

    Of several the one that is farthest outside is kept, of equals the first.

    Args:
        remarks: The warnings, at most one of a kind for each structure.
        structures: Number of structures.
    """
    kinds: defaultdict[type[DomainWarning], list[DomainWarning]] = defaultdict(list)
    for remark in remarks:
        kinds[type(remark)].append(remark)
    found = []
    for kind, several in kinds.items():
        worst, more = max(several, key=lambda remark: remark.how_far), len(several) - 1
        words = f"{worst}; and the like in {more} more of {structures} structures" if more else str(worst)
        found.append(kind(words, worst.how_far))
    return found


def _pair_name(first: int, second: int) -> str:
    """Return the name of a pair of elements, such as "O-Ti", from their atomic numbers."""
    return "-".join(chemical_symbols[number] for number in sorted((first, second)))
