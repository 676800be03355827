"""The comparison of programs that differentiate a polarisation, with a contestant of a few lines."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from benchmarks.speed.polarisation import contestants
from benchmarks.speed.polarisation.__main__ import describe_frame, measure, summarise, time_in_turn
from benchmarks.speed.polarisation.contestants import Asked, Contestant
from benchmarks.speed.polarisation.table import polarisation_table

CONTESTANT = """
import pathlib

def prepare(frame, settings):
    log = pathlib.Path(settings["log"])
    if settings.get("fails"):
        raise RuntimeError("no such library")
    def call(name):
        with log.open("a") as handle:
            handle.write(name + settings["name"] + " ")
        print("libraries print, too")
    calls = {name: (lambda name=name: call(name[0])) for name in ("inference", "training")}
    return calls, {"parameters": 7 * len(frame["numbers"])}
"""


@pytest.fixture
def frame(tmp_path, monkeypatch):
    (tmp_path / "workers").mkdir()
    real = contestants.WORKERS / "serve.py"
    (tmp_path / "workers/serve.py").write_text(real.read_text())
    (tmp_path / "workers/small.py").write_text(CONTESTANT)
    monkeypatch.setattr(contestants, "WORKERS", tmp_path / "workers")
    np.savez(tmp_path / "frame.npz", numbers=np.array([8, 22]))
    return tmp_path / "frame.npz"


def make(name, frame, **settings) -> Contestant:
    return Contestant(name, "small", {"log": str(frame.with_name("calls")), "name": name, **settings})


def test_contestants_are_timed_in_turn(frame, tmp_path):
    rows = measure([make("a", frame), make("b", frame)], frame, 2, 2, tmp_path)
    calls = frame.with_name("calls").read_text().split()
    assert [name for name in calls if name.startswith("t")][-10:-2] == ["ta", "ta", "tb", "tb"] * 2
    assert [row["contestant"] for row in rows] == ["a", "b"]
    assert rows[0]["parameters"] == 14  # it was given the frame
    assert rows[0]["training"]["wall"]["minimum"] <= rows[0]["training"]["wall"]["median"]
    json.dumps(rows)


def test_a_contestant_that_cannot_run_has_the_reason_in_its_row(frame, tmp_path):
    rows = measure([make("a", frame, fails=True), make("b", frame)], frame, 2, 1, tmp_path)
    assert rows[0]["absent"] == "RuntimeError: no such library"
    first, second = polarisation_table(rows).splitlines()[2:]
    assert first.startswith("| a | not measured: RuntimeError: no such library |")
    assert second.startswith("| b | 14 |")
    assert first.count("|") == second.count("|")


def test_times_are_of_an_atom_and_the_lowest_of_several():
    found = summarise([{"wall": 0.2, "cpu": 0.4}, {"wall": 0.1, "cpu": 0.9}, {"wall": 0.7, "cpu": 0.5}], 100)
    assert found["wall"] == pytest.approx({"minimum": 1.0, "median": 2.0})
    assert found["cpu"] == pytest.approx({"minimum": 4.0, "median": 5.0})


class Recorded(Asked):
    """A contestant that takes the times it is given."""

    def __init__(self, times: Iterator[float]):
        self.name, self.times = "recorded", times

    def ask(self, _):
        return {"wall": next(self.times), "cpu": 0.0}


def test_only_what_is_fast_is_called_a_second_time():
    found = time_in_turn([Recorded(iter([0.2, 0.1, 0.6, 0.3, 0.4]))], "training", 3)
    assert [each["wall"] for each in found["recorded"]] == [0.1, 0.6, 0.4]


def test_the_neighbour_list_of_other_programs_has_the_edges_of_ours():
    """In a cell smaller than the cutoff, with atoms outside it, where images and signs matter."""
    cell = np.array([[4.0, 0.3, 0.0], [0.0, 4.2, 0.5], [0.7, 0.0, 4.1]])
    atoms = Atoms("BaO", [[0.1, 0.2, 0.3], [-2.0, 6.1, 2.2]], cell=cell, pbc=True)
    tensors = np.arange(18.0).reshape(2, 3, 3)
    atoms.calc = SinglePointCalculator(atoms, born_effective_charges=tensors)
    found = describe_frame(atoms)
    vectors = (
        found["positions"][found["senders"]]
        - found["positions"][found["receivers"]]
        + found["shifts"] @ found["cell"]
    )
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths.max() <= 5.0
    # Each atom with its own images, and every pair both ways: all that brute force finds.
    images = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), axis=-1).reshape(-1, 3) @ cell
    apart = atoms.positions[None, :, None] - atoms.positions[:, None, None] + images
    distances = np.linalg.norm(apart, axis=-1)
    expected = np.sort(distances[(distances > 1e-6) & (distances <= 5.0)])
    np.testing.assert_allclose(np.sort(lengths), expected, atol=1e-6)
    np.testing.assert_array_equal(found["tensors"], tensors)
