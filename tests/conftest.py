"""Fixtures that many modules share."""

import contextlib
import fcntl
import io
import os
import resource
import shutil
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from ase.spacegroup import crystal
from helpers import kept_kernels
from helpers.crystals import labelled_crystal
from helpers.examples import ALL, FEW
from helpers.lammps_runs import open_or_skip
from helpers.networks import SMALL
from hypothesis import settings

from equivar_jax import progress, runtime, train
from equivar_jax.io import write_structures
from equivar_jax.io.files import write_whole


def pytest_configure(config):
    """Choose between the quick run and the full one, `-m slow`.

    The quick one compiles without most of XLA's and LLVM's optimisations, also in processes that tests start,
    and takes few examples of each property; the full one takes everything as users have it.
    """
    is_full = config.getoption("markexpr") == "slow"
    settings.load_profile(ALL if is_full else FEW)
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "0" if is_full else "1")
    jax.config.update("jax_disable_most_optimizations", os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(config, items):
    """Take property tests into the full run as well, there with all examples.

    Runs of fixtures have few structures, so that warnings would tell of rare elements in most tests of them.
    """
    for item in items:
        if {"trained", "crossed"} & {*getattr(item, "fixturenames", ())}:
            item.add_marker(
                pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning"),
                append=False,
            )
    if config.getoption("markexpr") == "slow":
        for item in items:
            if getattr(item.obj, "is_hypothesis_test", False) or item.get_closest_marker("property"):
                item.add_marker("slow")


LARGE_WORKER = 2_000_000
"""Kilobytes."""


@pytest.fixture
def small_config():
    """A network of every kind of path, small enough to compile in a second."""
    return SMALL


@pytest.fixture(params=[pytest.param("float32", marks=pytest.mark.slow), "float64"])
def precision(request):
    """The dtype, with JAX set to it; single precision, in which whole networks are tested, with -m slow."""
    with jax.enable_x64(True) if request.param == "float64" else contextlib.nullcontext():
        yield np.dtype(request.param).type


@pytest.fixture
def float64():
    """JAX in double precision."""
    with jax.enable_x64(True):
        yield np.float64


@pytest.fixture
def calcium_titanate():
    """A low-symmetry 20-atom perovskite, thermally displaced."""
    atoms = crystal(
        ["Ca", "Ti", "O", "O"],
        [(0.036, 0.25, 0.993), (0, 0, 0.5), (0.484, 0.25, 0.071), (0.289, 0.037, 0.711)],
        spacegroup=62,
        cellpar=[5.44, 7.64, 5.38, 90, 90, 90],
    )
    atoms.info.clear()
    atoms.rattle(0.08, seed=1)
    return atoms


# For the tests of settings, training, prediction and evaluation.


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory, pytestconfig):
    """Where generated data and compiled programs go while tests run: one folder for all worker processes.

    Compiled programs and kernels are kept for the next run as well (`pytest --cache-clear` deletes them).
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (folder / "compiled").symlink_to(pytestconfig.cache.mkdir("compiled"))
    kernels = pytestconfig.cache.mkdir("kernels")
    kept_kernels.take(kernels, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIVAR_CACHE", str(folder))
        runtime.use_compilation_cache()
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
        yield folder
    kept_kernels.keep(folder, kernels)


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_programs():
    """Keep a worker small: once it is large, the next module takes what it needs from the cache on disk."""
    yield
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > LARGE_WORKER:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def no_word_about_slow_steps(monkeypatch):
    """On a busy machine any step may be slow, and say so where a test expects one line or none."""
    monkeypatch.setattr(progress, "SECONDS_OF_SILENCE", 1e6)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 1e6)


class Trained(NamedTuple):
    """A finished run and what it printed."""

    folder: Path
    output: str


@pytest.fixture(scope="session")
def trained(cache_folder):
    """`configs/test.py` with a moving average of the weights, from beginning to end, by one worker."""
    folder, told = cache_folder.with_name("trained"), cache_folder.with_name("trained.txt")
    with cache_folder.with_name("trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # which a worker that dies lets go, so that nobody waits in vain
        if not told.exists():
            shutil.rmtree(folder, ignore_errors=True)
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
                train.main(["--config", "test.py", "--run-dir", str(folder), "--train.ema_decay", "0.5"])
            write_whole(told, output.getvalue())
    return Trained(folder, told.read_text(encoding="utf-8"))


@pytest.fixture
def lmp():
    """An instance of LAMMPS without atoms; without LAMMPS the test is skipped."""
    instance = open_or_skip()
    yield instance
    instance.close()


@pytest.fixture
def labelled_file(tmp_path):
    """A file of five labelled crystals."""
    path = tmp_path / "labelled.extxyz"
    write_structures(path, [labelled_crystal(seed) for seed in range(5)])
    return path


@pytest.fixture
def complaint(capsys):
    """The one line with which a program refuses its input."""

    def refuse(main, *arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in arguments])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.endswith("\n")
        assert error.count("\n") == 1
        return error.removeprefix("error: ").strip()

    return refuse
