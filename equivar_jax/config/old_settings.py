"""Settings that checkpoints of earlier versions name and this version does not have."""

from typing import Any

from equivar_jax.config.schema import Config
from equivar_jax.config.settings import from_dict
from equivar_jax.errors import InputError

RETIRED: dict[str, Any] = {"loss": "l1", "huber_delta": None, "sum_rule_in_loss": False}
"""Settings of training that are gone, with the value at which they changed nothing (None: any value).

A Huber loss made no difference beyond that of seeds. The sum rule in the loss made errors 3 % larger on many
compositions and 1 % smaller on a trajectory (the ablations in `benchmarks/results/accuracy`).
"""


def read_config(values: dict[str, Any], where: str) -> Config:
    """Rebuild a config from its JSON, written by this version or an earlier one.

    Args:
        values: As in JSON.
        where: The file, for errors.

    Raises:
        InputError: a setting that no version had, or one that was turned on and is no longer there (such a
            run cannot go on as it began).
    """
    values = _with_present_kernel(values)
    train = values.get("train") if isinstance(values, dict) else None
    if not isinstance(train, dict):
        return from_dict(Config, values, where)
    for name, without in RETIRED.items():
        value = train.get(name, without)
        if without is not None and value != without:
            raise InputError(
                f"{where}: train.{name} is {value!r}, which is no longer there; use the version that wrote it"
            )
    kept = {name: value for name, value in train.items() if name not in RETIRED}
    return from_dict(Config, {**values, "train": kept}, where)


def _with_present_kernel(values: dict[str, Any]) -> dict[str, Any]:
    """Replace the kernel "dense", which is gone, by "chunked", which gives the same numbers."""
    model = values.get("model") if isinstance(values, dict) else None
    if not isinstance(model, dict) or model.get("kernel") != "dense":
        return values
    return {**values, "model": {**model, "kernel": "chunked"}}
