"""Sweeps: resumed to the same output, in bounded memory, with what is bad listed."""

import csv
import gc
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import ase.db
import jax
import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from helpers.crystals import titanate

from equivar_jax import load, predict
from equivar_jax.io import read_structures, write_structures
from equivar_jax.io.appending import TextOutput
from equivar_jax.predict import UnseenElementWarning
from equivar_jax.prediction import loading
from equivar_jax.prediction.sweep import inputs as sweep_inputs
from equivar_jax.prediction.sweep import run as sweep
from equivar_jax.prediction.sweep import writing
from equivar_jax.structures import born_effective_charges

FORMATS = ("out.csv", "out.extxyz", "out.csv.gz", "out.extxyz.zst", "out.db", "out.traj")


@pytest.fixture
def complaint(capsys):
    """The line with which a sweep ends; a progress bar may come before it."""

    def refuse(main, *arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in arguments])
        assert stop.value.code == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: ")
        return last.removeprefix("error: ")

    return refuse


@pytest.fixture
def small_windows(monkeypatch):
    """Windows of four structures."""
    monkeypatch.setattr(sweep_inputs, "WINDOW_STRUCTURES", 4)


@pytest.fixture
def nested(tmp_path):
    """A folder of folders with 18 good structures, plain and compressed, and bad ones in the middle."""
    folder = tmp_path / "in"
    (folder / "b" / "c").mkdir(parents=True)
    write_structures(folder / "a.extxyz", [titanate(1 + k % 3, seed=k) for k in range(7)])
    write(folder / "b" / "POSCAR", titanate(2, seed=20))
    write_structures(folder / "b" / "c" / "many.extxyz.gz", [titanate(1, seed=30 + k) for k in range(5)])
    (folder / "b" / "broken.cif").write_text("nothing that anybody can read\n")
    write_structures(folder / "b" / "unseen.extxyz", [bulk("NaCl", "rocksalt", a=5.6), titanate(1, seed=40)])
    lines = "".join(Path(write_out(tmp_path / "z.extxyz", 4)).read_text().splitlines(keepends=True)[:-2])
    (folder / "cut.extxyz").write_text(lines)
    (folder / "notes.txt").write_text("no structure at all")
    return folder


def write_out(path, count):
    write_structures(path, [titanate(1, seed=50 + k) for k in range(count)])
    return path


def run(trained, inputs, output, *words):
    predict.main(["--checkpoint", str(trained.folder), str(inputs), "-o", str(output), *words])


def content(path):
    """What must be the same: bytes, or rows of a database, or frames of a trajectory."""
    if path.suffix == ".db":
        rows = list(ase.db.connect(path).select())
        return [
            (row.id, row.source, row.positions.tolist(), row.data.born_effective_charges.tolist())
            for row in rows
        ]
    if path.suffix == ".traj":
        frames = read(path, ":")
        return [
            (f.info, f.positions.tolist(), f.calc.results["born_effective_charges"].tolist()) for f in frames
        ]
    return path.read_bytes()


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


def skipped(path):
    with path.with_name(f"{path.name}.skipped.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_folder_is_swept_in_order_and_what_is_bad_is_listed(
    trained, nested, small_windows, tmp_path, capsys
):
    out = tmp_path / "out.extxyz"
    run(trained, nested, out)
    names = (
        ["a.extxyz"] * 7
        + ["b/POSCAR"]
        + ["b/c/many.extxyz.gz"] * 5
        + ["b/unseen.extxyz"]
        + ["cut.extxyz"] * 3
    )
    frames = [*range(7), 0, *range(5), 1, *range(3)]
    found = read(out, ":")
    expected = [f"{nested / name}, frame {frame}" for name, frame in zip(names, frames, strict=True)]
    # The `source` that stands in the file; our reader would replace it.
    assert [atoms.info["source"] for atoms in found] == expected
    assert [len(atoms) for atoms in found[:3]] == [5, 10, 15]
    assert [(Path(row["file"]).name, row["frame"]) for row in skipped(out)] == [
        ("broken.cif", ""),
        ("unseen.extxyz", "0"),
        ("cut.extxyz", "3"),
    ]
    reasons = [row["reason"] for row in skipped(out)]
    assert reasons[0].startswith("not a structure file that ASE can read")
    assert reasons[1].startswith("the model has never seen Na, Cl; it knows O")
    assert reasons[2].startswith("3 of 5 atoms before the end of the file")
    said = capsys.readouterr().err
    assert f"{out}: 120 tensors of 17 structures; " in said
    assert f"; 3 skipped, listed in {out}.skipped.csv, the first: " in said
    assert left_in(tmp_path) == ["in", "out.extxyz", "out.extxyz.skipped.csv", "z.extxyz"]


