"""Charges from functions, calculators and labels."""

import pickle

import numpy as np
import pytest
from ase.calculators.emt import EMT
from helpers.crystals import labelled_crystal

from equivar_jax.calculators.charges import make_charge_function
from equivar_jax.errors import InputError
from equivar_jax.response.phonons.harmonic import HarmonicCrystal
from equivar_jax.structures import born_effective_charges, labels_of


def test_functions_calculators_and_labels_give_the_same_tensors():
    atoms = labelled_crystal()
    expected = born_effective_charges(atoms)
    springs = HarmonicCrystal(atoms, np.zeros((3, 3, 3, 3)), expected)
    for charges in (labels_of, springs, lambda _: expected):
        np.testing.assert_array_equal(make_charge_function(charges)(atoms), expected)
    single = make_charge_function(lambda _: expected.astype(np.float32))(atoms)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, expected, rtol=1e-6)


def test_an_array_that_is_filled_again_does_not_change_what_was_given():
    atoms, tensors = labelled_crystal(), np.zeros((3, 3, 3))

    def fill(_):
        tensors[:] += 1
        return tensors

    given = make_charge_function(fill)
    first, second = given(atoms), given(atoms)
    assert (first.max(), second.max()) == (1, 2)


def test_what_gives_no_charges_is_refused():
    atoms = labelled_crystal()
    with pytest.raises(InputError, match="no born_effective_charges from EMT; give a calculator"):
        make_charge_function(EMT())
    with pytest.raises(InputError, match=r"charges of shape \(3, 9\), expected \(3, 3, 3\); give nine"):
        make_charge_function(lambda _: np.zeros((3, 9)))(atoms)
    with pytest.raises(InputError, match="charge of atom 1 is not finite"):
        make_charge_function(lambda _: np.where(np.arange(3) == 1, np.nan, 0)[:, None, None] * np.eye(3))(
            atoms
        )
    with pytest.raises(InputError, match="label it, leave it out, or name a model by --checkpoint"):
        labels_of(atoms.copy())


def test_charges_of_a_function_or_a_calculator_go_to_another_process():
    atoms = labelled_crystal()
    expected = born_effective_charges(atoms)
    springs = HarmonicCrystal(atoms, np.zeros((3, 3, 3, 3)), expected)
    for charges in (labels_of, springs):
        sent = pickle.loads(pickle.dumps(make_charge_function(charges)))
        np.testing.assert_array_equal(sent(atoms), expected)
