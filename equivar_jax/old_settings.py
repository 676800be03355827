"""Settings that checkpoints of earlier versions name and this version does not have."""

from typing import Any

from equivar_jax.config import Config
from equivar_jax.errors import InputError
from equivar_jax.settings import from_dict

RETIRED: dict[str, Any] = {"loss": "l1", "huber_delta": None, "sum_rule_in_loss": False}
"""Of training: what they were where they changed nothing (None: whatever they were).

A Huber loss and the sum rule in the loss made nothing better (ablations in `benchmarks/results/accuracy`).
"""


def read_config(values: dict[str, Any], where: str) -> Config:
    """Rebuild a config from `to_dict`, of this version or of an earlier one.

    Args:
        values: As in JSON.
        where: The file, for errors.

    Raises:
        InputError: a setting that no version had, or one that was turned on and is no longer there.
    """
    train = dict(values.get("train", {}))
    for name, without in RETIRED.items():
        if (value := train.pop(name, without)) != without and without is not None:
            raise InputError(
                f"{where}: train.{name} is {value!r}, which is no longer there; use the version that wrote it"
            )
    return from_dict(Config, {**values, "train": train}, where)
