"""A polarisation whose derivatives are the tensors, in the size of `bm3_deep.py`: for one material.

From few frames of a material it learns more than networks that give tensors directly, and it has what these
do not have: a polarisation, and with it an energy in a field that is exactly conserved.
"""

from equivar_jax.config import Config, ModelConfig, TrainConfig


def get_config() -> Config:
    """5 interactions of 32 channels, on the embedded demonstration perovskites, 100 epochs."""
    return Config(
        model=ModelConfig(
            form="polarisation",
            cutoff=5.0,
            radial_functions=12,
            channels=32,
            interactions=5,
            envelope=True,
            edge_hidden=64,
            periodic_table=True,
            node_products=True,
            self_connection=True,
        ),
        train=TrainConfig(epochs=100, batch_size=1, learning_rate=0.04, ema_decay=0.995, optimizer="muon"),
    )
