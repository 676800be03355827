"""The network of a predictor under its name, and under its old one."""

import pytest
from helpers.committees import joined, network


@pytest.mark.parametrize("make", [lambda: network(0), joined])
def test_the_old_name_of_the_network_warns_and_names_the_new_one(make):
    predictor = make()
    with pytest.warns(DeprecationWarning, match=r"Predictor\.model is now Predictor\.network"):
        found = predictor.model
    assert found is predictor.network
