"""BM1: 64 channels, 510,081 parameters, the published recipe (Kutana et al., Sci. Rep. 15, 2025)."""

from equivar_jax.config import Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """BM1 on the embedded demonstration perovskites, 500 epochs."""
    return Config(model=ModelConfig(channels=64), train=TrainConfig(epochs=500))
