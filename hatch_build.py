"""Gives a wheel with compiled kernels (see `equivar_jax.kernels.prebuild`) the tag of its platform."""

import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PlatformTag(BuildHookInterface):
    """Hook of hatchling, named in `pyproject.toml`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Choose the tag; the libraries need no particular Python."""
        if version == "editable" or not list(Path(self.root, "equivar_jax/kernels/prebuilt").glob("*.so")):
            return
        system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data |= {"pure_python": False, "tag": f"py3-none-{system}"}
