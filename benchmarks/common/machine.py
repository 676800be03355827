"""The description of the machine that stands in every result file."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from equivar_jax.parallel import available_cores

LIBRARIES = ("equivar_jax", "jax", "flax", "e3nn-jax", "numpy", "ase", "matscipy")


def describe_machine() -> dict[str, Any]:
    """Return the device, processor, versions of libraries and commit of the sources."""
    return {
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "processor": processor_name(),
        "cores": available_cores(),
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in LIBRARIES},
        },
        "commit": source_commit(),
    }


def processor_name() -> str:
    """Return the name of the processor, or its architecture where the system does not tell the name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def source_commit() -> str | None:
    """Return the commit of the sources, with a plus sign if they have changes; None outside a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    return finished.stdout.strip() or None
