import dataclasses
import json
import math
from itertools import pairwise

import numpy as np
import pytest
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.errors import InputError
from equivar_jax.reports.metrics import (
    PERCENTAGE_FLOOR,
    EvaluationReport,
    Metrics,
    charge_drift,
    summarise_errors,
)

OFF_DIAGONAL = ~np.eye(3, dtype=bool)


def data(atoms: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    reference = rng.normal(scale=2.0, size=(atoms, 3, 3))
    reference[::5, 1, 1] = 0.01  # no percentage error there
    predicted = reference + rng.normal(scale=0.1, size=reference.shape)
    return rng.choice([8, 22, 56], atoms), predicted, reference


def numbers_of(report: EvaluationReport) -> np.ndarray:
    summaries = [report.overall, *report.elements.values(), *([report.drift] if report.drift else [])]
    return np.concatenate([dataclasses.astuple(summary) for summary in summaries])


def assert_matches_definitions(summary, predicted, reference):
    error = predicted - reference
    diagonal = np.diagonal(error, axis1=1, axis2=2)
    truth = np.diagonal(reference, axis1=1, axis2=2)
    counted = np.abs(truth) >= PERCENTAGE_FLOOR
    expected = {
        "atoms": len(error),
        "mae": np.abs(error).mean(),
        "rmse": np.sqrt((error**2).mean()),
        "mae_diagonal": np.abs(diagonal).mean(),
        "rmse_diagonal": np.sqrt((diagonal**2).mean()),
        "mae_off_diagonal": np.abs(error[:, OFF_DIAGONAL]).mean(),
        "rmse_off_diagonal": np.sqrt((error[:, OFF_DIAGONAL] ** 2).mean()),
        "rmspe_diagonal": 100 * np.sqrt(((diagonal / truth)[counted] ** 2).mean()),
        "rmspe_excluded": (~counted).sum(),
    }
    assert dataclasses.asdict(summary) == pytest.approx(expected, rel=1e-12)


def test_numbers_match_their_definitions():
    numbers, predicted, reference = data()
    report = summarise_errors(numbers, predicted, reference)
    assert_matches_definitions(report.overall, predicted, reference)
    assert list(report.elements) == ["O", "Ti", "Ba"]
    for symbol, number in (("O", 8), ("Ti", 22), ("Ba", 56)):
        assert_matches_definitions(
            report.elements[symbol], predicted[numbers == number], reference[numbers == number]
        )
    assert report.overall.rmspe_excluded >= 8
    assert report.drift is None


def test_hand_made_errors():
    reference = np.diag([2.0, -4.0, 0.05])[None]
    error = np.array([[[0.2, 0.3, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 0.6]]])
    overall = summarise_errors(np.array([8]), reference + error, reference).overall
    assert overall.mae == pytest.approx(1.5 / 9)
    assert overall.mae_diagonal == pytest.approx(0.4)
    assert overall.mae_off_diagonal == pytest.approx(0.05)
    assert overall.rmse_off_diagonal == pytest.approx(0.3 / math.sqrt(6))
    assert overall.rmspe_diagonal == pytest.approx(10.0)  # 10 % twice; the third reference is below the floor
    assert overall.rmspe_excluded == 1


def test_percentage_error_of_nothing_is_undefined_and_json_has_null():
    report = summarise_errors(np.array([8]), np.ones((1, 3, 3)), np.zeros((1, 3, 3)))
    assert math.isnan(report.overall.rmspe_diagonal)
    assert report.overall.rmspe_excluded == 3
    read = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert read["overall"]["rmspe_diagonal"] is None
    assert read["elements"]["O"]["mae"] == 1.0
    assert read["drift"] is None


def test_predictions_that_are_not_finite_show():
    predicted = np.ones((2, 3, 3))
    predicted[0, 0, 1] = np.nan
    report = summarise_errors(np.array([8, 14]), predicted, np.ones((2, 3, 3)))
    assert math.isnan(report.overall.mae)
    assert math.isnan(report.elements["O"].mae)
    assert report.elements["Si"].mae == 0.0
    assert report.to_dict()["overall"]["mae"] is None
    assert "nan" in report.table()


@examples(30)
@given(cuts=st.lists(st.integers(0, 40), max_size=4), merged=st.booleans())
def test_batches_and_merged_parts_give_the_whole(cuts, merged):
    numbers, predicted, reference = data()
    atoms = np.array([10, 1, 20, 9])
    drift = charge_drift(predicted, atoms)
    whole = summarise_errors(numbers, predicted, reference, drift, atoms)
    total = Metrics()
    bounds = [0, *sorted(cuts), 40]
    for start, stop in pairwise(bounds):
        part = Metrics() if merged else total
        part.update(numbers[start:stop], predicted[start:stop], reference[start:stop])
        if merged:
            total.merge(part)
    for index in range(4):
        part = Metrics() if merged else total
        part.update_drift(drift[index : index + 1], atoms[index : index + 1])
        if merged:
            total.merge(part)
    np.testing.assert_allclose(numbers_of(total.to_report()), numbers_of(whole), rtol=1e-12)


def test_single_precision_is_summed_in_double():
    atoms = 20_000
    predicted = np.full((atoms, 3, 3), 0.1, dtype=np.float32)
    report = summarise_errors(np.full(atoms, 8), predicted, np.zeros_like(predicted))
    assert report.overall.mae == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_charge_drift_per_cell_and_per_atom():
    tensors = np.zeros((5, 3, 3))
    tensors[0, 0, 1], tensors[1, 0, 1] = 0.9, -0.9  # cancels within the first cell
    tensors[1] += 0.2 * np.eye(3)
    tensors[4] = np.eye(3) - 0.45
    atoms = np.array([2, 3])
    drift = charge_drift(tensors, atoms, np.array([0.0, 1.0]))
    np.testing.assert_allclose(drift, [0.2 * 3 / 9, 0.45])
    metrics = Metrics()
    metrics.update(np.full(5, 8), tensors, tensors)
    metrics.update_drift(drift, atoms)
    summary = metrics.to_report().drift
    assert dataclasses.astuple(summary) == pytest.approx(
        (2, (drift[0] + drift[1]) / 2, 0.45, (drift[0] / 2 + drift[1] / 3) / 2, 0.15)
    )


def test_drift_is_zero_once_the_sum_rule_holds():
    _, predicted, _ = data()
    np.testing.assert_allclose(
        charge_drift(predicted - predicted.mean(axis=0), np.array([40])), 0.0, atol=1e-13
    )
    assert charge_drift(np.zeros((0, 3, 3)), np.zeros(0, int)).shape == (0,)


@pytest.mark.parametrize("atoms", [[3], [2, 0], [1, 2]])
def test_drift_of_atoms_that_do_not_add_up_is_refused(atoms):
    with pytest.raises(InputError, match="remove padding"):
        charge_drift(np.zeros((2, 3, 3)), np.array(atoms))


def test_no_atoms_is_an_input_error():
    with pytest.raises(InputError, match="no atoms"):
        summarise_errors(np.zeros(0, int), np.zeros((0, 3, 3)), np.zeros((0, 3, 3)))
    with pytest.raises(InputError, match="no atoms"):
        Metrics().to_report()


@pytest.mark.parametrize("number", [0, -1, 119])
def test_padding_among_the_atoms_is_refused(number):
    with pytest.raises(InputError, match="remove padding"):
        summarise_errors(np.array([number]), np.zeros((1, 3, 3)), np.zeros((1, 3, 3)))


def test_drift_needs_the_numbers_of_atoms():
    numbers, predicted, reference = data()
    with pytest.raises(InputError, match="give both"):
        summarise_errors(numbers, predicted, reference, drift=np.zeros(1))
    with pytest.raises(InputError, match="at least one atom"):
        Metrics().update_drift(np.zeros(1), np.zeros(1, int))


def test_table_is_aligned_and_complete():
    numbers, predicted, reference = data()
    table = summarise_errors(numbers, predicted, reference, np.array([0.25]), np.array([40])).table()
    lines = table.splitlines()
    assert len({len(line) for line in lines[:6]}) == 1
    assert [line.split()[0] for line in lines[2:6]] == ["all", "O", "Ti", "Ba"]
    assert lines[2].split()[1] == "40"
    assert "per cell mean 0.2500" in table
    assert f"below {PERCENTAGE_FLOOR} e" in table
    assert not any(line != line.rstrip() for line in lines)


def test_report_is_frozen():
    report = summarise_errors(*data())
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.overall.mae = 0.0
