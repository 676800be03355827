"""Compiles the C++ kernels once on each machine, with its C++ compiler, and loads them."""

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
"""Longest time for a compilation in seconds; it takes about ten."""


class NotCompiledError(RuntimeError):
    """The error that there is no compiled kernel on this machine; the message says why."""


@functools.cache
def load_library() -> ctypes.CDLL:
    """Load the compiled kernels from the cache, where they are compiled first if they are not there.

    Raises:
        NotCompiledError: There is no compiler, or it fails.
    """
    compiler = _compiler()
    source = Path(str(resources.files("equivar_jax.kernels") / SOURCES / MAIN))
    path = cache_directory() / f"native-{_library_key(compiler, source)[:16]}.so"
    try:
        if not path.is_file():
            _compile(compiler, source, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        raise NotCompiledError(f"{shlex.join(compiler)} {source.name}: {_first_error_line(error)}") from error


def _compiler() -> list[str]:
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


def _compile(compiler: list[str], source: Path, path: Path) -> None:
    """Compile to a hidden file beside the target, then move it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".native-") as folder:
        made = Path(folder) / path.name
        command = [*compiler, *FLAGS, f"-I{jax.ffi.include_dir()}", str(source), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT)
        made.replace(path)


def _library_key(compiler: list[str], source: Path) -> str:
    """Make a key of everything that a compiled library depends on; machines may share a cache."""
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=False).stdout
    processor = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    code = [file.read_text() for file in sorted(source.parent.iterdir()) if file.is_file()]
    parts = (*code, jaxlib.__version__, *compiler, *FLAGS, version, processor)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _first_error_line(error: Exception) -> str:
    """Return the first line that the compiler printed, or the error itself if it printed nothing."""
    printed = (getattr(error, "stderr", None) or "").strip().splitlines()
    return printed[0] if printed else str(error)
