"""Time one contestant on demand: `python serve.py CONTESTANT.py FRAME.npz SETTINGS`.

This runs in the Python of the contestant, which may have no equivar_jax, so it needs NumPy alone. The file of
the contestant has `prepare(frame, settings)`, which returns the calls "inference" and "training" and what is
worth knowing. The first line printed is the contestant in JSON; then every line read is the name of a call,
or "memory", and is answered by one line. End of input ends the process.
"""

import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WARM_UP_CALLS = 2
"""TorchScript watches as many calls before it settles on a program."""


def read_status(field: str) -> int | None:
    """Return a size in bytes of this process, "VmRSS" or "VmHWM", or None where the system does not tell."""
    path = Path("/proc/self/status")
    lines = path.read_text().splitlines() if path.is_file() else []
    found = [line.split() for line in lines if line.startswith(f"{field}:")]
    return 1024 * int(found[0][1]) if found else None


def forget_peak() -> bool:
    """Let "VmHWM" begin anew; return whether the system allows that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def time_call(call: Callable[[], object]) -> dict[str, float]:
    """Return the seconds of one call, by the clock and of the processor (all threads)."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - processor}


def measure_memory(training: Callable[[], object], before: int | None) -> dict[str, int | None]:
    """Return by how much the process grows in one training step, in bytes.

    Args:
        training: The step, which has run before: memory of a compiler does not count.
        before: Resident size before the first step.
    """
    if before is None or not forget_peak():
        return {"step_bytes": None}
    training()
    peak = read_status("VmHWM")
    return {"step_bytes": None if peak is None else peak - before}


def serve(path: Path, frame: dict[str, np.ndarray], settings: dict[str, Any]) -> None:
    """Prepare a contestant, and answer what is asked."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    calls, about = module.prepare(frame, settings)
    before = read_status("VmRSS")
    first = {f"first_{name}": time_call(calls[name]) for name in ("training", "inference")}
    for call in calls.values():
        for _ in range(WARM_UP_CALLS):
            call()
    answer({**about, **first})  # after the first calls, which may add to what is known
    for line in sys.stdin:
        name = line.strip()
        answer(measure_memory(calls["training"], before) if name == "memory" else time_call(calls[name]))


def answer(found: dict[str, Any]) -> None:
    """Print one line of JSON."""
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    with np.load(sys.argv[2]) as arrays:
        serve(Path(sys.argv[1]), dict(arrays), json.loads(sys.argv[3]))
