"""The folder of what would take time to make again: generated data and compiled programs."""

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "EQUIVAR_CACHE"


def cache_directory(cache_dir: Path | None = None) -> Path:
    """The argument, else what the environment variable EQUIVAR_CACHE names, else the user's cache."""
    if cache_dir is not None:
        return Path(cache_dir)
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("equivar_jax"))