@pytest.mark.parametrize("name", ["out.csv", "out.db"])
def test_windows_change_nothing_but_rounding(trained, nested, monkeypatch, tmp_path, name):
    run(trained, nested, tmp_path / f"whole-{name}")
    monkeypatch.setattr(sweep_inputs, "WINDOW_ATOMS", 21)
    run(trained, nested, tmp_path / name)
    if name.startswith("out.csv"):
        whole, parts = (
            np.loadtxt(tmp_path / which, delimiter=",", skiprows=1, usecols=range(2, 11), dtype=float)
            for which in (f"whole-{name}", name)
        )
    else:
        whole, parts = (
            np.concatenate([born_effective_charges(atoms) for atoms in read_structures(tmp_path / which)])
            for which in (f"whole-{name}", name)
        )
    assert len(whole) == 120
    np.testing.assert_allclose(parts, whole, atol=2e-6 * np.abs(whole).max())


class CrashError(Exception):
    """The process ends here."""


def crashing(monkeypatch, owner, method, call):
    """Let a method crash at one of its calls."""
    original, calls = getattr(owner, method), []

    def crash(*arguments):
        calls.append(1)
        if len(calls) == call:
            raise CrashError
        return original(*arguments)

    monkeypatch.setattr(owner, method, crash)


@pytest.mark.slow  # a crash after every write
@pytest.mark.parametrize("name", FORMATS)
def test_a_sweep_that_crashed_goes_on_to_the_same_output(trained, nested, small_windows, tmp_path, name):
    whole, out = tmp_path / f"whole-{name}", tmp_path / name
    run(trained, nested, whole)
    rng = np.random.default_rng(sum(name.encode()))
    crashes = 0
    while not out.exists():
        with pytest.MonkeyPatch.context() as patch:
            places = [(writing, "with_born_effective_charges", 6), (sweep.Journal, "_write", 3)]
            owner, method, most = places[rng.integers(2)]
            crashing(patch, owner, method, int(rng.integers(1, most)))
            try:
                run(trained, nested, out)
            except CrashError:
                crashes += 1
        if not out.exists() and name.endswith((".csv", ".extxyz", ".gz", ".zst")) and rng.integers(2):
            # The last record was on its way to the disk.
            with (tmp_path / f"{name}.part").open("ab") as file:
                file.write(b"5\nLatt\x1f\x8b"[: rng.integers(1, 9)])
            with (tmp_path / f"{name}.progress").open("ab") as file:
                file.write(b'{"file": 3, "fra'[: rng.integers(1, 17)])
        assert crashes < 200
    assert crashes > 2
    assert content(out) == content(whole)
    assert skipped(out) == skipped(whole)
    assert not {f"{name}.part", f"{name}.progress", f"{name}.part-journal"} & set(left_in(tmp_path))


