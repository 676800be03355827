from collections import Counter
from collections.abc import Sequence
from math import gcd

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.config.schema import DataConfig
from equivar_jax.datasets.splits import split
from equivar_jax.errors import InputError

FORMULAS = ("MgO", "Mg2O2", "OMg", "TiO2", "Ti2O4", "CaTiO3", "Ca3Ti3O9", "Li3PO4", "Li5P2O8")
REDUCED = {"MgO": "MgO", "Mg2O2": "MgO", "OMg": "MgO", "Ti2O4": "TiO2", "Ca3Ti3O9": "CaTiO3"}


def frames(groups, formula="H", file="a.extxyz"):
    """Structures of one file, with a group each."""
    return [
        Atoms(formula, info={"run": group, "source": f"{file}, frame {k}"}) for k, group in enumerate(groups)
    ]


def parts(structures, **settings):
    found = split(structures, DataConfig(**settings))
    for part in (found.training, found.validation):
        assert (np.diff(part) > 0).all()
    assert sorted([*found.training, *found.validation]) == list(range(len(structures)))
    return found.training.tolist(), found.validation.tolist()


def folds_of(structures, folds, **settings):
    """The validation part of every fold; they must cover the data once."""
    found = [parts(structures, folds=folds, fold=fold, **settings)[1] for fold in range(folds)]
    assert sorted(place for part in found for place in part) == list(range(len(structures)))
    return found


class Lazy(Sequence):
    """A sequence that counts how many structures are made."""

    def __init__(self, structures):
        self.structures, self.made = structures, 0

    def __len__(self):
        return len(self.structures)

    def __getitem__(self, place):
        self.made += 1
        return self.structures[place]


@given(st.integers(3, 200), st.integers(0, 2**32))
def test_a_split_by_seed_covers_everything_once_in_the_asked_shares(count, seed):
    _, validation = parts(frames(range(count)), split_seed=seed)
    assert len(validation) == round(0.2 * count)


def test_a_seed_gives_the_split_that_it_has_always_given():
    assert parts(frames(range(12)))[1] == [7, 10]
    assert parts(frames(range(30)), split_seed=7)[1] == [2, 4, 8, 12, 21, 29]


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    structures = frames(range(100))
    first, again, other = (parts(structures, split_seed=seed) for seed in (5, 5, 6))
    assert first == again
    assert first != other
    assert folds_of(structures, 3, split_seed=5) == folds_of(structures, 3, split_seed=5)
    assert folds_of(structures, 3, split_seed=5) != folds_of(structures, 3, split_seed=6)


def test_every_structure_is_validated_on_under_some_seed():
    found = {k for seed in range(60) for k in parts(frames(range(20)), split_seed=seed)[1]}
    assert found == set(range(20))


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.integers(0, 100))
def test_groups_stay_together(groups, seed):
    groups = groups + list("abcdefgh") * 10
    training, validation = parts(frames(groups), split_seed=seed, group_key="run")
    assert not {groups[k] for k in training} & {groups[k] for k in validation}
    assert abs(len(validation) - round(0.2 * len(groups))) <= max(map(groups.count, groups)) / 2


@given(st.permutations([*"aaabbcddddeeef", 1, 1, 2.5]), st.integers(0, 100))
def test_the_order_of_the_structures_does_not_decide_which_groups_validate(groups, seed):
    def of_validation(groups, **settings):
        _, validation = parts(frames(groups), split_seed=seed, group_key="run", **settings)
        return {str(groups[k]) for k in validation}

    ordered = sorted(groups, key=str)
    assert of_validation(groups) == of_validation(ordered)
    assert of_validation(groups, folds=3, fold=1) == of_validation(ordered, folds=3, fold=1)


def test_a_group_too_large_for_its_share_is_trained_on():
    groups = ["long"] * 1000 + ["one"] * 100 + ["two"] * 100
    for seed in range(6):
        _, validation = parts(frames(groups), split_seed=seed, group_key="run")
        assert {groups[k] for k in validation} == {"one", "two"}
    assert len(parts(frames("aaaabbb"), group_key="run")[1]) == 3  # 1 wanted, and there is no smaller group


