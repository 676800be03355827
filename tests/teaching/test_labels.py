import dataclasses

import numpy as np
import pytest
from helpers.committees import joined
from helpers.titanates import thermal_frames

from equivar_jax.datasets.load import make_samples
from equivar_jax.structures import born_effective_charges
from equivar_jax.teaching.labels import describe_labels, label_frames, spread_of_atoms
from equivar_jax.teaching.made_frames import MADE
from equivar_jax.uncertainty.domain import domain_of


@pytest.fixture
def committee():
    """Three networks that nobody trained, with the domain of some frames."""
    found = joined()
    domain = domain_of(make_samples(thermal_frames(20), found.config.cutoff), found.config.cutoff)
    return dataclasses.replace(found, metadata=dataclasses.replace(found.metadata, domain=domain))


def made_frames(kind, seed, count=6, spread=0.05):
    frames = thermal_frames(count, seed=seed, spread=spread)
    for atoms in frames:
        atoms.calc = None
        atoms.info[MADE] = kind
    return frames


def test_frames_on_which_the_members_disagree_are_dropped_and_the_others_labelled_with_their_mean(committee):
    made = [*made_frames("mixed", 1), *made_frames("stronger", 2)]
    known = thermal_frames(4, seed=3)
    spreads = np.array([spread_of_atoms(found).max() for found in committee.predictions(made)])
    usual = np.quantile(np.concatenate([spread_of_atoms(p) for p in committee.predictions(known)]), 0.99)
    low, high = np.sort(spreads)[4:6]
    limit = (low + high) / 2  # five agree, seven do not
    labelled = label_frames(committee, made, known, limit / usual)
    assert labelled.largest_spread == pytest.approx(limit)
    expected = [atoms for atoms, spread in zip(made, spreads, strict=True) if spread < limit]
    assert len(labelled.frames) == len(expected) == 5
    for atoms, kept, tensors in zip(expected, labelled.frames, committee.predict(expected), strict=True):
        np.testing.assert_array_equal(kept.positions, atoms.positions)
        np.testing.assert_allclose(born_effective_charges(kept), tensors, atol=1e-6)
        np.testing.assert_allclose(born_effective_charges(kept).sum(axis=0), 0.0, atol=1e-6)
    total = {
        name: sum(kind[name] for kind in labelled.counts.values()) for name in ("made", "disagree", "kept")
    }
    assert total == {"made": 12, "disagree": 7, "kept": 5}
    assert sum(spreads[:6] < limit) == labelled.counts["mixed"]["kept"]
    assert "5 of 12 made frames kept" in describe_labels(labelled.to_dict())
    assert "7 where members disagree" in describe_labels(labelled.to_dict())


def test_frames_with_atoms_closer_than_in_training_are_dropped(committee):
    close = made_frames("rattled", 4, count=1)
    close[0].positions[1] = close[0].positions[0] + [0.0, 0.0, 1.0]
    made = [*made_frames("rattled", 1, count=3, spread=0.01), *close]
    labelled = label_frames(committee, made, thermal_frames(3), 1e6)
    assert labelled.counts["rattled"] == {"made": 4, "close": 1, "disagree": 0, "kept": 3}
    assert "1 with atoms too close" in describe_labels(labelled.to_dict())


def test_nothing_is_kept_where_members_never_agree(committee):
    labelled = label_frames(committee, made_frames("walls", 1), thermal_frames(3), 1e-9)
    assert labelled.frames == []
    assert labelled.counts["walls"]["disagree"] == 6
