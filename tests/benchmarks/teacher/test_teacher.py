import dataclasses
import json

import jax
import numpy as np
import pytest
from helpers.crystals import labelled_crystal

from benchmarks.real_data.__main__ import earlier_deep
from benchmarks.teacher import __main__ as teacher
from benchmarks.teacher import side_by_side
from equivar_jax.io import read_structures, write_structures
from equivar_jax.structures import born_effective_charges
from equivar_jax.training.run_directory import read_records

SET, MEMBERS, FRAMES, MADE = "SiO2-300K", 2, 5, 3


@pytest.fixture
def trajectory(tmp_path, monkeypatch):
    """Frames of a crystal in the place of the real ones, and a network of a few weights."""
    config = earlier_deep()
    small = dataclasses.replace(
        config.model, cutoff=3.0, channels=2, interactions=1, edge_hidden=2, radial_functions=4, embedding=4
    )
    monkeypatch.setattr(teacher, "earlier_deep", lambda: dataclasses.replace(config, model=small))
    frames = [labelled_crystal(seed) for seed in range(FRAMES + 2)]
    (tmp_path / "parts").mkdir()
    write_structures(tmp_path / "parts" / f"{SET}-train.extxyz", frames[:FRAMES])
    write_structures(tmp_path / "parts" / f"{SET}-test.extxyz", frames[FRAMES:])

    def run(*words):
        arguments = ["teacher", SET, "--members", str(MEMBERS), "--runs", str(tmp_path), *words]
        monkeypatch.setattr("sys.argv", [*arguments, "--output", str(tmp_path / "rows.json")])
        teacher.main()
        return json.loads((tmp_path / "rows.json").read_text())["rows"][-1]

    return tmp_path, run


@pytest.mark.slow  # compiles second derivatives for all members
def test_a_teacher_learns_and_labels_mixed_frames(trajectory, monkeypatch, capsys):
    folder, run = trajectory
    row = run("--epochs", "30", "--frames", str(MADE))
    assert (row["epochs"], row["seeds"], row["structures"]["training"]) == (30, [0, 1], FRAMES)
    losses = [record["train_loss"] for record in read_records(folder / row["run"])]
    assert np.shape(losses) == (30, MEMBERS)
    assert np.all(np.array(losses[-1]) < np.array(losses[0]))
    assert losses[-1][0] != losses[-1][1]  # members differ
    assert row["tests"]["test"]["structures"] == 2
    assert row["tests"]["test"]["overall"]["mae"] <= np.mean(row["tests"]["test"]["members_mae"])
    taught = read_structures(folder / "parts" / f"{SET}-taught.extxyz")
    real = read_structures(folder / "parts" / f"{SET}-train.extxyz")
    assert len(taught) == FRAMES + MADE
    for kept, atoms in zip(taught, real, strict=False):
        np.testing.assert_allclose(born_effective_charges(kept), born_effective_charges(atoms), atol=1e-6)
    for atoms in taught[FRAMES:]:
        tensors = born_effective_charges(atoms)
        np.testing.assert_allclose(tensors.sum(axis=0), 0.0, atol=1e-4)  # derivatives obey the sum rule
        assert np.abs(tensors).max() > 0.1
    # Again: the weights are read, and the same frames labelled as before.
    (folder / "parts" / f"{SET}-taught.extxyz").unlink()
    monkeypatch.setattr(teacher, "train_members", None)
    run("--epochs", "30", "--frames", str(MADE))
    again = read_structures(folder / "parts" / f"{SET}-taught.extxyz")
    for first, second in zip(taught, again, strict=True):
        np.testing.assert_allclose(*map(born_effective_charges, (first, second)), atol=1e-6)
    (folder / row["run"] / "weights.npz").unlink()
    with pytest.raises(SystemExit):
        run("--epochs", "30")
    assert "a run that was not finished" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--members", "0"], ["--epochs", "0"], ["--held-out", str(FRAMES - 1)]])
def test_unusable_numbers_are_refused_before_anything_is_made(trajectory, capsys, words):
    folder, run = trajectory
    with pytest.raises(SystemExit):
        run(*words)
    assert "takes at least one member, one epoch and two frames" in capsys.readouterr().err
    assert not (folder / "real_teacher").exists()


@pytest.mark.slow  # as above
def test_held_out_frames_are_tested_on_and_nothing_is_labelled(trajectory):
    folder, run = trajectory
    row = run("--epochs", "1", "--held-out", "2")
    assert row["structures"]["training"] == FRAMES - 2
    assert row["tests"]["test"]["structures"] == 2
    assert "held out" in row["label"]
    assert not (folder / "parts" / f"{SET}-taught.extxyz").exists()


@pytest.mark.slow  # as above
def test_the_members_start_apart_and_at_the_spread_of_the_labels(trajectory):
    structures = [labelled_crystal(seed) for seed in range(2)]
    config = dataclasses.replace(teacher.earlier_deep().model, mean_neighbours=9.0, kernel="chunked")
    samples, frames = side_by_side.stack_frames(structures, config.cutoff)
    first = jax.tree.map(lambda leaf: leaf[0], frames)
    model, params = side_by_side.start_members(config, samples, first, [0, 1])
    found = jax.jit(jax.vmap(lambda member: model.apply(member, first.graph)))(params)
    found = np.asarray(found)[:, :3]
    np.testing.assert_allclose(found.sum(axis=1), 0.0, atol=1e-4)
    assert not np.allclose(found[0], found[1])
    spread = np.std(found - np.trace(found, axis1=2, axis2=3)[..., None, None] / 3 * np.eye(3))
    assert 0.2 < spread / np.std(born_effective_charges(structures[0])) < 5.0
