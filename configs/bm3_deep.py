"""BM3 with more interactions of fewer channels: for trajectories of one material, where reach counts most."""

import dataclasses

from equivar_jax.config import Config, load_config


def get_config() -> Config:
    """5 interactions, 32 channels; as fast as BM3."""
    config = load_config("bm3.py")
    return dataclasses.replace(config, model=dataclasses.replace(config.model, interactions=5, channels=32))
