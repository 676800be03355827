"""Charges of every k-th step, against ones that change along a line."""

import numpy as np
import pytest
from helpers.field_crystals import random_tensors

from equivar_jax.calculators.sparse import SparseCharges
from equivar_jax.errors import InputError
from equivar_jax.response.phonons.harmonic import rock_salt


def walk(every, extrapolate, steps):
    """Charges at each step, where they are calculated, and what they are in truth: a line in the step."""
    atoms = rock_salt()
    begin, slope = random_tensors(atoms, 0), random_tensors(atoms, 1)
    calculated, step = [], 0

    def tensors(_):
        calculated.append(step)
        return begin + step * slope

    charges, found = SparseCharges(tensors, every, extrapolate), []
    for step in steps:
        found.append(charges.at(step, atoms))
    return np.array(found), calculated, np.array([begin + step * slope for step in steps]), charges


@pytest.mark.parametrize("extrapolate", [False, True])
def test_charges_are_calculated_at_the_first_step_and_at_multiples(extrapolate):
    _, calculated, _, _ = walk(4, extrapolate, range(6, 18))
    assert calculated == [6, 8, 12, 16]


def test_charges_are_held_between():
    found, _, truth, _ = walk(3, False, range(9))
    np.testing.assert_array_equal(found, truth[[0, 0, 0, 3, 3, 3, 6, 6, 6]])


def test_charges_that_change_along_a_line_are_exact_from_the_second_calculation_on():
    found, _, truth, _ = walk(3, True, range(6, 15))
    np.testing.assert_array_equal(found[:3], truth[[0, 0, 0]])
    np.testing.assert_allclose(found[3:], truth[3:], rtol=0, atol=1e-13)


def test_extrapolated_charges_obey_the_sum_rule():
    found, _, truth, _ = walk(5, True, range(18))
    assert np.abs(found - truth[0]).max() > 1
    assert np.abs(found.sum(axis=1)).max() < 1e-12


def test_a_step_that_is_asked_for_again_leaves_the_line_as_it_was():
    once, _, _, _ = walk(3, True, range(9))
    twice, _, _, _ = walk(3, True, sorted([*range(9), 6]))
    np.testing.assert_array_equal(np.delete(twice, 6, axis=0), once)


def test_what_is_forgotten_is_calculated_anew():
    _, calculated, _, charges = walk(4, True, [0, 1, 2])
    charges.forget()
    charges.at(3, rock_salt())
    assert len(calculated) == 2


def test_an_interval_of_no_steps_is_refused():
    with pytest.raises(InputError, match="charges every 0 steps are not possible; give every=1 or more"):
        SparseCharges(random_tensors, 0, False)
