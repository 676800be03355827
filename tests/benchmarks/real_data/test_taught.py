"""The networks of two trajectories that are kept beside the benchmarks."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.crystals import assert_no_absolute_path

from benchmarks.common.timing import RESULTS
from benchmarks.real_data import keep_taught
from benchmarks.real_data.keep_taught import MEMBERS, TAUGHT, WAYS, calibrate_like, keep_network
from benchmarks.real_data.parts import TEST_FRAMES, divide_set
from equivar_jax import load
from equivar_jax.config.files import load_config
from equivar_jax.datasets.demonstration import demonstration_set
from equivar_jax.errors import InputError
from equivar_jax.reports.evaluation import evaluate_model
from equivar_jax.uncertainty.domain import DomainWarning, without_domain_warnings

pytestmark = pytest.mark.skipif(
    not any(TAUGHT.glob("*/checkpoints")), reason="a source distribution comes without the networks"
)
DATA = os.environ.get("EQUIVAR_DATA")


@pytest.mark.parametrize("name", TEST_FRAMES)
def test_they_are_trained_on_every_frame_as_the_table_says_and_name_no_place(name):
    model, way = load(TAUGHT / name), WAYS[name]
    told = look_up(name)
    config, found = load_config(way.config), model.metadata.config
    assert dataclasses.replace(found.model, mean_neighbours=None) == config.model
    assert dataclasses.replace(found.train, epochs=0, seed=0, keep="best") == dataclasses.replace(
        config.train, epochs=0, seed=0
    )
    assert (told["config"], told["epochs"]) == way
    assert (model.members, found.train.epochs) == (MEMBERS, way.epochs)
    assert model.metadata.statistics["structures"] == told["frames"]["every"]
    assert_no_absolute_path(TAUGHT / name)


@pytest.mark.parametrize("name", TEST_FRAMES)
def test_they_have_a_calibrated_uncertainty_and_know_their_domain(name):
    metadata = load(TAUGHT / name).metadata
    assert metadata.calibration.spearman > 0.2
    assert metadata.domain.largest_sigma > 0
    assert len(metadata.features) == MEMBERS


@pytest.mark.parametrize("name", TEST_FRAMES)
def test_the_readme_has_the_errors_of_the_committee_that_had_not_seen_the_last_frames(name):
    told = look_up(name)
    lines = (TAUGHT / "README.md").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"| `{name}` |"))
    assert f"| {told['mae']:.4f} | {told['rmse']:.4f} |" in line
    assert f"| {told['frames']['known']} | {told['frames']['test']} |" in line


@pytest.mark.slow  # large frames
@pytest.mark.skipif(DATA is None, reason="EQUIVAR_DATA is not set")
@pytest.mark.parametrize("name", TEST_FRAMES)
def test_they_have_learned_their_frames_and_warn_of_a_compressed_crystal(name):
    model = load(TAUGHT / name)
    _, test, _ = divide_set(name, Path(DATA))
    assert evaluate_model(model, test).overall.mae < look_up(name)["mae"]
    crystal = test[0]
    tensors, sigma = model.predict(crystal, uncertainty=True)
    np.testing.assert_allclose(tensors.sum(axis=0), 0.0, atol=1e-4)
    errors = np.abs(tensors - crystal.calc.results["born_effective_charges"])
    assert np.mean(errors < 2 * sigma) > 0.9
    crystal.set_cell(0.93 * crystal.cell.array, scale_atoms=True)
    with pytest.warns(DomainWarning):
        model.predict(crystal)


@pytest.mark.slow  # trains six small networks
def test_a_committee_of_every_frame_has_the_calibration_of_one_that_has_not_seen_the_last(
    tmp_path, monkeypatch
):
    frames = list(demonstration_set(perovskites=9, seed=3, progress=False))
    monkeypatch.setattr(keep_taught, "divide_set", lambda *_: (frames[:6], frames[6:], 0))
    monkeypatch.setattr(keep_taught, "data_folder", lambda: tmp_path)
    monkeypatch.setitem(WAYS, "BaTiO3-300K", keep_taught.Way("test", 2))
    output, target = tmp_path / "kept.json", tmp_path / "taught"
    words = ["--sets", "BaTiO3-300K", "--runs", str(tmp_path), "--output", str(output)]
    (target / "BaTiO3-300K" / "checkpoints" / "best" / "999").mkdir(parents=True)
    output.write_text('{"another": {}}')
    keep_taught.main([*words, "--target", str(target)])
    kept = load(target / "BaTiO3-300K")
    known, every = (load(tmp_path / "kept" / f"BaTiO3-300K-{part}") for part in ("known", "every"))
    assert known.metadata.statistics["structures"] == 6
    assert kept.metadata.statistics["structures"] == 9
    with without_domain_warnings():  # of nine structures every element is rare
        np.testing.assert_array_equal(kept.predict(frames[0]), every.predict(frames[0]))
        error = evaluate_model(known, frames[6:]).overall.mae
    assert kept.metadata.calibration is not None
    assert kept.metadata.domain.largest_sigma > 0
    told = look_up("BaTiO3-300K", output)
    assert told["mae"] == pytest.approx(error, rel=1e-5)
    assert told["frames"] == {"known": 6, "test": 3, "every": 9}
    assert look_up("another", output) == {}
    other = dataclasses.replace(known.metadata, members=MEMBERS + 1)
    with pytest.raises(InputError, match="differ in more than their frames"):
        calibrate_like(every, dataclasses.replace(known, metadata=other))
    keep_network(known, target / "BaTiO3-300K")  # takes the place of what is there
    assert load(target / "BaTiO3-300K").metadata.statistics["structures"] == 6


def look_up(name, path=RESULTS / "kept.json"):
    """Return what a result file tells of a material."""
    return json.loads(path.read_text())[name]
