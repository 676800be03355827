"""Every setting, once: frozen dataclasses, config files, the command line. Does not import JAX."""

from equivar_jax.config.command_line import OptionParser, override
from equivar_jax.config.files import load_config, shipped_configs
from equivar_jax.config.schema import (
    Config,
    DataConfig,
    DemonstrationConfig,
    FirstIndex,
    Freeze,
    HygieneConfig,
    Kernel,
    ModelConfig,
    TrainConfig,
    check_config,
)
from equivar_jax.config.settings import from_dict, to_dict

__all__ = [
    "Config",
    "DataConfig",
    "DemonstrationConfig",
    "FirstIndex",
    "Freeze",
    "HygieneConfig",
    "Kernel",
    "ModelConfig",
    "OptionParser",
    "TrainConfig",
    "check_config",
    "from_dict",
    "load_config",
    "override",
    "shipped_configs",
    "to_dict",
]
