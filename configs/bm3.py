"""BM3: species-aware edges, gates and products on the nodes; 5 Å, 3 interactions, sum rule in the loss."""

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
            node_products=True,
            gates=True,
            self_connection=True,
            element_shift=True,
        ),
        train=TrainConfig(
            epochs=100, batch_size=4, learning_rate=0.02, sum_rule_in_loss=True, ema_decay=0.995
        ),
    )
