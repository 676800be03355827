"""Structures alone beside DFPT, on a crystal of springs in the place of both."""

import json

import numpy as np
import pytest

from benchmarks.common.timing import RESULTS
from benchmarks.real_data.from_charges.comparison import Tensors
from benchmarks.real_data.from_charges.crystals import Crystal
from benchmarks.real_data.from_structure import WAYS, answer, compare, errors, summarise, table
from equivar_jax import load
from equivar_jax.response.crystal.example import LATTICE_CONSTANT, STRETCHING, PairSprings
from equivar_jax.response.phonons.gamma import force_constants_by_differences, gamma_modes
from equivar_jax.response.phonons.gamma_input import Phonons
from equivar_jax.response.phonons.harmonic import rock_salt
from equivar_jax.structures import EPSILON


@pytest.fixture(scope="module")
def magnesia():
    """A crystal whose "DFPT" has the springs of the potential."""
    atoms = rock_salt("MgO", LATTICE_CONSTANT, cubic=False)
    atoms.calc = PairSprings()
    constants = force_constants_by_differences(atoms)
    atoms.calc = None
    atoms.info[EPSILON] = 3.0 * np.eye(3)
    return Crystal("MgO", Phonons(atoms, constants, np.array([2.0, -2.0])[:, None, None] * np.eye(3)))


def test_equal_forces_leave_the_error_to_the_charges(magnesia):
    row = compare(magnesia, load(), PairSprings())
    assert row["errors"]["potential"]["transverse_per_cm"] < 0.5
    assert row["errors"]["potential"]["static"] < 0.01
    assert row["errors"]["both"]["static"] == pytest.approx(row["errors"]["charges"]["static"], abs=0.01)
    assert row["errors"]["charges"]["transverse_per_cm"] == 0


def test_softer_springs_are_an_error_of_the_potential(magnesia):
    row = compare(magnesia, load(), PairSprings(stretching=0.81 * STRETCHING))
    assert row["errors"]["potential"]["transverse_shift"] == pytest.approx(-0.1, abs=0.005)


def test_errors_are_zero_for_equal_answers(magnesia):
    phonons = magnesia.phonons
    modes = gamma_modes(phonons.atoms, phonons.force_constants)
    one = answer(modes, phonons.atoms.get_volume(), Tensors(phonons.charges, 3.0 * np.eye(3)))
    assert set(errors(one, one).values()) == {0.0}
    other = answer(modes, phonons.atoms.get_volume(), Tensors(1.1 * phonons.charges, 3.0 * np.eye(3)))
    assert errors(other, one)["longitudinal_per_cm"] > 1


def test_the_kept_table_is_that_of_its_rows():
    kept = json.loads((RESULTS / "from_structure.json").read_text(encoding="utf-8"))
    for way, medians in summarise(kept["by_crystal"]).items():
        assert medians == pytest.approx(kept["medians"][way])
    assert len(kept["by_crystal"]) == 10
    assert table(kept).count("\n") == len(WAYS) + 1
