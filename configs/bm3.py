"""BM3: edges that know the species at both ends, gates and a residual by species on the nodes; 5 Å."""

from equivar_jax.config import Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """BM3 on the embedded demonstration perovskites, 100 epochs."""
    return Config(
        model=ModelConfig(
            cutoff=5.0,
            channels=64,
            interactions=3,
            envelope=True,
            edge_hidden=64,
            periodic_table=True,
            gates=True,
            self_connection=True,
        ),
        train=TrainConfig(epochs=100, batch_size=4, learning_rate=0.03, ema_decay=0.995),
    )