@given(st.lists(st.sampled_from(FORMULAS), max_size=30), st.integers(0, 100), st.sampled_from([None, 2, 3]))
def test_a_reduced_formula_is_on_one_side(formulas, seed, folds):
    formulas = [*formulas, *FORMULAS]
    structures = [atoms for formula in formulas for atoms in frames([0], formula)]
    training, validation = parts(structures, split="composition", split_seed=seed, folds=folds)
    names = [REDUCED.get(formula, formula) for formula in formulas]
    assert not {names[k] for k in training} & {names[k] for k in validation}
    if folds:
        folds_of(structures, folds, split="composition", split_seed=seed)


@given(
    st.lists(st.tuples(st.sampled_from(FORMULAS), st.integers(0, 12)), min_size=2, max_size=25),
    st.integers(0, 100),
)
def test_with_groups_neither_a_formula_nor_a_group_is_on_both_sides(kinds, seed):
    structures = [atoms for formula, group in kinds for atoms in frames([group], formula)]
    structures += frames(["other"] * 2, "NaCl")  # related to none of the others
    settings = {"split": "composition", "group_key": "run", "split_seed": seed, "folds": 2}
    for fold in range(2):
        training, validation = parts(structures, fold=fold, **settings)
        for of in (lambda atoms: str(atoms.info["run"]), reduced_composition):
            assert not {of(structures[k]) for k in training} & {of(structures[k]) for k in validation}


def reduced_composition(atoms):
    counts = Counter(atoms.numbers.tolist())
    divisor = gcd(*counts.values())
    return frozenset((number, count // divisor) for number, count in counts.items())


def test_structures_related_through_others_stay_together():
    chain = [("MgO", 0), ("TiO2", 0), ("Ti2O4", 1), ("CaO", 1)]
    structures = [atoms for formula, group in chain for atoms in frames([group], formula)]
    structures += frames([2], "NaCl") + frames([3], "KCl")
    groups = [set(part) for part in folds_of(structures, 3, split="composition", group_key="run")]
    assert {0, 1, 2, 3} in groups
    with pytest.raises(InputError, match="6 structures in 3 groups that stay together"):
        split(structures, DataConfig(split="composition", group_key="run", folds=4))


@given(st.integers(2, 60), st.integers(2, 7), st.integers(0, 100))
def test_folds_of_frames_differ_by_one_at_most(count, folds, seed):
    count += folds
    sizes = {len(part) for part in folds_of(frames(range(count)), folds, split_seed=seed)}
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.sampled_from("abcdefghij"), max_size=80), st.integers(2, 5))
def test_folds_keep_groups_together_and_are_as_equal_as_these_allow(groups, folds):
    groups = [*groups, *"abcdefghij"]
    found = folds_of(frames(groups), folds, group_key="run")
    of_fold = [{groups[k] for k in part} for part in found]
    assert sum(map(len, of_fold)) == 10
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= max(map(groups.count, groups))


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=60), st.sampled_from([0.1, 0.2, 0.5]))
def test_the_end_of_each_trajectory_validates(names, fraction):
    names = [*names, *"aaaaaaaaaa"]
    training, validation = parts(frames(names), split="block", group_key="run", validation_fraction=fraction)
    for name in "abc":
        members = [k for k in range(len(names)) if names[k] == name]
        taken = [k for k in validation if names[k] == name]
        assert len(taken) == round(fraction * len(members))
        assert taken == members[len(members) - len(taken) :]
    assert max(k for k in training if names[k] == "a") < min(k for k in validation if names[k] == "a")


@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=60), st.integers(2, 5))
def test_block_folds_are_runs_of_each_trajectory_in_time_order(names, folds):
    names = [*names, *"aaaaa"]
    found = folds_of(frames(names), folds, split="block", group_key="run")
    sizes = [len(part) for part in found]
    assert max(sizes) - min(sizes) <= 1
    for name in "abc":
        one_after_the_other = [k for part in found for k in part if names[k] == name]
        assert one_after_the_other == [k for k in range(len(names)) if names[k] == name]


def test_a_trajectory_is_a_file_unless_a_key_says_otherwise():
    structures = frames([0] * 10, file="a, b.extxyz") + frames([0] * 5, file="c.extxyz")
    assert parts(structures, split="block")[1] == [8, 9, 14]
    assert parts(structures, split="block", group_key="run")[1] == [12, 13, 14]


