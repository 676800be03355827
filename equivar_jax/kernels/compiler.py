"""Compiles the C++ kernels once a machine, with the C++ compiler that is there, and loads it."""

import contextlib
import ctypes
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

import jax
import jaxlib

from equivar_jax.cache import cache_directory

SOURCES = "cpp"
MAIN = "bindings.cc"
FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-w")
TIMEOUT = 300
"""Seconds; compilation takes about ten."""


class NotCompiledError(RuntimeError):
    """There is no native kernel on this machine, and why."""


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled kernels, from the cache or compiled now.

    Raises:
        NotCompiledError: no compiler, or it does not succeed.
    """
    compiler = _compiler()
    source = Path(str(resources.files("equivar_jax.kernels") / SOURCES / MAIN))
    path = cache_directory() / f"native-{_key(compiler, source)[:16]}.so"
    try:
        if not path.is_file():
            _compile(compiler, source, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        raise NotCompiledError(f"{shlex.join(compiler)} {source.name}: {_first_fault(error)}") from error


def _compiler() -> list[str]:
    """What the environment variable CXX names, else the usual names."""
    named = shlex.split(os.environ.get("CXX", ""))
    if named and shutil.which(named[0]):
        return named
    for name in ("c++", "g++", "clang++"):
        if shutil.which(name):
            return [name]
    raise NotCompiledError("no C++ compiler (c++, g++, clang++, or the one that CXX names)")


def _compile(compiler: list[str], source: Path, path: Path) -> None:
    """Compile to a hidden file beside the target, then put it in place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".native-") as folder:
        made = Path(folder) / path.name
        command = [*compiler, *FLAGS, f"-I{jax.ffi.include_dir()}", str(source), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
        made.replace(path)


def _key(compiler: list[str], source: Path) -> str:
    """Names a compiled library by everything that decides it; a cache may be shared between machines."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    processor = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    code = [file.read_text() for file in sorted(source.parent.iterdir()) if file.is_file()]
    parts = (*code, jaxlib.__version__, *compiler, *FLAGS, version, processor)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _first_fault(error: Exception) -> str:
    """The compiler's own first line, if it spoke."""
    spoken = (getattr(error, "stderr", None) or "").strip().splitlines()
    return spoken[0] if spoken else str(error)
