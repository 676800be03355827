"""The same crystal twice, or nearly, within one set and across training and validation.

The fingerprints of the structures of one composition go into a k-d tree, so only near ones are compared.

Where the tolerances come from: of the pairs with one composition among 1,370 DFPT crystals nine differ by
0.0005 Å and 0.008 e or less (the same crystal in another cell, or relaxed twice), two by 0.0014 Å and
0.009 e, and the next ones, polytypes with labels of their own, by 0.007 Å or more. Frames of two molecular
dynamics runs at 300 K differ by 0.009 Å (the first two of BaTiO3) and otherwise by 0.08 Å or more.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from scipy.spatial import cKDTree

from equivar_jax.config.schema import HygieneConfig
from equivar_jax.hygiene.findings import Finding
from equivar_jax.hygiene.fingerprints import Fingerprint


def find_duplicates(prints: Sequence[Fingerprint], config: HygieneConfig) -> list[Finding]:
    """The same or nearly the same crystal within one set.

    Returns:
        A refusal for all but the first of several equal structures, and for every one of them if their labels
        contradict each other; a remark for what is nearly the same as an earlier structure.
    """
    findings: list[Finding] = []
    for group in _group_by_composition(prints).values():
        firsts = []
        for members in _clusters(group, config.duplicate_distance):
            findings += _findings_of_copies(members, config)
            firsts.append(members[0])
        for first, *others in _clusters(firsts, config.near_duplicate_distance):
            for other in others:
                findings.append(
                    _near_duplicate_finding(other, first, _distance(other, first), "", refused=False)
                )
    return findings


def find_cross_duplicates(
    training: Sequence[Fingerprint], validation: Sequence[Fingerprint], config: HygieneConfig
) -> list[Finding]:
    """Refusals of validation structures that are the same or nearly the same as a training structure."""
    known = _group_by_composition(training)
    findings: list[Finding] = []
    for name, group in _group_by_composition(validation).items():
        if name not in known:
            continue
        crystals = np.stack([fingerprint.crystal for fingerprint in group])
        distances, nearest = _tree(known[name]).query(
            crystals, p=np.inf, distance_upper_bound=config.near_duplicate_distance
        )
        for own, distance, place in zip(group, distances, nearest, strict=True):
            if np.isfinite(distance):
                other = known[name][place]
                part = " of the training part"
                if distance < config.duplicate_distance:
                    findings.append(_duplicate_finding(own, other, float(distance), part))
                else:
                    findings.append(_near_duplicate_finding(own, other, float(distance), part, refused=True))
    return findings


def _findings_of_copies(members: Sequence[Fingerprint], config: HygieneConfig) -> list[Finding]:
    """Findings for structures that are all the same crystal."""
    first, *others = members
    gaps = [float(np.abs(other.label - first.label).max()) for other in others]
    if not gaps or max(gaps) <= config.label_difference:
        return [_duplicate_finding(other, first, _distance(other, first), "") for other in others]
    opponents = [others[int(np.argmax(gaps))], *([first] * len(others))]
    gaps = [max(gaps), *gaps]
    return [
        Finding(
            own.index,
            own.source,
            "conflict",
            f"the same crystal as {other.source}, but the invariants of the {len(members)} labels differ by "
            f"up to {max(gaps):.3g} e (at most {config.label_difference:g}); find the right one",
            refused=True,
            value=gap,
        )
        for own, other, gap in zip(members, opponents, gaps, strict=True)
    ]


def _duplicate_finding(own: Fingerprint, other: Fingerprint, distance: float, part: str) -> Finding:
    """A copy of another structure."""
    gap = float(np.abs(own.label - other.label).max())
    reason = f"the same crystal as {other.source}{part} (labels differ by {gap:.2g} e); one copy is enough"
    return Finding(own.index, own.source, "duplicate", reason, refused=True, value=distance)


def _near_duplicate_finding(
    own: Fingerprint, other: Fingerprint, distance: float, part: str, *, refused: bool
) -> Finding:
    """Nearly a copy of another structure."""
    reason = (
        f"distances between neighbours differ by at most {distance:.2g} Å from those of {other.source}{part}"
    )
    if not refused:
        reason += "; keep both on one side of the split"
    return Finding(own.index, own.source, "near-duplicate", reason, refused=refused, value=distance)


def _group_by_composition(prints: Sequence[Fingerprint]) -> dict[Hashable, list[Fingerprint]]:
    """Fingerprints of one composition have one length and can be compared."""
    groups: dict[Hashable, list[Fingerprint]] = defaultdict(list)
    for fingerprint in prints:
        groups[fingerprint.composition].append(fingerprint)
    return groups


def _clusters(group: Sequence[Fingerprint], distance: float) -> Iterator[list[Fingerprint]]:
    """Each structure that belongs to no earlier one, with the later ones within `distance` of it."""
    if len(group) == 1:
        yield [*group]
        return
    tree, free = _tree(group), np.ones(len(group), dtype=bool)
    for place, own in enumerate(group):
        if not free[place]:
            continue
        near = tree.query_ball_point(own.crystal, distance, p=np.inf, return_sorted=True)
        members = [member for member in near if free[member]]
        free[members] = False
        yield [group[member] for member in members]


def _tree(group: Sequence[Fingerprint]) -> cKDTree:
    """The crystals of a group, for searches by largest difference; not balanced, since copies cannot be."""
    return cKDTree(np.stack([fingerprint.crystal for fingerprint in group]), balanced_tree=False)


def _distance(own: Fingerprint, other: Fingerprint) -> float:
    """Largest difference between two crystal fingerprints, in Å."""
    return float(np.abs(own.crystal - other.crystal).max())
