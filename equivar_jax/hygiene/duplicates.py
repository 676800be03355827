"""Find the same crystal twice, or nearly, within one set or across training and validation.

The fingerprints of all structures of one composition are put into a k-d tree, so only near ones are compared.

Where the tolerances come from: among 1,370 DFPT crystals, nine pairs of equal composition differ by 0.0005 Å
and 0.008 e or less (the same crystal in another cell, or relaxed twice), two pairs differ by 0.0014 Å and
0.009 e, and all others, polytypes with labels of their own, by 0.007 Å or more. In two molecular dynamics
runs at 300 K the first two frames of BaTiO3 differ by 0.009 Å, all other pairs of frames by 0.08 Å or more.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from scipy.spatial import cKDTree

from equivar_jax.config.schema import HygieneConfig
from equivar_jax.hygiene.findings import Finding
from equivar_jax.hygiene.fingerprints import Fingerprint


def find_duplicates(prints: Sequence[Fingerprint], config: HygieneConfig) -> list[Finding]:
    """Find crystals that are the same or nearly the same within one set.

    Returns:
        A finding that refuses each of several equal structures except the first, or every one of them if
        their labels contradict each other; and a finding that only reports each structure nearly equal to an
        earlier one.
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
    """Find and refuse validation structures that equal, or nearly equal, a training structure."""
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
    """Return the findings for structures that are all the same crystal."""
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
    """Return the finding for a copy of another structure; `part` says where that one is."""
    gap = float(np.abs(own.label - other.label).max())
    reason = f"the same crystal as {other.source}{part} (labels differ by {gap:.2g} e); one copy is enough"
    return Finding(own.index, own.source, "duplicate", reason, refused=True, value=distance)


def _near_duplicate_finding(
    own: Fingerprint, other: Fingerprint, distance: float, part: str, *, refused: bool
) -> Finding:
    """Return the finding for a structure that is nearly a copy of another one."""
    reason = (
        f"distances between neighbours differ by at most {distance:.2g} Å from those of {other.source}{part}"
    )
    if not refused:
        reason += "; keep both on one side of the split"
    return Finding(own.index, own.source, "near-duplicate", reason, refused=refused, value=distance)


def _group_by_composition(prints: Sequence[Fingerprint]) -> dict[Hashable, list[Fingerprint]]:
    """Group fingerprints by composition.

    Fingerprints of one composition have the same length and can be compared.
    """
    groups: dict[Hashable, list[Fingerprint]] = defaultdict(list)
    for fingerprint in prints:
        groups[fingerprint.composition].append(fingerprint)
    return groups


def _clusters(group: Sequence[Fingerprint], distance: float) -> Iterator[list[Fingerprint]]:
    """Yield each structure that is in no earlier cluster, with the later ones within `distance` of it."""
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
    """Return a k-d tree of the crystal fingerprints of a group, to search by largest difference.

    The tree is not balanced, because equal points cannot be.
    """
    return cKDTree(np.stack([fingerprint.crystal for fingerprint in group]), balanced_tree=False)


def _distance(own: Fingerprint, other: Fingerprint) -> float:
    """Return the largest difference between two crystal fingerprints, in Å."""
    return float(np.abs(own.crystal - other.crystal).max())
