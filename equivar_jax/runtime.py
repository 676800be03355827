"""Settings of the whole process: JAX's cache of compiled programs and its precision, and signals."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from equivar_jax.cache import cache_directory
from equivar_jax.errors import InputError

if TYPE_CHECKING:
    import numpy as np

COMPILATION_CACHE_VARIABLE = "EQUIVAR_COMPILATION_CACHE"
"""Name of the environment variable that turns the cache of compiled programs off, with the value 0 or off."""


def use_compilation_cache() -> None:
    """Let JAX keep the programs that it compiles on disk, for the next process.

    Whatever compiles something large calls this first, commands and library alike. Nothing happens if JAX has
    a folder for its cache already or its cache was turned off, which is the user's decision, or if the
    environment variable EQUIVAR_COMPILATION_CACHE is 0 or off.
    """
    import jax  # only where something is compiled

    if os.environ.get(COMPILATION_CACHE_VARIABLE, "").lower() in ("0", "off", "no", "false"):
        return
    config: Any = jax.config
    if config.jax_compilation_cache_dir is not None or not config.jax_enable_compilation_cache:
        return
    config.update("jax_compilation_cache_dir", str(cache_directory() / "compiled"))
    config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def require_precision(dtype: "np.dtype") -> None:
    """Refuse a precision that JAX is not set to, since it would silently take a lower one.

    Raises:
        InputError: float64 is asked for without `jax_enable_x64`.
    """
    import jax  # only where it computes

    if jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise InputError(
            'float64 needs jax.config.update("jax_enable_x64", True) before anything is predicted'
        )


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


class Interrupted(KeyboardInterrupt):
    """What `interruptible` raises: SIGINT or SIGTERM has come."""

    def __init__(self, kind: signal.Signals):
        super().__init__(kind.name)
        self.signal = kind


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` at the first SIGINT or SIGTERM inside the block, for work that may stop anywhere.

    A second signal of the same kind acts as usual.
    """
    previous: dict[int, Any] = {}

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, previous[number])
        raise Interrupted(signal.Signals(number))

    for kind in (signal.SIGINT, signal.SIGTERM):
        previous[kind] = signal.signal(kind, stop)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
