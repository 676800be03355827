"""Config files: Python with a function `get_config() -> Config`, named by path or as one that is shipped."""

import re
import runpy
import traceback
from pathlib import Path

from equivar_jax.config.schema import Config
from equivar_jax.config.settings import did_you_mean, setting_types
from equivar_jax.errors import InputError


def shipped_configs() -> dict[str, Path]:
    """Find the config files that come with the package, by name: inside a wheel, or beside the sources."""
    package = Path(__file__).parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return {path.name: path for path in sorted(folder.glob("*.py"))}
    return {}


def load_config(name: str) -> Config:
    """Run a config file, named by its path or as a shipped one, and return what its `get_config()` gives.

    Raises:
        InputError: no such file or shipped name, or the file fails or gives no `Config`.
    """
    shipped = shipped_configs()
    path = Path(name)
    if not path.is_file():
        path = shipped.get(name) or shipped.get(f"{name}.py") or path
    if not path.is_file():
        there = ", ".join(shipped)
        raise InputError(
            f"{name}: no such config file, nor a shipped one ({there}){did_you_mean(name, shipped)}"
        )
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        config = None if get_config is None else get_config()
    except Exception as error:  # a config file is a program, so anything can happen in it
        raise InputError(f"{path}: {_fault(path, error)}") from error
    if get_config is None:
        raise InputError(f"{path}: defines no get_config(); see {next(iter(shipped.values()), 'the README')}")
    if not isinstance(config, Config):
        raise InputError(
            f"{path}: get_config() gave {type(config).__name__}, expected equivar_jax.config.schema.Config"
        )
    return config


def _fault(path: Path, error: Exception) -> str:
    """Say what went wrong in a config file, and in which line."""
    text = " ".join(str(error).split())
    if unknown := re.search(r"unexpected keyword argument '(\w+)'", text):
        names = [name.rpartition(".")[2] for name in setting_types(Config)]
        text = f"unknown setting {unknown[1]!r}{did_you_mean(unknown[1], names)}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return f"line {lines[-1]}: {text}" if lines else text
