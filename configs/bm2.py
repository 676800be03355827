"""BM2: 32 channels, 139,905 parameters, the published recipe (Kutana et al., Sci. Rep. 15, 2025)."""

from equivar_jax.config import Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """BM2 on the embedded demonstration perovskites, 500 epochs."""
    return Config(model=ModelConfig(channels=32), train=TrainConfig(epochs=500))
