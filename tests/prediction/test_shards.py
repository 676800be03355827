"""Sweeps in shards: every structure once, whatever is killed, and joined to the output of one sweep."""

import contextlib
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import ase.db
import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from helpers.crystals import titanate
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax import predict
from equivar_jax.errors import InputError
from equivar_jax.io import extxyz, write_structures
from equivar_jax.prediction.sweep import Shard, find_input_files, parse_shard
from equivar_jax.prediction.sweep import inputs as sweep_inputs
from equivar_jax.prediction.sweep.shards import owner

FORMATS = ("out.csv", "out.extxyz", "out.csv.gz", "out.extxyz.zst", "out.db", "out.traj")


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of four structures."""
    monkeypatch.setattr(sweep_inputs, "WINDOW_STRUCTURES", 4)


@pytest.fixture
def mixed(tmp_path):
    """A folder with structures of all sizes in text, databases, trajectories and single files, some bad."""
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    write_structures(folder / "a.extxyz", [titanate(1 + k % 2, seed=k) for k in range(9)])
    write_structures(folder / "a.extxyz.gz", [titanate(1, seed=10 + k) for k in range(3)])
    write_structures(folder / "b" / "rows.db", [titanate(1, seed=20 + k) for k in range(5)])
    write_structures(folder / "b" / "steps.traj", [titanate(2, seed=30 + k) for k in range(5)])
    for k in range(4):
        (folder / f"c{k}").mkdir()
        write(folder / f"c{k}" / "POSCAR", titanate(1, seed=40 + k))
    (folder / "broken.cif").write_text("nothing that anybody can read\n")
    write_structures(folder / "unseen.extxyz", [bulk("NaCl", "rocksalt", a=5.6), titanate(1, seed=50)])
    write_structures(folder / "z.extxyz", [titanate(1, seed=60 + k) for k in range(6)])
    lines = (folder / "z.extxyz").read_text().splitlines(keepends=True)
    (folder / "z.extxyz").write_text("".join(lines[:-2]))
    return folder


def run(trained, *words):
    predict.main(["--checkpoint", str(trained.folder), *map(str, words)])


def run_all(trained, inputs, out, total, *words):
    for number in range(1, total + 1):
        run(trained, inputs, "-o", out, "--shard", f"{number}/{total}", *words)


def refusal(capsys, trained, *words):
    with pytest.raises(SystemExit) as stop:
        run(trained, *words)
    assert stop.value.code == 2
    return capsys.readouterr().err.splitlines()[-1].removeprefix("error: ")


def content(path):
    """What must be the same: bytes, or rows of a database, or frames of a trajectory."""
    if path.suffix == ".db":
        rows = list(ase.db.connect(path).select())
        return [
            (row.id, row.source, row.positions.tolist(), row.data.born_effective_charges.tolist())
            for row in rows
        ]
    if path.suffix == ".traj":
        return [
            (f.info, f.positions.tolist(), f.calc.results["born_effective_charges"].tolist())
            for f in read(path, ":")
        ]
    return path.read_bytes()


@given(file=st.integers(0, 10**6), first=st.integers(0, 10**6), total=st.integers(1, 200))
def test_a_round_of_frames_or_of_files_has_one_for_each_shard(file, first, total):
    start = first // total * total
    everyone = list(range(1, total + 1))
    assert sorted(owner(file, start + k, total) for k in range(total)) == everyone
    assert sorted(owner(file // total * total + k, first, total) for k in range(total)) == everyone
    assert [Shard(n, total).owns(file, first) for n in everyone].count(True) == 1


def test_a_period_in_the_input_does_not_load_one_shard():
    large = Counter(owner(0, 2 * k, 2) for k in range(500))  # every second structure is large
    assert min(large.values()) > 200


@pytest.mark.parametrize(
    "name", [FORMATS[0], *(pytest.param(n, marks=pytest.mark.slow) for n in FORMATS[1:])]
)
@pytest.mark.parametrize("total", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_joined_shards_are_the_output_of_one_sweep(
    trained, mixed, small_windows, tmp_path, name, total, capsys
):
    (tmp_path / "whole").mkdir()
    whole, out = tmp_path / "whole" / name, tmp_path / name
    run(trained, mixed, "-o", whole)
    told = capsys.readouterr().err.splitlines()[-1]
    run_all(trained, mixed, out, total)
    for words in ((), (mixed,)):  # with the inputs, which are then compared
        out.unlink(missing_ok=True)
        capsys.readouterr()
        run(trained, *words, "-o", out, "--join")
        assert capsys.readouterr().err.splitlines()[-1] == told.replace(str(whole), str(out))
        assert content(out) == content(whole)
        skipped = [path.with_name(f"{name}.skipped.csv").read_bytes() for path in (out, whole)]
        assert skipped[0] == skipped[1]
        assert skipped[0].count(b"\n") == 4
    assert not {f"{name}.part", f"{name}.progress"} & {path.name for path in tmp_path.iterdir()}


def test_a_shard_parses_only_its_own_frames(trained, tmp_path, monkeypatch):
    data = tmp_path / "in.extxyz"
    write_structures(data, [titanate(1, seed=k) for k in range(20)])
    parsed = []
    original = extxyz._make_structure
    monkeypatch.setattr(extxyz, "_make_structure", lambda *words: parsed.append(1) or original(*words))
    run(trained, data, "-o", tmp_path / "out.csv", "--shard", "2/4")
    assert len(parsed) == 5


def test_a_single_file_of_another_shard_is_not_opened(trained, mixed, tmp_path, monkeypatch):
    opened = []
    original = sweep_inputs.scan_structures

    def counting(path, *words, **options):
        opened.append(path)
        return original(path, *words, **options)

    monkeypatch.setattr(sweep_inputs, "scan_structures", counting)
    run_all(trained, mixed, tmp_path / "out.csv", 3)
    times = Counter(path.relative_to(mixed).as_posix() for path in opened)
    assert {times[name] for name in ("c0/POSCAR", "c1/POSCAR", "c2/POSCAR", "broken.cif")} == {1}
    assert times["a.extxyz"] == times["b/rows.db"] == 3


def test_a_finished_shard_is_not_done_again(trained, mixed, tmp_path, capsys, monkeypatch):
    out, own = tmp_path / "out.csv", tmp_path / "out.shard-002-of-003.csv"
    words = (mixed, "-o", out, "--shard", "2/3")
    run(trained, *words)
    before = own.read_bytes()
    own.write_bytes(before + b"mark")
    run(trained, *words)
    assert own.read_bytes() == before + b"mark"
    assert f"finished: {own}: " in capsys.readouterr().err
    run(trained, *words, "--restart")
    assert own.read_bytes() == before
    own.unlink()
    assert refusal(capsys, trained, *words) == (
        f"{own}: was finished but is gone; bring it back, or use --restart"
    )


def test_a_join_refuses_with_a_list(trained, mixed, tmp_path, capsys):
    out = tmp_path / "out.csv"
    assert "there are no shards out.shard-*.csv beside it" in refusal(capsys, trained, "-o", out, "--join")
    run_all(trained, mixed, out, 8)
    names = {number: tmp_path / f"out.shard-{number:03d}-of-008.csv" for number in range(1, 9)}
    names[1].with_name(f"{names[1].name}.progress").unlink()
    journal = names[2].with_name(f"{names[2].name}.progress")
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    other = tmp_path / "other"
    (other / "checkpoints").mkdir(parents=True)
    shutil.copytree(trained.folder / "checkpoints" / "last", other / "checkpoints" / "best")
    predict.main(["--checkpoint", str(other), str(mixed), "-o", str(out), "--shard", "3/8", "--restart"])
    run(trained, mixed / "a.extxyz", "-o", out, "--shard", "4/8", "--restart")
    names[5].unlink()
    names[6].write_bytes(names[6].read_bytes()[:-300])
    message = refusal(capsys, trained, "-o", out, "--join")
    assert message == (
        f"{out}: cannot be joined: shard 1/8 is missing, shard 2/8 is unfinished, shard 3/8 was made "
        "with another model, shard 4/8 was made from other input files, shard 5/8 has lost its output; run "
        "these again, with --restart where they were made differently"
    )
    assert not out.exists()
    for number in range(1, 6):
        run(trained, mixed, "-o", out, "--shard", f"{number}/8", "--restart")
    assert "has other structures than its journal says" in refusal(capsys, trained, "-o", out, "--join")
    run(trained, mixed, "-o", out, "--shard", "1/2")
    assert "there are shards of several divisions, 1 of 2 and 8 of 8" in refusal(
        capsys, trained, "-o", out, "--join"
    )


def test_a_join_with_inputs_refuses_shards_of_others(trained, mixed, tmp_path, capsys):
    out = tmp_path / "out.csv"
    run_all(trained, mixed, out, 2)
    message = refusal(capsys, trained, mixed / "a.extxyz", "-o", out, "--join")
    assert message.count("was made from other input files") == 2


def test_more_shards_than_structures_leave_some_empty(trained, tmp_path, capsys):
    data, out, whole = tmp_path / "in.extxyz", tmp_path / "out.csv", tmp_path / "whole.csv"
    write_structures(data, [titanate(1, seed=k) for k in range(2)])
    run_all(trained, data, out, 5)
    run(trained, "-o", out, "--join")
    run(trained, data, "-o", whole)
    assert out.read_bytes() == whole.read_bytes()
    data.write_text("5\nnothing\n")
    for path in tmp_path.glob("*shard*"):
        path.unlink()
    run_all(trained, data, out, 2)
    joined = refusal(capsys, trained, "-o", out, "--join")
    assert joined == refusal(capsys, trained, data, "-o", whole)


def test_shards_in_the_folder_of_the_input_are_not_read(trained, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_structures(folder / "a.extxyz", [titanate(1, seed=k) for k in range(4)])
    out = folder / "out.extxyz"
    run_all(trained, folder, out, 2)
    assert find_input_files([str(folder)], out) == [folder / "a.extxyz"]
    run(trained, folder, "-o", out, "--join")
    assert len(read(out, ":")) == 4


ARRAY = {"SLURM_ARRAY_TASK_ID": "14", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "10"}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({**ARRAY, "SLURM_ARRAY_TASK_STEP": "2"}, Shard(3, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "3"}, Shard(1, 3)),
        # In a step of 2 tasks of a job of 8.
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "2"}, Shard(2, 2)),
        ({"PMI_RANK": "2", "PMI_SIZE": "3"}, Shard(3, 3)),
        # mpirun in a batch script, whose own variables all tasks inherit.
        (
            {
                "OMPI_COMM_WORLD_RANK": "5",
                "OMPI_COMM_WORLD_SIZE": "8",
                "SLURM_PROCID": "0",
                "SLURM_NTASKS": "8",
            },
            Shard(6, 8),
        ),
        (
            {**ARRAY, "SLURM_ARRAY_TASK_ID": "11", "SLURM_PROCID": "2", "SLURM_NTASKS": "3"},
            Shard(6, 12),
        ),
    ],
)
def test_launchers_say_which_shard(environment, expected):
    assert parse_shard("auto", environment) == expected


def test_tasks_of_an_array_with_tasks_inside_are_all_shards():
    found = [
        parse_shard(
            "auto",
            {
                "SLURM_ARRAY_TASK_ID": str(task),
                "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_MIN": "1",
                "SLURM_PROCID": str(rank),
                "SLURM_NTASKS": "4",
            },
        )
        for task in range(1, 4)
        for rank in range(4)
    ]
    assert sorted(found) == [Shard(number, 12) for number in range(1, 13)]


@pytest.mark.parametrize(
    ("word", "environment", "words"),
    [
        ("auto", {}, "none of SLURM_ARRAY_TASK_ID, OMPI_COMM_WORLD_RANK, PMI_RANK, SLURM_PROCID is in the"),
        (
            "auto",
            ARRAY,
            "task 14 of an array job of 4 tasks from 10 in steps of 1; give an array without gaps",
        ),
        ("auto", {"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_COUNT='' is no whole number"),
        ("auto", {"PMI_RANK": "3", "PMI_SIZE": "3"}, "PMI_RANK=3 with PMI_SIZE=3; give --shard k/n"),
        ("0/4", {}, "expected k/n with k from 1 to n"),
        ("5/4", {}, "expected k/n with k from 1 to n"),
        ("3", {}, "expected k/n with k from 1 to n"),
    ],
)
def test_a_shard_that_makes_no_sense_is_refused(word, environment, words):
    with pytest.raises(InputError, match=words):
        parse_shard(word, environment)


def test_an_output_of_one_structure_has_no_shards(trained, mixed, tmp_path, capsys):
    message = refusal(capsys, trained, mixed, "-o", tmp_path / "BEC", "--shard", "1/2")
    assert message == f"{tmp_path / 'BEC'}: holds one structure, which has no shards; leave out --shard"


def test_nothing_is_divided_unasked(trained, tmp_path, monkeypatch):
    data, out = tmp_path / "in.extxyz", tmp_path / "out.csv"
    write_structures(data, [titanate(1, seed=k) for k in range(3)])
    for name, value in ARRAY.items():
        monkeypatch.setenv(name, value)
    run(trained, data, "-o", out)
    assert len(np.loadtxt(out, delimiter=",", skiprows=1, usecols=0, dtype=str)) == 15


SLOW_SWEEP = """
import sys, time
from equivar_jax import predict
from equivar_jax.prediction.sweep import inputs, journal, run
inputs.WINDOW_STRUCTURES = 2
def slowly(function):
    def slow(*words):
        time.sleep(0.02)
        function(*words)
        time.sleep(0.02)
    return slow