def test_trajectories_too_short_to_validate_on_are_counted():
    structures = frames([0] * 10) + frames([0] * 2, file="b.extxyz")
    found = split(structures, DataConfig(split="block"))
    assert found.validation.tolist() == [8, 9]
    assert found.note == "1 of 2 trajectories give validation no frame"
    assert split(structures[:10], DataConfig(split="block")).note == ""


def test_structures_of_no_trajectory_have_no_blocks():
    structures = [Atoms("H", info={"source": f"demonstration perovskite {k}"}) for k in range(9)]
    for folds in (None, 3):
        with pytest.raises(InputError, match=r"no two of the 9 structures.*perovskite 0.*--data\.group_key"):
            split(structures, DataConfig(split="block", folds=folds))


@pytest.mark.parametrize("mode", ["random", "composition", "block"])
@pytest.mark.parametrize("folds", [None, 2])
def test_each_structure_is_made_once_at_most(mode, folds):
    lazy = Lazy(frames("aabb" * 50) + frames("c" * 50, "He"))
    annotations = 5  # the checker of annotations takes a structure in each function that is given them
    split(lazy, DataConfig(split=mode, folds=folds, group_key="run", validation_fraction=0.4))
    assert 250 <= lazy.made <= 250 + annotations
    lazy.made = 0
    split(lazy, DataConfig(validation_fraction=0.4, folds=folds))
    assert lazy.made <= annotations


@pytest.mark.parametrize(
    ("groups", "part"), [("aa", "validation"), ("aaaaaa", "training"), ("a", "validation")]
)
def test_an_empty_part_is_refused(groups, part):
    with pytest.raises(InputError, match=f"the {part} part is empty: {len(groups)} structures"):
        split(frames(groups), DataConfig(group_key="run"))
    with pytest.raises(InputError, match="the training part is empty"):
        split(frames("aaaa"), DataConfig(split="block", validation_fraction=0.9))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 3, "fold": 3}, r"--data\.fold 3 of 3 folds; give 0 to 2"),
        ({"folds": 3, "fold": -1}, r"--data\.fold -1 of 3 folds"),
        ({"folds": 5}, r"--data\.folds 5, but 4 structures in 4 groups"),
        ({"folds": 3, "group_key": "run"}, r"--data\.folds 3, but 4 structures in 2 groups"),
        ({"folds": 5, "split": "block"}, r"--data\.folds 5, but 4 structures"),
        ({"folds": 2, "split_path": "split.json"}, r"--data\.split_path and --data\.folds"),
        (
            {"group_key": "cell"},
            r"a\.extxyz, frame 0: no 'cell' in its info \(run, source\); change --data\.group_key",
        ),
        ({"group_key": "cell", "split": "block"}, r"frame 0: no 'cell' in its info"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        split(frames("aabb"), DataConfig(**settings))


def test_nothing_cannot_be_divided():
    with pytest.raises(InputError, match="no structures to divide"):
        split([], DataConfig())


def test_a_given_split_is_taken_and_what_it_does_not_name_is_left_out(tmp_path):
    (tmp_path / "split.json").write_text('{"training": [5, 0], "validation": [2]}')
    found = split(frames(range(6)), DataConfig(split_path=str(tmp_path / "split.json")))
    assert (found.training.tolist(), found.validation.tolist()) == ([0, 5], [2])
    assert found.note.startswith("3 of 6 structures are in neither part of ")
    (tmp_path / "split.json").write_text('{"training": [0, 1], "validation": [2]}')
    assert split(frames(range(3)), DataConfig(split_path=str(tmp_path / "split.json"))).note == ""
    (tmp_path / "split.json").write_text('{"training": [0, 1], "validation": []}')
    with pytest.raises(InputError, match=r"split\.json: the validation part is empty"):
        split(frames(range(3)), DataConfig(split_path=str(tmp_path / "split.json")))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["random", "composition", "block"])
def test_thirty_thousand_structures_are_divided(mode):
    rng = np.random.default_rng(0)
    structures = [
        Atoms(numbers=rng.integers(1, 9, 40), info={"run": int(k % 997), "source": f"a, frame {k}"})
        for k in range(30000)
    ]
    for folds in (None, 5):
        parts = split(structures, DataConfig(split=mode, folds=folds, group_key="run"))
        assert sorted([*parts.training, *parts.validation]) == list(range(30000))
