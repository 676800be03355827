"""How frames are divided by state, and what is said of the errors of single atoms."""

import numpy as np
import pytest
from ase.build import bulk

from benchmarks.accuracy.tails import summarise_atoms
from benchmarks.real_data.__main__ import earlier_deep
from benchmarks.real_data.states import MUON, QUARTZ_AT_300_K, VARIANTS, change_settings, divide_by_state
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import check_config


def frames_of(spreads, seed=0):
    """Rock salt, each frame with normal displacements of another spread in Å."""
    rng = np.random.default_rng(seed)
    made = []
    for spread in spreads:
        atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
        moved = rng.normal(scale=spread, size=(8, 3))
        atoms.positions += moved - moved.mean(axis=0)
        made.append(atoms)
    return made


def test_the_calmer_half_is_trained_on_in_whatever_order_frames_come():
    spreads = np.random.default_rng(1).permutation(np.repeat([0.03, 0.2], 15))
    frames = frames_of(spreads)
    states = divide_by_state("BaTiO3-300K", frames)
    of_frame = {id(atoms): spread for atoms, spread in zip(frames, spreads, strict=True)}
    assert {of_frame[id(atoms)] for atoms in states.transfer} == {0.2}
    assert {of_frame[id(atoms)] for atoms in (*states.training, *states.held_out)} == {0.03}


@pytest.mark.parametrize("name", ["BaTiO3-300K", "SiO2-300K"])
def test_every_frame_is_in_one_part(name):
    frames = frames_of(np.linspace(0.01, 0.2, QUARTZ_AT_300_K + 20))
    states = divide_by_state(name, frames)
    assert sorted(id(atoms) for part in states for atoms in part) == sorted(map(id, frames))
    assert 0 < len(states.held_out) < len(states.training) / 4
    if name == "SiO2-300K":
        assert [id(atoms) for atoms in states.transfer] == [*map(id, frames[QUARTZ_AT_300_K:])]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_changes_the_settings_that_it_names(variant):
    base, changes = earlier_deep(), VARIANTS[variant]
    changed = change_settings(base, changes)
    check_config(changed)
    assert (changed == base) == (not changes)


def test_the_config_for_one_material_is_the_earlier_one_with_what_the_states_chose():
    assert change_settings(earlier_deep(), MUON) == load_config("bm3_deep")


def test_errors_of_atoms_are_root_mean_squares_of_their_components():
    reference = np.random.default_rng(0).normal(size=(200, 3, 3))
    predicted = reference.copy()
    predicted[7] += 0.3  # all nine components
    predicted[9, 1, 2] -= 0.6  # a single one counts a third
    found = summarise_atoms(predicted, reference)
    assert found["largest"] == pytest.approx(0.3)
    assert found["largest_component"] == pytest.approx(0.6)
    errors = np.zeros(200)
    errors[[7, 9]] = 0.3, 0.2
    assert found["percentile_99"] == pytest.approx(np.percentile(errors, 99))
