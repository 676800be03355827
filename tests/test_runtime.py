import contextlib
import os
import signal
from pathlib import Path

import jax
import platformdirs
import pytest

from equivar_jax.cache import cache_directory
from equivar_jax.runtime import Interruption, use_compilation_cache


@pytest.fixture
def jax_settings():
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@contextlib.contextmanager
def _cache_off():
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", True)


def test_compiled_programs_go_to_the_folder_that_the_environment_names(tmp_path, monkeypatch, jax_settings):
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("EQUIVAR_CACHE", str(tmp_path))
    use_compilation_cache()
    assert Path(jax.config.jax_compilation_cache_dir) == tmp_path / "compiled"


@pytest.mark.parametrize("off", ["0", "off", "No", "false"])
def test_the_cache_of_programs_can_be_turned_off(off, tmp_path, monkeypatch, jax_settings):
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("EQUIVAR_CACHE", str(tmp_path))
    monkeypatch.setenv("EQUIVAR_COMPILATION_CACHE", off)
    use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None


def test_a_cache_of_the_users_own_stays(tmp_path, monkeypatch, jax_settings):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 7.0)
    monkeypatch.setenv("EQUIVAR_CACHE", str(tmp_path))
    use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 7.0


def test_a_cache_that_the_user_turned_off_stays_off(tmp_path, monkeypatch, jax_settings):
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("EQUIVAR_CACHE", str(tmp_path))
    with _cache_off():
        use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None


def test_the_cache_is_the_argument_or_the_variable_or_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIVAR_CACHE", str(tmp_path))
    assert cache_directory(tmp_path / "given") == tmp_path / "given"
    assert cache_directory() == tmp_path
    monkeypatch.delenv("EQUIVAR_CACHE")
    assert cache_directory() == Path(platformdirs.user_cache_dir("equivar_jax"))


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_handlers_come_back(kind):
    before = signal.getsignal(kind)
    with Interruption() as interruption:
        assert interruption.signal is None
        os.kill(os.getpid(), kind)
        assert interruption.signal is kind
    assert signal.getsignal(kind) is before


@pytest.fixture
def usual_ctrl_c():
    """Python's own handler; a process started in the background inherits none."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_acts_as_usual(usual_ctrl_c):
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal is signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), Interruption():
        raise RuntimeError
    assert signal.getsignal(signal.SIGTERM) is before
