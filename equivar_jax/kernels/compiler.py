"""Loads the C++ kernels: those that came with the wheel, or those that this machine's compiler makes once."""

import contextlib
import ctypes
import errno
import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

from equivar_jax.cache import cache_directory

Name = Literal["network", "bindings"]
"""The libraries: "network" needs nothing else; "bindings" are the functions that XLA calls."""
SOURCES = Path(__file__).parent / "cpp"
PREBUILT = Path(__file__).parent / "prebuilt"
"""Libraries in a wheel that was built with them (see `equivar_jax.kernels.prebuild`)."""
FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-pthread", "-w")
_NOT_WRITABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EEXIST,
)
TIMEOUT = 1800
"""Longest time for a compilation in seconds; it takes about ten, and many times that where cores are busy."""
LEVELS = {
    "x86-64-v4": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    "x86-64-v3": ("avx2", "fma", "bmi2", "movbe"),
}
"""Instruction sets of prebuilt libraries, best first, and the flags of a processor that has them."""


class NotCompiledError(RuntimeError):
    """The error that there is no compiled kernel on this machine; the message says why."""


@functools.cache
def load_library(name: Name) -> ctypes.CDLL:
    """Load a library of compiled kernels.

    It is the one of the wheel for this processor, else one in the cache, where it is compiled first if it is
    not there or has changed on the disk. Where the cache cannot be written, it is compiled for this process.

    Raises:
        NotCompiledError: There is no compiler, or it fails.
    """
    source = SOURCES / f"{name}.cc"
    key = source_key(name)
    for level in LEVELS:
        made = prebuilt_path(name, key, level)
        if made.is_file() and set(LEVELS[level]) <= _processor_flags():
            with contextlib.suppress(OSError):  # made for another C library; then compile it here
                return ctypes.CDLL(str(made))
    compiler = find_compiler()
    path = cache_directory() / f"{name}-{key}-{_machine_key(compiler)}.so"
    try:
        if not _is_whole(path):
            try:
                compile_library(compiler, name, path)
                _digest_path(path).write_text(hashlib.sha256(path.read_bytes()).hexdigest())
            except (OSError, subprocess.SubprocessError) as error:
                if not _cannot_be_written(error):
                    raise
                return _load_for_this_process(compiler, name)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        raise NotCompiledError(f"{shlex.join(compiler)} {source.name}: {_first_error_line(error)}") from error


def _load_for_this_process(compiler: Sequence[str], name: Name) -> ctypes.CDLL:
    """Compile a library into a temporary folder and load it; the system keeps what is loaded."""
    with tempfile.TemporaryDirectory(prefix="equivar_jax-") as folder:
        path = Path(folder) / f"{name}.so"
        compile_library(compiler, name, path)
        return ctypes.CDLL(str(path))


def _cannot_be_written(error: Exception) -> bool:
    """Return whether it was the folder that failed, not the compiler."""
    if isinstance(error, subprocess.CalledProcessError):
        return os.strerror(errno.ENOSPC) in (error.stderr or "")
    return isinstance(error, OSError) and error.errno in _NOT_WRITABLE


def _is_whole(path: Path) -> bool:
    """Return whether a library in the cache is as it was made: code that has changed ends the process."""
    try:
        return _digest_path(path).read_text() == hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError):
        return False


def _digest_path(path: Path) -> Path:
    """Return the file beside a library that holds its digest."""
    return path.with_suffix(".sha256")


def describe_origin(name: Name) -> str:
    """Say where a library would come from, in words for a report; nothing is compiled or loaded."""
    key = source_key(name)
    for level in LEVELS:
        if prebuilt_path(name, key, level).is_file() and set(LEVELS[level]) <= _processor_flags():
            return f"came with the wheel ({level})"
    try:
        compiler = find_compiler()
    except NotCompiledError as error:
        return f"not there: {error}"
    path = cache_directory() / f"{name}-{key}-{_machine_key(compiler)}.so"
    return "compiled, in the cache" if _is_whole(path) else f"to be compiled by {compiler[0]} at first use"


def prebuilt_path(name: Name, key: str, level: str) -> Path:
    """Return where a wheel has the library of these sources for an instruction set, if it has it."""
    return PREBUILT / f"{name}-{key}-{level}.so"


def find_compiler() -> list[str]:
    """Return the command of the C++ compiler: what the environment variable CXX names, else a usual name.

    Raises:
        NotCompiledError: There is none.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    if named and shutil.which(named[0]):
        return named
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    raise NotCompiledError("no C++ compiler found (c++, g++, clang++, or the one that CXX names)")


def compile_library(
    compiler: Sequence[str], name: Name, path: Path, options: Sequence[str] = ("-march=native",)
) -> None:
    """Compile a library to a hidden file beside `path`, then move it into place.

    Args:
        compiler: Command of the compiler.
        name: The library.
        path: The file to make.
        options: Further options; by default it is made for the processor of this machine.

    Raises:
        OSError: The file cannot be written, or the compiler cannot be run.
        subprocess.SubprocessError: The compiler fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    headers = [f"-I{_jaxlib() / 'include'}"] if name == "bindings" else []
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{name}-") as folder:
        made = Path(folder) / path.name
        command = [*compiler, *FLAGS, *options, *headers, str(SOURCES / f"{name}.cc"), "-o", str(made)]
        _run_to_its_end(command)
        made.replace(path)


def _run_to_its_end(command: Sequence[str]) -> None:
    """Run a compiler; where it is too slow or the user interrupts, what it started ends with it.

    Raises:
        OSError: It cannot be run.
        subprocess.SubprocessError: It fails, or takes longer than `TIMEOUT`.
    """
    # The command is a driver: if it alone is killed, the compiler proper goes on for minutes.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, said = process.communicate(timeout=TIMEOUT)
        except BaseException:
            process.kill()
            if hasattr(os, "killpg"):  # not under Windows
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output, said)


@functools.cache
def source_key(name: Name) -> str:
    """Return a digest of the sources and, for the functions that XLA calls, of the version of its headers."""
    files = sorted(file for file in SOURCES.iterdir() if file.suffix == ".h" or file.stem == name)
    parts = [file.read_text(encoding="utf-8") for file in files]
    if name == "bindings":
        parts.append(metadata.version("jaxlib"))
    return _digest(*parts, *FLAGS)


def _machine_key(compiler: Sequence[str]) -> str:
    """Return a digest of compiler and processor, since machines may share a cache."""
    program = Path(os.path.realpath(shutil.which(compiler[0]) or compiler[0]))
    version = ""
    with contextlib.suppress(OSError):
        version = f"{program.stat().st_size} {program.stat().st_mtime_ns}"
    return _digest(*compiler, str(program), version, platform.machine(), *sorted(_processor_flags()))


@functools.cache
def _processor_flags() -> frozenset[str]:
    """Return the names of the features of the processor, or nothing where the system does not tell."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        for line in file:
            name, _, values = line.partition(":")
            if name.strip().lower() in ("flags", "features"):
                return frozenset(values.split())
    return frozenset()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _jaxlib() -> Path:
    """Return the folder of jaxlib, without importing it."""
    found = importlib.util.find_spec("jaxlib")
    assert found is not None  # it is a dependency
    assert found.origin is not None
    return Path(found.origin).parent


def _first_error_line(error: Exception) -> str:
    """Return the first line that the compiler printed, or the error itself if it printed nothing."""
    printed = (getattr(error, "stderr", None) or "").strip().splitlines()
    return printed[0] if printed else str(error)
