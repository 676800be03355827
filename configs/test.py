"""The whole road in seconds, for tests: tiny network, few structures."""

from equivar_jax.config import Config, DataConfig, DemonstrationConfig, ModelConfig, TrainConfig


def get_config() -> Config:
    """16 channels, 2 interactions, 3 epochs on 12 demonstration perovskites."""
    return Config(
        data=DataConfig(demonstration=DemonstrationConfig(perovskites=12)),
        model=ModelConfig(channels=16, interactions=2),
        train=TrainConfig(epochs=3, batch_size=4),
    )
