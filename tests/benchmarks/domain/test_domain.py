"""Scores of warnings, and the definitions of distance that are compared."""

import numpy as np
import pytest

from benchmarks.domain.definitions import DEFINITIONS, in_units
from benchmarks.domain.scores import mean_of, score_distances, score_warnings, worst_of
from equivar_jax.uncertainty import LastFeatures, feature_domain


def cloud(seed, scale=1.0, atoms=1500):
    rng = np.random.default_rng(seed)
    array = scale * rng.normal(size=(atoms, 4, 8)).astype(np.float32)
    return LastFeatures((1, 3), rng.choice([8, 14], atoms), array)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_one_in_a_hundred_is_beyond_the_unit_and_what_is_larger_is_farther(name):
    near, wide = (in_units(DEFINITIONS[name], cloud(0), cloud(1), part) for part in (cloud(1), cloud(2, 3.0)))
    assert np.mean(near > 1) == pytest.approx(0.01, abs=3e-3)
    assert np.median(wide) > 1.5


def test_the_definition_of_the_package_is_the_one_that_is_measured():
    training, held_out, other = cloud(0), cloud(1), cloud(2, 1.5)
    measured = in_units(DEFINITIONS["norms"], training, held_out, other)
    np.testing.assert_allclose(feature_domain(training, held_out).distances(other), measured, rtol=0.05)


def test_shares_of_warned_atoms():
    errors = np.arange(1000.0)
    worst = worst_of(errors)
    assert worst.sum() == 10
    assert score_warnings(errors >= 995, worst) == {"detected": 0.5, "false_alarms": 0.0}
    found = score_distances(errors / 500, np.zeros(10), errors)
    assert found["at"]["1"] == pytest.approx({"detected": 1.0, "false_alarms": 489 / 990, "held_out": 0.0})
    assert found["detected_at_5_percent"] == 1.0
    assert found["spearman"] == pytest.approx(1.0)
    backwards = score_distances(-errors, np.zeros(10), errors)
    assert backwards["detected_at_5_percent"] == 0.0
    assert mean_of([{"a": {"b": 1.0}}, {"a": {"b": 2.0}}]) == {"a": {"b": 1.5}}
