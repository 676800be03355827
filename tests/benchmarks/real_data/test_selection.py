"""How labels saved are counted, what is in a pool, and that a choice is the one of `equivar select`."""

import os

import pytest

from benchmarks.real_data import selection
from benchmarks.real_data.selection import PLANS, choose, divide, errors_of, labels_saved, table
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import check_config
from equivar_jax.datasets import demonstration_set
from equivar_jax.prediction import choose_structures, describe_candidates


def power_law(counts, factor=1.0):
    return {count: factor * count**-0.5 for count in counts}


@pytest.mark.parametrize("labels", [12, 17])
def test_of_errors_by_a_power_law_the_share_saved_is_exact(labels):
    random = power_law((8, 12, 17, 24, 34))
    selected = {labels: 0.9 * labels**-0.5}  # as many random labels as 1 / 0.81 times
    assert labels_saved(selected, random, labels) == pytest.approx(1 - 0.81)
    assert labels_saved(random, random, labels) == pytest.approx(0)
    assert labels_saved({labels: 1.1 * labels**-0.5}, random, labels) < 0


def test_an_error_below_all_random_ones_gives_a_lower_bound():
    random = power_law((8, 16, 32))
    assert labels_saved({16: 1e-3}, random, 16) == pytest.approx(0.5)


def test_an_error_that_rises_with_more_random_labels_is_taken_as_chance():
    assert labels_saved({8: 0.2}, {8: 0.2, 12: 0.3, 16: 0.1}, 8) <= 0.34


@pytest.mark.parametrize("name", PLANS)
def test_both_ways_begin_alike_and_random_goes_on_for_longer(name):
    plan = PLANS[name]
    check_config(selection.change_settings(load_config(plan.config), plan.changes))
    random, selected = plan.sizes["random"], plan.sizes["select"]
    assert random[0] == selected[0]
    assert {*selected} <= {*random}
    assert max(random) > max(selected) / 0.75


@pytest.mark.skipif("EQUIVAR_DATA" not in os.environ, reason="EQUIVAR_DATA is not set")
@pytest.mark.parametrize("name", ["BaTiO3-300K", "SiO2-300K"])
def test_no_frame_is_in_pool_and_test(name):
    pool, test = divide(name)
    assert len(pool) >= max(PLANS[name].sizes["random"])
    assert len(test) > len(pool) / 3
    assert {id(atoms) for atoms in pool}.isdisjoint(map(id, test))


def test_means_over_seeds_and_the_share_saved_are_in_the_table():
    rows = [
        {
            "set": "SiO2-300K",
            "seed": seed,
            "way": way,
            "labels": count,
            "mae": factor * count**-0.5 + 1e-3 * seed,
        }
        for seed in (-1, 1)
        for way, factor in (("random", 1.0), ("select", 0.9))
        for count in (8, 16, 32)
    ]
    assert errors_of(rows, "SiO2-300K", "select")[16] == pytest.approx([0.9 / 4 - 1e-3, 0.9 / 4 + 1e-3])
    first, second, _ = table(rows).splitlines()[2:]
    assert first.endswith("|  |")  # the same structures both ways: nothing is saved
    assert second == "| SiO2-300K | 16 | 0.2500 ± 0.0010 | 0.2250 ± 0.0010 | 19% |"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")  # few structures
@pytest.mark.filterwarnings("ignore::equivar_jax.prediction.UnseenElementWarning")
def test_a_committee_chooses_as_the_command_does_and_is_measured(tmp_path, monkeypatch):
    crystals = [*demonstration_set(perovskites=24, li3po4=0, zro2=0, seed=3)]
    plan = selection.Plan("test", {"train.keep": "last"}, 4, {"random": (10, 12), "select": (10, 12)})
    monkeypatch.setitem(PLANS, "made", plan)
    monkeypatch.setattr(selection, "divide", lambda _: selection.Divided(crystals[:18], crystals[18:]))
    known = []
    selection.measure("made", 0, tmp_path / "runs", known, tmp_path / "rows.json")
    assert [(row["way"], row["labels"]) for row in known] == [
        *(("random", 10), ("random", 12), ("select", 10), ("select", 12))
    ]
    assert known[0]["mae"] == known[2]["mae"]
    model = selection.load(tmp_path / "runs" / "made" / "seed-0" / "10")
    left = [*range(10, 18)]
    usable = [k for k in left if {*crystals[k].numbers} <= {*model.metadata.elements}]
    expected = choose_structures(describe_candidates(model, [crystals[k] for k in usable]), 2)
    assert choose(model, crystals[:18], left, 2) == [usable[one.number] for one in expected]
