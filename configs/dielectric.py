"""Born effective charges and electronic dielectric tensors together: 5 Å, 3 interactions, 32 channels.

Needs data of your own with `info["epsilon_inf"]`: `--data.path FILE`. The validation part holds compositions
that training has never seen.
"""

from equivar_jax.config import Config, DataConfig, ModelConfig, TrainConfig


def get_config() -> Config:
    """Both readouts, 60 epochs."""
    return Config(
        data=DataConfig(split="composition"),
        model=ModelConfig(cutoff=5.0, channels=32, interactions=3, dielectric=True),
        train=TrainConfig(epochs=60, batch_size=16),
    )
