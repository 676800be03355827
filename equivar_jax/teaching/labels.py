"""Labels of a committee for made frames, kept where its members agree."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.prediction.members import Prediction
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.structures import with_born_effective_charges
from equivar_jax.teaching.made_frames import KINDS, MADE
from equivar_jax.uncertainty.domain import CloseAtomsWarning, without_domain_warnings

USUAL = 0.99
"""Share of the atoms of known frames whose spread is usual."""


class Labelled(NamedTuple):
    """Made frames that carry the labels of a committee, and how many were dropped."""

    frames: list[Atoms]
    largest_spread: float
    """Spread of an atom in e above which its frame was dropped."""
    counts: dict[str, dict[str, int]]
    """For each kind: frames "made", those with "close" atoms, those on which members "disagree", and
    "kept"."""

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, ready for JSON."""
        return {"largest_spread": self.largest_spread, "kinds": self.counts}


def label_frames(
    committee: Predictor, made: Sequence[Atoms], known: Sequence[Atoms], agreement: float
) -> Labelled:
    """Label frames with the mean of a committee, and drop those on which its members disagree.

    The spread of an atom is the root mean square over the nine components. A frame is dropped if an atom has
    a larger one than `agreement` times what 99 % of the atoms of known frames do not exceed, or if two atoms
    are closer than the training data allow.

    Args:
        committee: The committee, with the domain of its training data.
        made: Frames to label.
        known: Frames of the material on which the spread is usual, best of all such that are new to the
            members.
        agreement: Factor of the usual spread.
    """
    with without_domain_warnings():  # they are counted here
        usual = committee.predictions(known)
        largest = agreement * float(np.quantile(np.concatenate([spread_of_atoms(p) for p in usual]), USUAL))
        apart = [atoms for atoms in made if not _is_close(committee, atoms)]
        found = committee.predictions(apart, progress=True)
    agreed = [
        with_born_effective_charges(atoms, prediction.tensors)
        for atoms, prediction in zip(apart, found, strict=True)
        if spread_of_atoms(prediction).max() <= largest
    ]
    numbers = [Counter(atoms.info[MADE] for atoms in some) for some in (made, apart, agreed)]
    counts = {
        kind: {"made": all_, "close": all_ - far, "disagree": far - kept, "kept": kept}
        for kind in KINDS
        for all_, far, kept in [[number[kind] for number in numbers]]
    }
    return Labelled(agreed, largest, counts)


def spread_of_atoms(prediction: Prediction) -> Float[np.ndarray, " atoms"]:
    """Return the spread of each atom over the members in e: the root mean square over its components."""
    if prediction.spread is None:
        raise ValueError("a single network has no spread")
    return np.sqrt(np.square(prediction.spread).mean(axis=(1, 2)))


def _is_close(committee: Predictor, atoms: Atoms) -> bool:
    """Tell whether two atoms are closer than the training data allow."""
    return any(isinstance(remark, CloseAtomsWarning) for remark in committee.prepare(atoms)[1])


def describe_labels(numbers: dict[str, Any]) -> str:
    """Say in one line how many frames were made, dropped and kept, from `Labelled.to_dict`."""
    kinds = numbers["kinds"]
    total: Counter[str] = Counter()
    for counts in kinds.values():
        total.update(counts)
    kept = ", ".join(f"{c['kept']:,} of {c['made']:,} {kind}" for kind, c in kinds.items() if c["made"])
    return (
        f"{total['kept']:,} of {total['made']:,} made frames kept ({kept}); dropped: {total['disagree']:,} "
        f"where members disagree by more than {numbers['largest_spread']:.2g} e on an atom, "
        f"{total['close']:,} with atoms too close"
    )
