import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from matplotlib.figure import Figure

from equivar_jax.errors import InputError
from equivar_jax.reports.fold_report import CrossValidation, plot_cross_validation, read_evaluation_report
from equivar_jax.reports.metrics import summarise_errors

ELEMENTS = ([8, 12, 8, 22], [8, 12, 8], [8, 8, 8, 8, 8, 12])  # Ti only in the first fold


def fold(numbers, seed):
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(len(numbers), 3, 3))
    reference[1, 0, 0] = 0.01  # below the floor of the percentage error
    predicted = reference + rng.normal(scale=0.1 + seed, size=reference.shape)
    return np.array(numbers), predicted, reference, rng.random(2), np.array([1, len(numbers) - 1])


ARRAYS = [fold(numbers, seed) for seed, numbers in enumerate(ELEMENTS)]


@pytest.fixture
def result():
    return CrossValidation(tuple(summarise_errors(*arrays) for arrays in ARRAYS), (("Ti",), (), ()))


def test_pooled_errors_are_those_of_all_atoms_at_once(result):
    expected = summarise_errors(*(np.concatenate(parts) for parts in zip(*ARRAYS, strict=True)))
    assert list(result.pool().elements) == list(expected.elements) == ["O", "Mg", "Ti"]
    for found, known in (
        (result.pool().overall, expected.overall),
        *((result.pool().elements[symbol], expected.elements[symbol]) for symbol in expected.elements),
        (result.pool().drift, expected.drift),
    ):
        assert asdict(found) == pytest.approx(asdict(known), rel=1e-12)
    assert expected.overall.rmspe_excluded >= 3


def test_a_percentage_error_over_nothing_stays_out_of_the_mean():
    numbers, zeros = np.array([8]), np.zeros((1, 3, 3))
    ones = zeros + np.eye(3)
    folds = (summarise_errors(numbers, ones, zeros), summarise_errors(numbers, 1.5 * ones, ones))
    both = CrossValidation(folds, ((), ()))
    assert math.isnan(folds[0].overall.rmspe_diagonal)
    assert both.pool().overall.rmspe_diagonal == pytest.approx(50.0)
    assert both.spreads()["O"]["rmspe_diagonal"].values == (None, pytest.approx(50.0))
    assert both.to_dict()["over_folds"]["O"]["rmspe_diagonal"]["standard_deviation"] is None
    neither = CrossValidation(folds[:1], ((),))
    assert math.isnan(neither.pool().overall.rmspe_diagonal)
    assert neither.pool().drift is None
    assert neither.table().splitlines()[-1].endswith("  -")


def test_the_spread_is_that_of_the_folds_that_have_the_element(result):
    values = [report.overall.mae for report in result.folds]
    spread = result.spreads()["all"]["mae"]
    assert spread.values == tuple(values)
    assert spread.mean == pytest.approx(sum(values) / 3)
    deviations = [(value - spread.mean) ** 2 for value in values]
    assert spread.standard_deviation == pytest.approx(math.sqrt(sum(deviations) / 2))
    titanium = result.spreads()["Ti"]["mae_diagonal"]
    assert titanium.values == (result.folds[0].elements["Ti"].mae_diagonal, None, None)
    assert titanium.mean == titanium.values[0]
    assert math.isnan(titanium.standard_deviation)


def test_the_table_has_both_means_and_names_unseen_elements(result):
    over_atoms, over_folds = result.table().split("\n\n")
    (line,) = [line for line in over_atoms.splitlines() if line.startswith("all")]
    assert line.split()[1:3] == ["13", f"{result.pool().overall.mae:.4f}"]
    rows = {line.split()[0]: line.split()[1:] for line in over_folds.splitlines()[3:-1]}
    spread = result.spreads()["Mg"]["mae"]
    assert rows["Mg"][:4] == ["3", f"{spread.mean:.4f}", "±", f"{spread.standard_deviation:.4f}"]
    assert rows["Ti"][:2] == ["1", f"{result.folds[0].elements['Ti'].mae:.4f}"]
    assert over_folds.endswith("Validated on without having been trained on: Ti in fold 0.")
    assert "Validated on" not in CrossValidation(result.folds, ((), (), ())).table()


def test_the_dictionary_goes_through_json_and_the_reports_come_back(result, tmp_path):
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert content["over_folds"]["Ti"]["mae"]["values"][1:] == [None, None]
    assert content["unseen"] == [["Ti"], [], []]
    for stored, report in zip(content["folds"], result.folds, strict=True):
        (tmp_path / "validation.json").write_text(json.dumps(stored))
        assert read_evaluation_report(tmp_path / "validation.json") == report


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"overall": {"mae": 1}, "elements": {}, "drift": null}'])
def test_other_files_are_no_reports(tmp_path, text):
    (tmp_path / "validation.json").write_text(text)
    with pytest.raises(InputError, match=r"validation\.json: not the evaluation of a fold .*remove the file"):
        read_evaluation_report(tmp_path / "validation.json")


def test_the_picture_shows_means_spreads_and_folds_of_each_element(result, tmp_path, monkeypatch):
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *a, **k: (figures.append(figure), save(figure, *a, **k))
    )
    plot_cross_validation(result, tmp_path / "cross_validation.png")
    assert (tmp_path / "cross_validation.png").read_bytes().startswith(b"\x89PNG")
    for axes, name in zip(figures[0].axes, ("mae_diagonal", "mae_off_diagonal"), strict=True):
        spreads = [errors[name] for errors in result.spreads().values()]
        np.testing.assert_allclose([bar.get_height() for bar in axes.patches], [s.mean for s in spreads])
        points = next(c for c in axes.collections if len(c.get_offsets()) == 3 + 3 + 3 + 1)
        np.testing.assert_allclose(points.get_offsets()[:, 1], [v for s in spreads for v in s.present])
        assert "(e)" in axes.get_ylabel()
    labels = figures[0].axes[1].get_xticklabels()
    assert [text.get_text() for text in labels] == ["all", "O", "Mg", "Ti"]
    with pytest.raises(InputError, match="no picture format"):
        plot_cross_validation(result, tmp_path / "picture.odt")