@pytest.mark.slow  # a process of its own
def test_a_killed_process_leaves_what_it_had_and_the_rest_follows(trained, small_windows, tmp_path):
    data, out, whole = tmp_path / "in.extxyz", tmp_path / "out.csv", tmp_path / "whole.csv"
    write_structures(data, [titanate(1 + k % 2, seed=k) for k in range(60)])
    code = "\n".join(
        [
            "import sys, time",
            "from pathlib import Path",
            "from equivar_jax import predict",
            "from equivar_jax.prediction.sweep import inputs as sweep_inputs, run as sweep",
            "sweep_inputs.WINDOW_STRUCTURES = 4",
            "write, journal = sweep.SweepWork.write, Path(sys.argv[-1] + '.progress')",
            "def waiting(*words):",
            "    if journal.read_bytes().count(b'\\n') > 3:",
            "        print('killed here', flush=True)",
            "        time.sleep(600)",
            "    return write(*words)",
            "sweep.SweepWork.write = waiting",
            "predict.main(sys.argv[1:])",
        ]
    )
    words = ["--checkpoint", str(trained.folder), str(data), "-o", str(out)]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout.readline() == b"killed here\n"
        process.kill()
    journal = tmp_path / "out.csv.progress"
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    done = json.loads(journal.read_bytes().splitlines()[-1])["structures"]
    assert 8 <= done < 60
    run(trained, data, out)
    run(trained, data, whole)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_sweep_after_a_window(
    trained, nested, small_windows, tmp_path, monkeypatch, capsys, kind
):
    out, whole = tmp_path / "out.extxyz", tmp_path / "whole.extxyz"
    original = TextOutput.commit

    sent = []

    def signalled(self):
        if not sent:
            os.kill(os.getpid(), kind)
        sent.append(kind)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(TextOutput, "commit", signalled)
        with pytest.raises(SystemExit) as stop:
            run(trained, nested, out)
    assert stop.value.code == 128 + kind
    said = capsys.readouterr().err
    assert f"{kind.name}: " in said
    assert f"structures are in {out}.part; give the same command again to resume from there" in said
    run(trained, nested, out)
    run(trained, nested, whole)
    assert out.read_bytes() == whole.read_bytes()


@pytest.fixture
def unfinished(trained, nested, small_windows, tmp_path, monkeypatch):
    """A sweep that crashed after two windows: its input and output."""
    out = tmp_path / "out.csv"
    with monkeypatch.context() as patch:
        crashing(patch, writing, "with_born_effective_charges", 9)
        with pytest.raises(CrashError):
            run(trained, nested, out)
    return nested, out


def test_other_inputs_models_and_options_do_not_go_on(trained, unfinished, complaint, tmp_path):
    data, out = unfinished
    before = Path(f"{out}.part").read_bytes()
    start = f"{out}.progress: belongs to an unfinished sweep that cannot be resumed: "
    end = "; start afresh with --restart, or choose another -o"
    words = ("-o", out, "--checkpoint", trained.folder)
    assert complaint(predict.main, data / "a.extxyz", *words).startswith(f"{start}its input files")
    message = complaint(predict.main, data, *words, "--allow-unseen")
    assert message == f"{start}it was begun with other options{end}"
    other = tmp_path / "other"
    shutil.copytree(trained.folder / "checkpoints" / "last", other / "checkpoints" / "best")
    os.utime(data / "a.extxyz")
    assert complaint(predict.main, data, *words).startswith(f"{start}its input files")
    assert Path(f"{out}.part").read_bytes() == before
    run(trained, data, out, "--restart")
    run(trained, data, tmp_path / "whole.csv")
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_another_model_does_not_go_on(trained, unfinished, complaint, monkeypatch):
    data, out = unfinished
    original = predict.load

    def changed(location):
        model = original(location)
        params = jax.tree.map(lambda leaf: leaf * 1.001, model.params)
        return predict.Predictor(params, model.metadata)

    monkeypatch.setattr(loading, "load", changed)
    message = complaint(predict.main, data, "-o", out, "--checkpoint", trained.folder)
    assert "cannot be resumed: it was begun with another model" in message


def test_what_a_sweep_left_is_not_taken_when_damaged(trained, unfinished, complaint):
    data, out = unfinished
    words = (data, "-o", out, "--checkpoint", trained.folder)
    partial, journal = Path(f"{out}.part"), Path(f"{out}.progress")
    good = partial.read_bytes()
    partial.write_bytes(good[:20])
    assert "out.csv.part: has less than the sweep had written" in complaint(predict.main, *words)
    partial.write_bytes(good)
    journal.write_bytes(b"{}\n")
    assert "the journal of a sweep is damaged; start afresh" in complaint(predict.main, *words)


def test_an_output_in_use_is_refused(trained, unfinished, complaint):
    data, out = unfinished
    identity = json.loads(Path(f"{out}.progress").read_bytes().splitlines()[0])
    with sweep.Journal(Path(f"{out}.progress"), identity, fresh=False):
        message = complaint(predict.main, data, "-o", out, "--checkpoint", trained.folder)
    assert message.startswith(f"{out}.progress: another process is writing this output")


