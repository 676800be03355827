from pathlib import Path

import numpy as np
import pytest

from equivar_jax import parallel, progress
from equivar_jax.datasets import demonstration_set
from equivar_jax.datasets.demonstration import dataset as demonstration
from equivar_jax.errors import InputError
from equivar_jax.structures import born_effective_charges


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def small(cache):
    return demonstration_set(20, 8, 8, cache_dir=cache, progress=False)


def fingerprint(structures: list) -> list:
    return [
        (
            atoms.numbers.tobytes(),
            atoms.positions.tobytes(),
            atoms.cell.array.tobytes(),
            atoms.pbc.tobytes(),
            born_effective_charges(atoms).tobytes(),
            sorted(atoms.info.items()),
        )
        for atoms in structures
    ]


def test_structures_come_in_order_with_label_source_and_group(small):
    assert [len(atoms) for atoms in small[:20]] == [20] * 20
    assert small[17].info["source"] == "demonstration perovskite 17"
    assert small[20].info["source"] == "demonstration Li3PO4 0"
    assert small[-1].info["source"] == "demonstration ZrO2 7"
    for atoms in small:
        assert isinstance(atoms.info["group"], str)
        assert atoms.calc.results["born_effective_charges"].shape == (len(atoms), 3, 3)
        assert np.abs(born_effective_charges(atoms).sum(axis=0)).max() < 1e-10


def test_sizes_and_signs_are_those_of_the_oxides(small):
    ranges = {
        "perovskite": {
            "Ca": (2.3, 3.3), "Sr": (2.3, 3.3), "Ba": (2.3, 3.3), "Pb": (3.3, 4.5),
            "Ti": (5.5, 8.0), "Zr": (5.2, 6.7), "Hf": (5.2, 6.7), "O": (-4.2, -2.2),
        },
        "Li3PO4": {"Li": (0.9, 1.2), "P": (3.0, 4.3), "O": (-2.0, -1.2)},
        "ZrO2": {"Zr": (4.5, 6.0), "O": (-3.1, -2.2)},
    }  # fmt: skip
    for atoms in small:
        kind = atoms.info["source"].split()[1]
        traces = np.trace(born_effective_charges(atoms), axis1=1, axis2=2) / 3
        for symbol, trace in zip(atoms.get_chemical_symbols(), traces, strict=True):
            low, high = ranges[kind][symbol]
            assert low < trace < high, (kind, symbol, trace)


def test_a_larger_set_begins_with_a_smaller_one_and_seeds_differ(small, tmp_path):
    fewer = demonstration_set(6, 2, 1, cache_dir=tmp_path, progress=False)
    chosen = [*small[:6], *small[20:22], small[28]]
    assert fingerprint(fewer) == fingerprint(chosen)
    other = demonstration_set(1, seed=1, cache_dir=tmp_path, progress=False)
    assert fingerprint(other) != fingerprint(small[:1])


def test_a_second_call_reads_the_cache(small, cache, monkeypatch):
    monkeypatch.setattr(demonstration, "_generate", lambda *_: pytest.fail("generated again"))
    again = demonstration_set(20, 8, 8, cache_dir=cache, progress=False)
    assert fingerprint(again) == fingerprint(small)


def test_changed_arguments_and_changed_sources_miss_the_cache(tmp_path, monkeypatch):
    for arguments in ({"seed": 0}, {"seed": 1}, {"zro2": 1}):
        demonstration_set(1, **arguments, cache_dir=tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.setattr(demonstration, "GENERATOR_SOURCES", ("datasets/demonstration/crystals.py",))
    generated = []
    monkeypatch.setattr(demonstration, "_generate", lambda *_: generated.append(True) or [])
    assert len(demonstration_set(1, cache_dir=tmp_path, progress=False)) == 0
    assert generated


def test_an_unwritable_cache_is_a_warning(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    with pytest.warns(RuntimeWarning, match="not cached"):
        assert len(demonstration_set(1, cache_dir=blocked / "cache", progress=False)) == 1


def test_the_environment_variable_names_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIVAR_CACHE", str(tmp_path / "named"))
    demonstration_set(1, progress=False)
    assert [path.name for path in (tmp_path / "named").iterdir()] == ["demonstration-1-0-0-0"]


def test_progress_goes_to_standard_error_or_nowhere(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    demonstration_set(1, cache_dir=tmp_path, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "demonstration set: " in captured.err
    demonstration_set(1, seed=1, cache_dir=tmp_path, progress=False)
    assert capsys.readouterr().err == ""


def test_nothing_asked_nothing_given(tmp_path):
    assert list(demonstration_set(0, cache_dir=tmp_path, progress=False)) == []


@pytest.mark.parametrize("arguments", [{"perovskites": -1}, {"zro2": -2}, {"seed": -1}])
def test_negative_arguments_are_refused(arguments, tmp_path):
    with pytest.raises(InputError, match="give zero or more"):
        demonstration_set(**arguments, cache_dir=tmp_path, progress=False)


def test_worker_processes_give_the_same_structures(monkeypatch):
    monkeypatch.setattr(demonstration, "CHUNK", 3)
    monkeypatch.setattr(parallel, "available_cores", lambda: 2)
    tasks = [("perovskite", number) for number in range(6)] + [("ZrO2", 0)]
    serial = demonstration._generate(tasks, 0, progress=False)
    parallelly = demonstration._generate(tasks, 0, progress=False, pool_from=1)
    for one, other in zip(serial, parallelly, strict=True):
        assert one.positions.tobytes() == other.positions.tobytes()
        np.testing.assert_allclose(born_effective_charges(one), born_effective_charges(other), atol=1e-11)
