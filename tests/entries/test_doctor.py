"""`equivar doctor`: what an installation is, and whether it works."""

import hashlib
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from equivar_jax import __version__, doctor, load
from equivar_jax.cache import cache_directory
from equivar_jax.kernels import compiler

ROOT = Path(__file__).parents[2]


def test_the_report_has_every_fact_and_a_good_prediction(capsys):
    doctor.main([])
    lines = capsys.readouterr().out.splitlines()
    titles = [line.split()[0] for line in lines]
    assert titles == [*doctor._FACTS, "self-test"]
    facts = {line[:10].strip(): line[11:] for line in lines}
    assert re.fullmatch(
        rf"{re.escape(__version__)}, {re.escape(str(Path(doctor.__file__).parent))}"
        r"(, sources of commit [0-9a-f]{7,}(, edited)?)?",
        facts["equivar"],
    )
    assert "cpu" in facts["jax"]
    assert str(cache_directory()) in facts["cache"]
    assert "good: a known tensor" in facts["self-test"]
    assert not [line for line in lines if "cannot be found out" in line]


def test_every_extra_that_adds_to_the_package_is_named():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    others = {"cuda", "bench", "test", "docs", "dev"}  # devices of JAX have a line of their own
    assert doctor.EXTRAS.keys() == declared.keys() - others
    for extra, package in doctor.EXTRAS.items():
        assert any(re.match(rf"{package}\b", requirement) for requirement in declared[extra])


def test_what_is_broken_is_said_in_its_line_and_the_report_goes_on(monkeypatch, capsys):
    def broken():
        raise OSError("a disk\nthat is full")

    monkeypatch.setitem(doctor._FACTS, "cache", broken)
    doctor.main([])
    shown = capsys.readouterr().out
    assert "cache      cannot be found out: OSError: a disk that is full\n" in shown
    assert "self-test  good" in shown


def test_a_wrong_tensor_fails(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "KNOWN", tuple(tuple(x + 0.01 for x in row) for row in doctor.KNOWN))
    with pytest.raises(SystemExit) as stop:
        doctor.main([])
    assert stop.value.code == 1
    assert "FAILED: a tensor of SrTiO3 is off by 0.01 e" in capsys.readouterr().out


def test_a_failing_prediction_fails(monkeypatch):
    monkeypatch.setattr(doctor, "CELL", -1.0)
    monkeypatch.setattr("equivar_jax.prediction.loading.load", lambda: 1 / 0)
    good, text = doctor.self_test()
    assert not good
    assert text == "FAILED: ZeroDivisionError: division by zero"


def test_the_known_tensor_is_asymmetric_beyond_its_tolerance():
    """So that a transposed one would fail."""
    known = np.array(doctor.KNOWN)
    assert np.abs(known - known.T).max() > 10 * doctor.TOLERANCE
    assert load().members > 1


def test_it_is_said_where_kernels_come_from(monkeypatch, tmp_path):
    monkeypatch.setenv("EQUIVAR_CACHE", str(tmp_path))
    assert compiler.describe_origin("network").endswith("at first use")
    monkeypatch.setattr(compiler, "_machine_key", lambda _: "machine")
    library = tmp_path / f"network-{compiler.source_key('network')}-machine.so"
    library.write_bytes(b"code")
    assert compiler.describe_origin("network").endswith("at first use")  # it may be half written
    compiler._digest_path(library).write_text(hashlib.sha256(b"code").hexdigest())
    assert compiler.describe_origin("network") == "compiled, in the cache"
    monkeypatch.setattr(compiler, "PREBUILT", tmp_path)
    compiler.prebuilt_path("network", compiler.source_key("network"), "x86-64-v3").touch()
    monkeypatch.setattr(compiler, "_processor_flags", lambda: frozenset(compiler.LEVELS["x86-64-v3"]))
    assert compiler.describe_origin("network") == "came with the wheel (x86-64-v3)"


def test_without_a_compiler_it_says_so(monkeypatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda _: None)
    monkeypatch.setattr(compiler, "_processor_flags", frozenset)
    assert compiler.describe_origin("network").startswith("not there: no C++ compiler found")
