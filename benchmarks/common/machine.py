"""What every result file says of the machine it comes from."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from equivar_jax.parallel import available_cores

LIBRARIES = ("equivar_jax", "jax", "flax", "e3nn-jax", "numpy", "ase", "matscipy")


def describe_machine() -> dict[str, Any]:
    """Device, versions and commit."""
    return {
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "processor": processor(),
        "cores": available_cores(),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in LIBRARIES},
        },
        "commit": commit(),
    }


def processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def commit() -> str | None:
    """Of the sources, with a plus sign where they were changed since; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    return finished.stdout.strip() or None
