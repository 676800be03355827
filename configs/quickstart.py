"""A small network and few epochs: a first look at every output in about a minute."""

from equivar_jax.config import Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """16 channels, 3 interactions, 30 epochs on the embedded demonstration perovskites."""
    return Config(model=ModelConfig(channels=16, interactions=3), train=TrainConfig(epochs=30))
