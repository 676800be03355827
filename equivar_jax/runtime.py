"""Settings of the whole process, which the command-line programs make and the library does not."""

import signal
from types import FrameType

import jax

from equivar_jax.cache import cache_directory


def enable_compilation_cache() -> None:
    """Let JAX keep compiled programs on disk, so that the second run of a configuration starts at once."""
    jax.config.update("jax_compilation_cache_dir", str(cache_directory() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


class Interruption:
    """A context manager that notes SIGINT (Ctrl-C) and SIGTERM, so that a loop can end at a good place.

    A second signal of the same kind acts as usual.
    """

    def __init__(self):
        self.signal: signal.Signals | None = None
        """The signal that has come, or None."""
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        for kind in (signal.SIGINT, signal.SIGTERM):
            self._previous[kind] = signal.signal(kind, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._previous.items():
            signal.signal(kind, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        signal.signal(number, self._previous[self.signal])  # type: ignore[arg-type]
