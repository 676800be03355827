"""Fine-tuning: the shipped weights go on with data of your own, at a lower rate.

`equivar train --config finetune.py --data mine.extxyz`, from a handful of labelled structures
on; `--train.start_from RUN` starts from weights of yours. The network is that of the weights; of a committee
`--train.seed` chooses the member. `--train.freeze elements` keeps what the network knows of elements, and
`--train.freeze interactions` trains the readout only. `--train.keep last` keeps the weights of the last
epoch, where the validation part is too small to choose by.
"""

from equivar_jax.config import Config, TrainConfig


def get_config() -> Config:
    """100 epochs in small batches; without weight decay, which would shrink what the data do not speak of."""
    return Config(
        train=TrainConfig(
            epochs=100,
            batch_size=2,
            learning_rate=0.015,
            final_learning_rate=5e-5,
            schedule="cosine",
            warmup_epochs=1.0,
            weight_decay=0.0,
            ema_decay=0.99,
            start_from="shipped",
        )
    )
