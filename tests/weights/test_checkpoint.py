import dataclasses
import errno
import json
import os
import sys

import jax
import numpy as np
import pytest

from equivar_jax.config.schema import Config, DataConfig, DemonstrationConfig, ModelConfig, TrainConfig
from equivar_jax.errors import InputError
from equivar_jax.weights.checkpoint import CheckpointWriter, Metadata, check_parameters, read_checkpoint

CONFIG = Config(
    DataConfig("a.extxyz", group_key="g", demonstration=DemonstrationConfig(zro2=3)),
    ModelConfig(channels=4, mean_neighbours=9.25),
    TrainConfig(ema_decay=0.9, gradient_clip=None),
)
METADATA = Metadata(CONFIG, (8, 22), {"structures": 3, "mean_neighbours": 9.25}, 7, 2, 0.25, 0.125)


def tree(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "params": {
            "params": {"a": rng.normal(size=(3, 4)).astype(np.float32), "b": np.float32(rng.normal())}
        },
        "ema": None,
        "optimizer": {"0": {}, "1": {"count": np.array(5, np.int32), "mu": [rng.normal(size=2)]}},
    }


@pytest.fixture
def run(tmp_path):
    writer = CheckpointWriter(tmp_path / "run", "best")
    writer.save(tree(), METADATA)
    writer.close()
    return tmp_path / "run"


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_a_disk_that_takes_no_more_is_one_line_and_the_checkpoint_before_stays(run, capfd):
    resource = pytest.importorskip("resource")
    writer = CheckpointWriter(run, "best")
    large = {"params": np.random.default_rng(0).normal(size=(100, 100))}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))  # of a file, in place of the disk
    try:
        with pytest.raises(InputError) as error:
            writer.save(large, METADATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(error.value) == (
        f"{run}: a checkpoint cannot be written (File too large); make room, and go on from the one before "
        f"(a training: --resume {run})"
    )
    assert "Traceback" not in capfd.readouterr().err
    assert jax.tree.structure(read_checkpoint(run)[0]["params"]) == jax.tree.structure(tree()["params"])
    writer.save(large, METADATA)
    writer.close()
    np.testing.assert_array_equal(read_checkpoint(run)[0]["params"], large["params"])


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves no room")
def test_a_full_disk_is_noticed_before_anything_is_written(run, monkeypatch):
    """The room of the whole content is asked for, and the file that asks for it leaves nothing behind."""
    asked = []

    def fallocate(_: int, offset: int, size: int) -> None:
        asked.append(size - offset)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    before = sorted(run.rglob("*"))
    writer = CheckpointWriter(run, "best")
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\); make room"):
        writer.save({"params": np.zeros(10**6)}, METADATA)
    assert asked[0] > 8 * 10**6
    assert sorted(run.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system reserves no room")
def test_a_file_system_that_reserves_no_room_is_written_to(run, monkeypatch):
    def fallocate(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    writer = CheckpointWriter(run, "best")
    writer.save(tree(1), METADATA)
    writer.close()
    np.testing.assert_array_equal(
        read_checkpoint(run)[0]["params"]["params"]["a"], tree(1)["params"]["params"]["a"]
    )


def edited(run, change):
    (path,) = run.glob("checkpoints/best/*/metadata/metadata")
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_arrays_and_their_meaning_come_back_bit_for_bit(run):
    state, metadata = read_checkpoint(run)
    assert metadata == METADATA
    assert jax.tree.structure(state["params"]) == jax.tree.structure(tree()["params"])
    assert state["ema"] is None
    for found, saved in zip(jax.tree.leaves(state), jax.tree.leaves(tree()), strict=True):
        assert np.asarray(found).dtype == np.asarray(saved).dtype
        np.testing.assert_array_equal(found, saved)


def test_one_checkpoint_is_kept_and_it_is_the_newest(run):
    writer = CheckpointWriter(run, "best")
    for seed in (1, 2):
        writer.save(tree(seed), dataclasses.replace(METADATA, epoch=10 + seed))
    writer.close()
    (folder,) = (run / "checkpoints" / "best").iterdir()
    state, metadata = read_checkpoint(run)
    assert metadata.epoch == 12
    np.testing.assert_array_equal(state["params"]["params"]["a"], tree(2)["params"]["params"]["a"])
    assert read_checkpoint(folder)[1] == read_checkpoint(run / "checkpoints" / "best")[1] == metadata


def test_a_checkpoint_that_was_not_finished_is_passed_over(run):
    (run / "checkpoints" / "best" / "2.orbax-checkpoint-tmp-17").mkdir()
    assert read_checkpoint(run)[1] == METADATA
    writer = CheckpointWriter(run, "best")
    writer.save(tree(1), dataclasses.replace(METADATA, epoch=8))
    writer.close()
    assert read_checkpoint(run)[1].epoch == 8


def test_unknown_settings_in_a_checkpoint_are_refused(run):
    edited(run, lambda values: values["config"]["model"].update(chanels=3))
    with pytest.raises(InputError, match="unknown setting 'chanels'; did you mean 'channels'"):
        read_checkpoint(run)


def test_unknown_metadata_is_refused(run):
    edited(run, lambda values: values.update(colour="red"))
    with pytest.raises(InputError, match="colour"):
        read_checkpoint(run)


@pytest.mark.parametrize("change", [{"architecture": "Other"}, {"format": 2}])
def test_a_checkpoint_of_another_program_is_refused(run, change):
    edited(run, lambda values: values.update(change))
    with pytest.raises(InputError, match="this program reads 'Equivar', format 1"):
        read_checkpoint(run)


@pytest.mark.parametrize("damage", ["arrays cut short", "no arrays", "metadata cut short", "no metadata"])
def test_a_damaged_checkpoint_is_one_clear_line(run, damage):
    (folder,) = (run / "checkpoints" / "best").iterdir()
    part = folder / ("state" if "arrays" in damage else "metadata")
    for path in [path for path in part.rglob("*") if path.is_file()]:
        if "cut short" in damage:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        else:
            path.unlink()
    with pytest.raises(InputError) as caught:
        read_checkpoint(run)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_places_without_a_checkpoint_are_refused(tmp_path, run):
    with pytest.raises(InputError, match="no such run directory"):
        read_checkpoint(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no 'best' checkpoint in it"):
        read_checkpoint(tmp_path / "empty")
    with pytest.raises(InputError, match="no 'last' checkpoint in it"):
        read_checkpoint(run, "last")
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="no 'best' checkpoint in it"):
        read_checkpoint(tmp_path / "file")


def test_weights_of_another_shape_missing_or_superfluous_are_named():
    params = {"a": np.zeros((2, 3)), "b": np.zeros(4)}
    check_parameters(params, {"a": np.ones((2, 3)), "b": np.ones(4)}, "RUN")
    for wrong, name in (
        ({**params, "b": np.zeros(5)}, "b"),
        ({"a": params["a"]}, "b"),
        ({**params, "c": 0.0}, "c"),
    ):
        wrong = {key: np.asarray(value) for key, value in wrong.items()}
        with pytest.raises(InputError, match=rf"RUN: weight \['{name}'\] has shape.*another architecture"):
            check_parameters(wrong, params, "RUN")
