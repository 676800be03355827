"""Two builds of the package on one machine, and processes that run scripts with one of them."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[3]
"""Of the working tree."""
SCRIPTS = Path(__file__).parent / "scripts"
_CACHE_VARIABLE = "EQUIVAR_CACHE"
_CHANGES_THE_RESULT = (
    "PYTHONDONTWRITEBYTECODE",
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_DISABLE_MOST_OPTIMIZATIONS",
)
"""Variables that a user does not have, and that would make one start slow or another one fast."""


class Finished(NamedTuple):
    """A process that has ended."""

    seconds: float
    """From its start to its end, as a user waits."""
    printed: str

    def json(self) -> dict[str, Any]:
        """Read its last line."""
        return json.loads(self.printed.splitlines()[-1])


@dataclass(frozen=True)
class Build:
    """A checkout of the sources with a folder for what it writes."""

    name: str
    root: Path
    folder: Path
    """Its cache and its checkpoints. Processes run here, so that `PYTHONPATH` decides what is imported."""

    @property
    def cache(self) -> Path:
        """The cache that stays from one process to the next."""
        return self.folder / "cache"

    def python(self, *words: str, cache: Path | None = None, **variables: str) -> Finished:
        """Run the interpreter of this process with the sources of the build.

        Args:
            words: Arguments of the interpreter.
            cache: The cache folder, if not that of the build.
            variables: More of the environment.

        Raises:
            RuntimeError: the process failed; the message ends with what it said last.
        """
        environment = {key: value for key, value in os.environ.items() if key not in _CHANGES_THE_RESULT}
        environment |= {"PYTHONPATH": str(self.root), _CACHE_VARIABLE: str(cache or self.cache)} | variables
        started = time.perf_counter()
        finished = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - started
        if finished.returncode:
            raise RuntimeError(f"{self.name} build: python {' '.join(words)}\n{finished.stderr[-2000:]}")
        return Finished(seconds, finished.stdout)

    def script(self, name: str, *words: object, cache: Path | None = None, **variables: str) -> Finished:
        """Run one of `scripts`; -P keeps their folder out of what can be imported."""
        return self.python("-P", str(SCRIPTS / f"{name}.py"), *map(str, words), cache=cache, **variables)

    def prepare(self) -> None:
        """Leave what a first call leaves: byte code, compiled kernels and programs.

        Raises:
            RuntimeError: Python takes the package from elsewhere, or a script fails.
        """
        self.folder.mkdir(parents=True)
        package = self.python("-c", "import equivar_jax; print(equivar_jax.__file__)").printed.strip()
        if not Path(package).is_relative_to(self.root):
            raise RuntimeError(f"{self.name} build: {package} was imported, not the package in {self.root}")
        self.script("first_prediction")
        self.script("many_cells", "list", 2, self.folder / "prepared.npy")  # may need other C++ code

    def checkpoint(self, config: str) -> Path:
        """Return a checkpoint of initial weights ("bm1.py"), which the build writes at the first call."""
        folder = self.folder / Path(config).stem
        if not folder.is_dir():
            self.script("initial_checkpoint", config, folder)
        return folder

    @contextlib.contextmanager
    def fresh_cache(self, kernels: bool) -> Iterator[Path]:
        """Make a cache folder for a few processes, empty or with the compiled C++ code only.

        Raises:
            RuntimeError: C++ was compiled although it was there, which would be in the time of the processes.
        """
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            folder = Path(name)
            for path in _libraries(self.cache) if kernels else ():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.cache / path, folder / path)
            yield folder
            if kernels and (added := _libraries(folder) - _libraries(self.cache)):
                raise RuntimeError(f"{self.name} build: compiled {', '.join(map(str, added))} once more")


def _libraries(cache: Path) -> set[Path]:
    """Return the places of compiled C++ code in a cache folder; a build may also bring some with it."""
    return {path.relative_to(cache) for path in cache.rglob("*.so")}


@contextlib.contextmanager
def two_builds(commit: str) -> Iterator[tuple[Build, Build]]:
    """Check out a commit beside the working tree, and prepare both; the checkout is removed afterwards.

    Args:
        commit: Of the old build.

    Yields:
        The old and the new build.
    """
    git = ["git", "-C", str(ROOT), "worktree"]
    with tempfile.TemporaryDirectory(prefix="first-second-") as name:
        place = Path(name).resolve()
        subprocess.run([*git, "add", "--quiet", "--detach", str(place / "sources"), commit], check=True)
        try:
            builds = (
                Build("old", place / "sources", place / "old"),
                Build("new", ROOT, place / "new"),
            )
            for build in builds:
                build.prepare()
            yield builds
        finally:
            subprocess.run([*git, "remove", "--force", str(place / "sources")], check=True)
