"""The contestants, and the processes in which they wait to be asked."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.speed.first_second.builds import ROOT

WORKERS = Path(__file__).parent / "workers"
_NO_CACHE = {"JAX_ENABLE_COMPILATION_CACHE": "false", "EQUIVAR_COMPILATION_CACHE": "off"}
"""A first step compiles."""


@dataclass(frozen=True)
class Contestant:
    """A program that trains and predicts tensors of one frame."""

    name: str
    worker: str
    """Of `workers`."""
    settings: dict[str, Any] = field(default_factory=dict)
    python: str = sys.executable
    root: Path | None = None
    """Sources to import; None for the packages of the interpreter alone."""


class Asked:
    """The process of a contestant; see `workers/serve.py`."""

    def __init__(self, contestant: Contestant, frame: Path, errors: Path):
        """Start it; `ready` waits for it.

        Args:
            contestant: What to run.
            frame: The frame, an npz file.
            errors: Where to write what the process says on its error stream.
        """
        self.name = contestant.name
        self._errors = errors
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | _NO_CACHE
        if contestant.root is not None:
            environment["PYTHONPATH"] = str(contestant.root)
        words = [WORKERS / "serve.py", WORKERS / f"{contestant.worker}.py", frame]
        with errors.open("w") as handle:
            self._process = subprocess.Popen(
                [contestant.python, "-P", *map(str, words), json.dumps(contestant.settings)],
                cwd=frame.parent,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=handle,
                text=True,
            )

    def ready(self) -> dict[str, Any]:
        """Wait for it, and return what it tells about itself.

        Raises:
            RuntimeError: it ended; the message ends with what it said last.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # libraries print, too
                return json.loads(line)
        self._process.wait()
        raise RuntimeError(f"{self.name}: {self._errors.read_text()[-2000:].strip()}")

    def ask(self, what: str) -> dict[str, Any]:
        """Let it do "training", "inference" or "memory"."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return self.ready()

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()


@contextlib.contextmanager
def checkout(commit: str, place: Path) -> Iterator[Path]:
    """Check out a commit of this repository beside the working tree; it is removed afterwards."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)
