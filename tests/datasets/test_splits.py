import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.datasets.splits import group_labels, random_split
from equivar_jax.errors import InputError


@given(st.integers(3, 200), st.integers(0, 2**32))
def test_a_split_by_seed_covers_everything_once_in_the_asked_shares(count, seed):
    training, validation = random_split(list(range(count)), 0.2, seed)
    assert sorted([*training, *validation]) == list(range(count))
    assert len(validation) == round(0.2 * count)
    assert (np.diff(training) > 0).all()
    assert (np.diff(validation) > 0).all()


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.integers(0, 100))
def test_groups_stay_together(groups, seed):
    groups = groups + groups[:20] + list("abcdefgh") * 10  # no group is so large that no other is left
    training, validation = random_split(groups, 0.2, seed)
    assert sorted([*training, *validation]) == list(range(len(groups)))
    assert not {groups[k] for k in training} & {groups[k] for k in validation}
    largest = max(map(groups.count, groups))
    assert round(0.2 * len(groups)) <= len(validation) < round(0.2 * len(groups)) + largest


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    first, again, other = (random_split(range(100), 0.2, seed)[1].tolist() for seed in (5, 5, 6))
    assert first == again
    assert first != other


def test_every_structure_is_validated_on_under_some_seed():
    found = {int(k) for seed in range(60) for k in random_split(range(20), 0.2, seed)[1]}
    assert found == set(range(20))


@pytest.mark.parametrize(
    ("groups", "part"), [("aa", "validation"), ("aaaaaa", "training"), ("a", "validation")]
)
def test_an_empty_part_is_refused(groups, part):
    with pytest.raises(InputError, match=f"the {part} part is empty"):
        random_split(list(groups), 0.2, 0)


def test_nothing_cannot_be_divided():
    with pytest.raises(InputError, match="no structures to divide"):
        random_split([], 0.2, 0)


def test_group_labels_are_single_structures_or_values_of_the_key():
    structures = [Atoms("H", info={"group": value, "source": f"f, frame {value}"}) for value in (1, 2, 1)]
    assert len(set(group_labels(structures, None))) == 3
    first, second, third = group_labels(structures, "group")
    assert first == third != second
    with pytest.raises(
        InputError, match=r"f, frame 1: no 'cell' in its info \(group, source\); change --data"
    ):
        group_labels(structures, "cell")
