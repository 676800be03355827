"""The network of a predictor under its name, and under its old one; what may be given to it."""

import numpy as np
import pytest
from helpers.committees import joined, network
from helpers.crystals import labelled_crystal

from equivar_jax.errors import InputError


@pytest.mark.parametrize("make", [lambda: network(0), joined])
def test_the_old_name_of_the_network_warns_and_names_the_new_one(make):
    predictor = make()
    with pytest.warns(DeprecationWarning, match=r"Predictor\.model is now Predictor\.network"):
        found = predictor.model
    assert found is predictor.network


@pytest.mark.filterwarnings("ignore::equivar_jax.prediction.UnseenElementWarning")
def test_structures_come_as_any_iterable_and_names_of_files_are_refused():
    """A generator, as ASE's iread is one, may be used up only once."""
    predictor, structures = network(0), [labelled_crystal(seed) for seed in range(3)]
    expected = predictor.predict(structures, allow_unseen=True)
    found = predictor.predict((atoms for atoms in structures), allow_unseen=True)
    np.testing.assert_array_equal(np.stack(found), np.stack(expected))
    with pytest.raises(InputError, match=r"'POSCAR', a name, .* read the file"):
        predictor.predict("POSCAR")