run.SweepWork.write = slowly(run.SweepWork.write)
journal.Journal._write = slowly(journal.Journal._write)
run._finish_shard = slowly(run._finish_shard)
print("ready", flush=True)
predict.main(sys.argv[1:])
"""


@pytest.mark.slow  # processes of their own
@pytest.mark.parametrize("name", ["out.csv", "out.db"])
def test_shards_that_are_killed_at_any_time_lose_and_double_nothing(trained, mixed, tmp_path, name):
    whole, out = tmp_path / f"whole-{name}", tmp_path / name
    run(trained, mixed, "-o", whole)
    rng = np.random.default_rng(len(name))
    kills = 0
    for number in (1, 2):
        words = ["--checkpoint", str(trained.folder), str(mixed), "-o", str(out), "--shard", f"{number}/2"]
        for attempt in range(40):
            with subprocess.Popen(
                [sys.executable, "-c", SLOW_SWEEP, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as process:
                assert process.stdout.readline() == b"ready\n"
                with contextlib.suppress(subprocess.TimeoutExpired):
                    # Early once, for kills on a quick machine, too; then most of a sweep, so that
                    # some come late, in the last steps.
                    longest = 0.1 if attempt == 0 else 1.5
                    process.wait(timeout=None if attempt > 12 else float(rng.uniform(0.05, longest)))
                process.kill()
            if process.returncode == 0:
                break
            assert process.returncode == -signal.SIGKILL
            kills += 1
    assert kills >= 2
    run(trained, "-o", out, "--join")
    assert content(out) == content(whole)
    assert Path(f"{out}.skipped.csv").read_bytes() == Path(f"{whole}.skipped.csv").read_bytes()


class Stopped(BaseException):
    """As if the process were killed there: nothing handles it."""


@pytest.mark.parametrize("name", ["out.csv", pytest.param("out.extxyz.gz", marks=pytest.mark.slow)])
def test_a_shard_that_stops_at_any_step_goes_on(trained, mixed, small_windows, tmp_path, monkeypatch, name):
    whole, out = tmp_path / f"whole-{name}", tmp_path / name
    run(trained, mixed, "-o", whole)
    from equivar_jax.prediction.sweep import run as sweep_run

    original = sweep_run.Journal._write
    stops = 0
    for number in (1, 2):
        for step in range(1, 20):
            calls = []

            def stop(self, values, calls=calls, step=step):
                calls.append(1)
                if len(calls) == step and step % 2:
                    raise Stopped
                original(self, values)
                if len(calls) == step:
                    raise Stopped

            with monkeypatch.context() as patch:
                patch.setattr(sweep_run.Journal, "_write", stop)
                try:
                    run(trained, mixed, "-o", out, "--shard", f"{number}/2")
                    break
                except Stopped:
                    stops += 1
        else:
            raise AssertionError("the shard never comes to its end")
    assert stops > 4
    run(trained, "-o", out, "--join")
    assert out.read_bytes() == whole.read_bytes()