def test_an_older_output_is_replaced_only_when_the_new_one_is_complete(trained, unfinished):
    data, out = unfinished
    out.write_text("precious")
    with pytest.MonkeyPatch.context() as patch:
        crashing(patch, writing, "with_born_effective_charges", 3)
        with pytest.raises(CrashError):
            run(trained, data, out)
    assert out.read_text() == "precious"
    run(trained, data, out)
    assert out.read_text().startswith("id,Z11")


def test_memory_holds_three_windows(trained, small_windows, tmp_path, monkeypatch):
    alive, most = 0, 0
    original = sweep_inputs.scan_structures

    def gone():
        nonlocal alive
        alive -= 1

    def counted(*words, **options):
        nonlocal alive, most
        for atoms in original(*words, **options):
            alive += 1
            most = max(most, alive)
            weakref.finalize(atoms, gone)
            yield atoms

    write_structures(tmp_path / "in.extxyz", [titanate(1, seed=k) for k in range(100)])
    monkeypatch.setattr(sweep_inputs, "scan_structures", counted)
    gc.disable()  # nothing waits for the collector
    try:
        run(trained, tmp_path / "in.extxyz", tmp_path / "out.csv")
    finally:
        gc.enable()
    assert 4 <= most <= 3 * 4 + 2  # and the ones at hand
    assert alive == 0


def test_a_sweep_compiles_few_shapes(trained, small_windows, monkeypatch, tmp_path):
    monkeypatch.setattr(sweep_inputs, "WINDOW_STRUCTURES", 40)
    monkeypatch.setattr(sweep_inputs, "WINDOW_ATOMS", 2200)
    write_structures(tmp_path / "in.extxyz", [titanate(1 + k % 30, seed=k) for k in range(200)])
    before = predict.apply._cache_size()
    run(trained, tmp_path / "in.extxyz", tmp_path / "out.csv")
    assert predict.apply._cache_size() - before <= 4


def test_nothing_that_can_be_predicted_is_an_error_and_leaves_nothing(
    trained, complaint, tmp_path, small_windows
):
    write_structures(tmp_path / "in.extxyz", [bulk("NaCl", "rocksalt", a=5 + 0.1 * k) for k in range(9)])
    message = complaint(
        predict.main, "--checkpoint", trained.folder, tmp_path / "in.extxyz", "-o", tmp_path / "o.db"
    )
    assert message.startswith(f"{tmp_path / 'in.extxyz'}, frame 0: the model has never seen Na, Cl")
    assert message.endswith("(and none of the 9 structures can be predicted)")
    assert left_in(tmp_path) == ["in.extxyz"]


def test_a_structure_that_the_format_cannot_hold_is_skipped(trained, tmp_path):
    structures = [titanate(1, seed=k) for k in range(3)]
    write_structures(tmp_path / "in.traj", structures)
    structures[1].info["Lattice"] = "mine"
    write_structures(tmp_path / "in.traj", structures)
    run(trained, tmp_path / "in.traj", tmp_path / "o.extxyz")
    assert len(read(tmp_path / "o.extxyz", ":")) == 2
    (row,) = skipped(tmp_path / "o.extxyz")
    assert row["frame"] == "1"
    assert "entry 'Lattice'" in row["reason"]


def test_warnings_are_shown_once_and_counted(trained, tmp_path, capsys):
    write_structures(tmp_path / "in.extxyz", [bulk("NaCl", "rocksalt", a=5.6)] * 3 + [titanate()])
    with pytest.warns(UnseenElementWarning) as shown:
        run(trained, tmp_path / "in.extxyz", tmp_path / "o.csv", "--allow-unseen")
    kinds = [one.category for one in shown]
    assert len(kinds) == len({*kinds})
    assert "; 3 with elements the model has never seen" in capsys.readouterr().err


