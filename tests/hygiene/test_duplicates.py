import dataclasses

import numpy as np
import pytest
from ase.build import make_supercell
from helpers.hygiene_crystals import (
    CONFIG,
    distorted,
    labelled,
    named,
    perovskite,
    relabelled,
    transposed,
    turned,
)
from scipy.spatial.transform import Rotation

from equivar_jax.errors import InputError
from equivar_jax.hygiene import check_labels, cross_duplicates
from equivar_jax.structures import born_effective_charges

ROTATION = Rotation.from_euler("xyz", [0.7, -0.4, 1.1]).as_matrix()


def supercell(atoms):
    return relabelled(atoms.repeat((2, 1, 1)), np.tile(born_effective_charges(atoms), (2, 1, 1)), "supercell")


def sheared(atoms):
    """Other lattice vectors of the same lattice, the atoms where they were."""
    other = make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, -1, 1]], wrap=False)
    return relabelled(other, born_effective_charges(atoms), "sheared")


def shifted(atoms):
    moved = atoms.copy()
    moved.positions += [0.3, -1.2, 7.0]
    moved.wrap()
    return relabelled(moved, born_effective_charges(atoms), "shifted")


def reordered(atoms):
    order = np.random.default_rng(0).permutation(len(atoms))
    return relabelled(atoms[order], born_effective_charges(atoms)[order], "reordered")


COPIES = {
    "supercell": supercell,
    "sheared": sheared,
    "shifted": shifted,
    "reordered": reordered,
    "rotated": lambda atoms: turned(atoms, ROTATION, "rotated"),
    "reflected": lambda atoms: turned(atoms, -ROTATION, "reflected"),
    "all of it": lambda atoms: reordered(shifted(turned(supercell(atoms), ROTATION, "rotated"))),
}


@pytest.mark.parametrize("make", [perovskite, distorted])
@pytest.mark.parametrize("copy", COPIES)
def test_a_copy_in_another_description_is_found(make, copy):
    first = make()
    report = check_labels([first, COPIES[copy](first)], CONFIG)
    (finding,) = report.findings
    assert (finding.index, finding.rule, finding.refused) == (1, "duplicate", True)
    assert first.info["source"] in finding.reason
    assert finding.value < 1e-6
    assert report.kept == [0]


def rotated_label(atoms):
    return relabelled(atoms, ROTATION @ born_effective_charges(atoms) @ ROTATION.T, "rotated label")


def scaled_label(atoms):
    return relabelled(atoms, 1.1 * born_effective_charges(atoms), "scaled label")


@pytest.mark.parametrize("spoil", [rotated_label, transposed, scaled_label])
def test_contradicting_labels_of_one_crystal_are_all_refused(spoil):
    first = distorted()
    report = check_labels([first, spoil(reordered(supercell(first))), shifted(first)], CONFIG)
    conflicts = [finding for finding in report.findings if finding.rule == "conflict"]
    assert [(finding.index, finding.refused) for finding in conflicts] == [(0, True), (1, True), (2, True)]
    assert report.kept == []


def test_a_label_refused_for_another_reason_contradicts_nobody():
    first = distorted()
    tensors = born_effective_charges(first).copy()
    tensors[0] += 2.0
    report = check_labels([first, relabelled(first, tensors, "broken")], CONFIG)
    assert [f.rule for f in report.findings] == ["sum rule"]
    assert report.kept == [0]


def rattled(atoms, size, name):
    other = atoms.copy()
    steps = np.random.default_rng(1).normal(size=(len(atoms), 3))
    other.positions += size * steps / np.linalg.norm(steps, axis=1)[:, None]
    return labelled(other, name)


def test_near_copies_are_pointed_at_and_kept():
    first = distorted()
    report = check_labels([first, rattled(first, 0.0015, "near")], CONFIG)
    (finding,) = report.findings
    assert (finding.index, finding.rule, finding.refused) == (1, "near-duplicate", False)
    # Two atoms that move by at most d change their distance by at most 2 d.
    assert CONFIG.duplicate_distance < finding.value < 2 * 0.0015
    assert report.kept == [0, 1]


def test_displacements_of_a_few_hundredths_make_another_structure():
    first = distorted()
    assert check_labels([first, rattled(first, 0.03, "other")], CONFIG).findings == ()


def test_the_same_positions_with_other_elements_are_another_structure():
    other = perovskite().copy()
    other.numbers[[0, 4]] = other.numbers[[4, 0]]
    assert check_labels([perovskite(), labelled(other, "antisite")], CONFIG).findings == ()


def test_net_charges_tell_structures_apart():
    neutral = perovskite()
    tensors = born_effective_charges(neutral) + np.eye(3) / len(neutral)
    charged = relabelled(neutral, tensors, "charged")
    charged.info["charge"] = 1.0
    assert check_labels([neutral, charged], CONFIG).findings == ()


def test_many_copies_leave_one():
    report = check_labels([distorted()] * 40 + [distorted(3)] * 40, CONFIG)
    assert report.kept == [0, 40]


def test_validation_structures_that_training_has_are_refused():
    near = rattled(distorted(), 0.0015, "near")
    found = cross_duplicates(
        [distorted(), perovskite()],
        [distorted(3), named(supercell(perovskite()), "copy"), near, distorted(4)],
        CONFIG,
    )
    assert [(f.index, f.rule, f.refused, f.source) for f in found] == [
        (1, "duplicate", True, "copy"),
        (2, "near-duplicate", True, "near"),
    ]
    assert "distorted 2 of the training part" in found[1].reason
    narrow = dataclasses.replace(CONFIG, near_duplicate_distance=1e-3)
    assert [f.index for f in cross_duplicates([distorted()], [near], narrow)] == []


def test_cross_duplicates_need_labels():
    bare = distorted().copy()
    with pytest.raises(InputError, match=r"distorted 2: no Born effective charges"):
        cross_duplicates([bare], [distorted()], CONFIG)
