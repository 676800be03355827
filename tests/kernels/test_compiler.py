"""Where the compiled kernels come from."""

import contextlib
import fcntl
import time

import pytest

from equivar_jax.kernels import compiler, prebuild
from equivar_jax.kernels.compiler import NotCompiledError, load_library


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Nothing is compiled: no prebuilt library, an empty cache, and nothing loaded so far."""
    monkeypatch.setenv("EQUIVAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "PREBUILT", tmp_path / "prebuilt")
    load_library.cache_clear()
    yield tmp_path
    load_library.cache_clear()


def script(folder, text):
    """A program in the place of the compiler."""
    path = folder / "compiler"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_compiler_that_is_too_slow_ends_with_what_it_started(fresh, monkeypatch):
    """The lock that both hold is free when both have ended."""
    slow = f"exec 9> {fresh / 'lock'}; flock 9; touch {fresh / 'begun'}; sleep 1000 & wait"
    monkeypatch.setenv("CXX", str(script(fresh, slow)))
    monkeypatch.setattr(compiler, "TIMEOUT", 5)
    with pytest.raises(NotCompiledError, match="timed out after 5 seconds"):
        load_library("network")
    assert (fresh / "begun").exists()
    with (fresh / "lock").open("w") as handle:
        for _ in range(600):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            time.sleep(0.1)
    pytest.fail("what the compiler had started goes on")


def test_without_a_compiler_it_is_said(fresh, monkeypatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda _: None)
    with pytest.raises(NotCompiledError, match="no C"):
        load_library("network")


def test_what_the_compiler_says_is_passed_on(fresh, monkeypatch):
    monkeypatch.setenv("CXX", str(script(fresh, "echo 'network.cc:1: error: no such thing' >&2; exit 1")))
    with pytest.raises(NotCompiledError, match=r"network\.cc:1: error: no such thing$"):
        load_library("network")


@pytest.fixture
def tiny(fresh, monkeypatch):
    """Kernels that are compiled in a moment, and how often they were."""
    (fresh / "cpp").mkdir()
    (fresh / "cpp" / "network.cc").write_text('extern "C" int seven() { return 7; }')
    monkeypatch.setattr(compiler, "SOURCES", fresh / "cpp")
    compiler.source_key.cache_clear()
    compiled, real = [], compiler.compile_library

    def compile_library(*arguments):
        compiled.append(arguments)
        real(*arguments)

    monkeypatch.setattr(compiler, "compile_library", compile_library)
    yield compiled
    compiler.source_key.cache_clear()


@pytest.mark.parametrize("damage", ["changed", "cut short", "digest gone"])
def test_a_library_that_has_changed_on_the_disk_is_compiled_again(fresh, tiny, damage):
    assert load_library("network").seven() == 7
    (path,) = (fresh / "cache").glob("network-*.so")
    content = path.read_bytes()
    if damage == "digest gone":
        path.with_suffix(".sha256").unlink()
    else:
        path.unlink()  # what is loaded must not change
        path.write_bytes(content[:100] + b"x" + content[101:] if damage == "changed" else content[:100])
    load_library.cache_clear()
    assert load_library("network").seven() == 7
    assert len(tiny) == 2
    assert path.read_bytes()[:101] == content[:101]
    load_library.cache_clear()
    assert load_library("network").seven() == 7
    assert len(tiny) == 2


def test_where_the_cache_cannot_be_written_it_is_compiled_for_this_process(fresh, tiny):
    (fresh / "cache").write_text("not a folder")
    assert load_library("network").seven() == 7
    assert len(tiny) == 2


@pytest.mark.slow
def test_a_library_of_the_wheel_is_taken_before_the_compiler(fresh, monkeypatch):
    level = next(
        level for level, flags in compiler.LEVELS.items() if set(flags) <= compiler._processor_flags()
    )
    (made,) = prebuild.prebuild(("network",), (level,))
    assert made.parent == fresh / "prebuilt"
    monkeypatch.setattr(compiler.shutil, "which", lambda _: None)
    assert load_library("network").equivar_network_f32
    assert not (fresh / "cache").exists()


def test_a_library_for_another_processor_is_left_alone(fresh, monkeypatch):
    path = compiler.prebuilt_path("network", compiler.source_key("network"), "x86-64-v4")
    path.parent.mkdir()
    path.write_bytes(b"of no use here")
    monkeypatch.setattr(compiler, "_processor_flags", frozenset)
    monkeypatch.setattr(compiler.shutil, "which", lambda _: None)
    with pytest.raises(NotCompiledError, match="no C"):
        load_library("network")


def test_prebuilt_libraries_are_for_their_kind_of_machine_only(monkeypatch):
    monkeypatch.setattr(prebuild.platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="riscv64"):
        next(prebuild.prebuild())