def test_distances_from_the_training_data_are_written_as_a_column(trained, tmp_path, complaint):
    frames = [titanate(), titanate(2, seed=1)]
    write_structures(tmp_path / "in.extxyz", frames)
    expected = np.concatenate(load(trained.folder).domain_distance(frames))
    for name in ("o.csv", "o.extxyz"):
        run(trained, tmp_path / "in.extxyz", tmp_path / name, "--distance")
    with (tmp_path / "o.csv").open() as file:
        rows = list(csv.DictReader(file))
    np.testing.assert_allclose([float(row["domain_distance"]) for row in rows], expected, rtol=1e-4)
    found = read(tmp_path / "o.extxyz", ":")
    column = np.concatenate([atoms.arrays["domain_distance"] for atoms in found])
    np.testing.assert_allclose(column, expected, rtol=1e-4)
    words = ("--checkpoint", trained.folder, tmp_path / "in.extxyz", "--distance", "-o", tmp_path / "o.traj")
    assert "no place for distances from the training data" in complaint(predict.main, *words)
    run(trained, tmp_path / "in.extxyz", tmp_path / "plain.csv")
    assert "domain_distance" not in (tmp_path / "plain.csv").read_text()


def test_an_output_in_the_swept_folder_is_no_input(trained, nested, complaint):
    out = nested / "out.extxyz"
    run(trained, nested, out)
    first = out.read_bytes()
    run(trained, nested, out)
    assert out.read_bytes() == first
    (nested / "only").mkdir()
    shutil.copy(out, nested / "only" / "o.extxyz")
    words = ("--checkpoint", trained.folder, "-o", nested / "only" / "o.extxyz")
    assert "no structure files but the output" in complaint(predict.main, nested / "only", *words)


def test_files_of_labels_in_an_unknown_order_are_predicted(trained, tmp_path):
    frames = [titanate(), titanate(2, seed=1), titanate(1, seed=2)]
    for atoms in frames[1:]:
        atoms.info["target"] = [[float(k) for k in range(9)]] * len(atoms)
    write(tmp_path / "in.extxyz", frames, format="extxyz")
    run(trained, tmp_path / "in.extxyz", tmp_path / "o.extxyz")
    assert [len(atoms) for atoms in read_structures(tmp_path / "o.extxyz")] == [5, 10, 5]


def test_compressed_output_is_read_by_everybody(trained, nested, small_windows, tmp_path):
    run(trained, nested, tmp_path / "o.csv")
    run(trained, nested, tmp_path / "o.csv.gz")
    assert gzip.decompress((tmp_path / "o.csv.gz").read_bytes()) == (tmp_path / "o.csv").read_bytes()


def test_born_holds_one_structure(trained, nested, complaint, tmp_path):
    words = ("--checkpoint", trained.folder, "-o", tmp_path / "BORN")
    message = complaint(predict.main, nested / "a.extxyz", *words)
    assert message == f"{tmp_path / 'BORN'}: a BORN file holds one structure; give exactly one"
    assert "needs the dielectric tensor" in complaint(predict.main, nested / "b" / "POSCAR", *words)
    assert left_in(tmp_path) == ["in", "z.extxyz"]
    atoms = bulk("CaO", "rocksalt", a=4.8)
    atoms.info["epsilon_inf"] = 3.0 * np.eye(3)
    write_structures(tmp_path / "in.extxyz", atoms)
    run(trained, tmp_path / "in.extxyz", tmp_path / "BORN")
    assert len((tmp_path / "BORN").read_text().splitlines()) == 4


def test_a_disk_that_is_full_loses_nothing(trained, nested, small_windows, complaint, tmp_path, monkeypatch):
    out, whole = tmp_path / "out.csv", tmp_path / "whole.csv"
    with monkeypatch.context() as patch:
        original, calls = TextOutput.commit, []

        def full(self):
            calls.append(1)
            if len(calls) == 5:
                raise OSError(28, "No space left on device")
            return original(self)

        patch.setattr(TextOutput, "commit", full)
        message = complaint(predict.main, nested, "-o", out, "--checkpoint", trained.folder)
    reason = "[Errno 28] No space left on device"
    assert message.startswith(f"{out}: cannot be written any further ({reason}); make room")
    run(trained, nested, out)
    run(trained, nested, whole)
    assert out.read_bytes() == whole.read_bytes()
