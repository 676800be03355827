"""The benchmark of faults: what it does to processes, what it finds, each command at a tiny size."""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.faults import __main__ as faults
from benchmarks.faults import compare, disk, kills, leaks
from benchmarks.faults import signals as sent
from benchmarks.faults.processes import Ended, run

REPOSITORY = Path(__file__).parents[3]
SLEEPER = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text("begun")
print("half a line", file=sys.stderr, flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def sleeper(tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    return {"PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_signal_comes_when_it_is_awaited_and_the_end_is_told(tmp_path, sleeper, kind):
    begun = tmp_path / "begun"
    ended = run(("sleeper", begun, 600), after=0.0, when=begun.exists, kind=kind, variables=sleeper)
    assert ended.status == -kind
    assert ended.was_signalled
    assert ended.is_plain


def test_a_process_that_ends_before_its_signal_is_not_said_to_be_killed(tmp_path, sleeper):
    ended = run(("sleeper", tmp_path / "begun", 0), after=600.0, variables=sleeper)
    assert (ended.status, ended.was_signalled, ended.last_line) == (0, False, "half a line")


def kill_with(monkeypatch, tmp_path, ends, differences):
    """Run the loop of kills on processes that end as given: killed (True) or not."""
    left = iter(ends)

    def ended(_words, *, after):
        is_killed = next(left)
        assert (after is None) <= (not is_killed)
        return Ended(-9 if is_killed else 0, "", 1.0, is_killed)

    monkeypatch.setattr(kills, "run", ended)

    def again(own, ended):
        own.mkdir(exist_ok=True)
        return None if ended is not None and not ended.was_signalled else ("command",)

    return kills._kill(tmp_path, 3, 1.0, 0, again, differences)


def test_work_is_taken_up_until_it_is_done_and_the_kills_are_spent(tmp_path, monkeypatch):
    found = kill_with(monkeypatch, tmp_path, [True, True, False, False, True, False], lambda _: [])
    assert (found["kills"], found["finished"], found["wrong"]) == (3, 3, [])


def test_work_that_differs_is_listed_and_kept(tmp_path, monkeypatch):
    found = kill_with(
        monkeypatch, tmp_path, [True, True, True, False], lambda own: [f"weights of {own.name}"]
    )
    assert found["wrong"] == [{"work": 0, "differs": ["weights of 0"]}]
    assert (tmp_path / "0").is_dir()


def test_runs_that_differ_in_anything_but_times_are_told_apart(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    for name in ("README.md",):  # it names its own folder
        (folder / name).write_text((folder / name).read_text().replace(str(trained.folder), str(folder)))
    assert compare.differences_of_runs(folder, trained.folder) == []
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    records[1] |= {"ms_per_atom": 1e9, "seconds": 1e9, "compiles": {}}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert compare.differences_of_runs(folder, trained.folder) == []
    records[1]["train_loss"] += 1e-9
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (folder / "history.png").unlink()
    (folder / "validation.json").write_text("{}")
    assert compare.differences_of_runs(folder, trained.folder) == [
        "files ['history.png']",
        "metrics.jsonl",
        "validation.json",
    ]
    (folder / ".half.part").write_text("")
    assert compare.left_over(folder) == [".half.part"]


@pytest.mark.parametrize(
    ("status", "errors", "complaint"),
    [
        (2, "warning: x\nerror: disk full; make room\n", None),
        (0, "", None),
        (2, "error: one\nerror: two\n", "exit status 2: error: two"),
        (1, "Traceback (most recent call last)\nOSError: no\n", "exit status 1: OSError: no"),
        (-9, "", "exit status -9: "),
    ],
)
def test_a_full_disk_must_be_said_in_one_line(status, errors, complaint):
    assert disk.complaint_of(Ended(status, errors, 1.0, False), finished=True) == complaint


def test_a_signal_must_be_answered_by_its_line_and_status():
    said = "SIGTERM: saved; continue"
    good = Ended(143, f"warning\n{said} with --resume x\n", 1.0, True)
    assert sent._complaint(good, signal.SIGTERM, said) is None
    for ended in (good._replace(status=1), good._replace(errors="Traceback\n" + good.errors)):
        assert sent._complaint(ended, signal.SIGTERM, said)


def test_memory_that_grows_is_found(monkeypatch):
    sizes = iter(range(0, 100 * leaks.ALLOWED, leaks.ALLOWED))
    monkeypatch.setattr(leaks, "resident_bytes", lambda: next(sizes))
    assert leaks.watch(lambda: None, 50)["wrong"] == [f"{44 * leaks.ALLOWED} bytes more after 50 calls"]
    monkeypatch.setattr(leaks, "resident_bytes", lambda: 10**9)
    assert leaks.watch(lambda: None, 50)["wrong"] == []


@pytest.mark.parametrize("place", [8, 25, 48])
def test_memory_that_grows_once_is_no_leak(monkeypatch, place):
    sizes = iter([10**9] * place + [10**9 + 2 * leaks.ALLOWED] * (50 - place))
    monkeypatch.setattr(leaks, "resident_bytes", lambda: next(sizes))
    assert leaks.watch(lambda: None, 50)["wrong"] == []


def measured(tmp_path, *words):
    output = tmp_path / "found.json"
    try:
        faults.main(["--output", str(output), *words])
    finally:
        found = json.loads(output.read_text()) if output.exists() else {}
    return found


@pytest.mark.slow
def test_killed_trainings_and_sweeps_end_as_if_nothing_had_been(tmp_path):
    found = measured(tmp_path, "kills", "--kills", "2", "--epochs", "2", "--structures", "80")
    for part in ("training", "sweep"):
        assert found[part]["kills"] == 2
        assert found[part]["wrong"] == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ["disk", "cache", "signals"])
def test_a_tiny_run_of_each_command_finds_nothing_wrong(tmp_path, command):
    if command == "disk":
        place = tmp_path / "mounted"
        try:
            with disk.small_disk(place, 4096):
                pass
        except (SystemExit, subprocess.CalledProcessError):
            pytest.skip("no tmpfs can be mounted here")
    more = ("--structures", "80") if command == "disk" else ()
    found = measured(tmp_path, command, "--trials", "1", "--epochs", "2", *more)
    parts = [part for part in found.values() if isinstance(part, dict) and "wrong" in part]
    assert parts
    assert all(part["wrong"] == [] for part in parts)


@pytest.mark.slow
def test_memory_is_flat(tmp_path):
    # In a process of its own: what other tests leave behind in this one may grow and shrink on its own.
    output = tmp_path / "found.json"
    words = ["--output", str(output), "leaks", "--calls", "2000", "--steps", "500"]
    subprocess.run([sys.executable, "-m", "benchmarks.faults", *words], check=True, cwd=REPOSITORY)
    found = json.loads(output.read_text())
    assert found["predict"]["calls"] == 2000
    assert found["predict"]["wrong"] == found["EquivarCalculator"]["wrong"] == []
