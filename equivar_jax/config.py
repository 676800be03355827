"""Every setting, once: frozen dataclasses and the Python files that fill them.

A config file is Python with a function `get_config() -> Config`. It is named by path, or by the name of a
shipped one (`bm2.py`). `equivar_jax.cli` reads overrides such as `--train.epochs 20`.
"""

import dataclasses
import difflib
import runpy
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from equivar_jax.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class DemonstrationConfig:
    """How many structures of each kind the embedded demonstration set has (it is not DFT data)."""

    perovskites: int = 224
    li3po4: int = 0
    zro2: int = 0
    seed: int = 0


@dataclass(frozen=True)
class DataConfig:
    """Which structures, and how they are divided."""

    path: str | None = None
    """File with Born effective charges; None takes the embedded demonstration set."""
    key: str | None = None
    """Column of the tensors (nine a row, field index first); None finds the usual names."""
    validation_path: str | None = None
    """File to validate on; None sets aside `validation_fraction` of `path`."""
    validation_fraction: float = 0.2
    split_seed: int = 0
    group_key: str | None = None
    """Key of `atoms.info` whose equal values stay on one side of the split; None splits frame by frame."""
    demonstration: DemonstrationConfig = field(default_factory=DemonstrationConfig)


@dataclass(frozen=True)
class ModelConfig:
    """The network (Kutana et al., Sci. Rep. 15, 2025), BM1 by default."""

    cutoff: float = 3.0
    """Radius of the neighbourhood in Å."""
    radial_functions: int = 32
    """Gaussians with centres evenly spaced from 0 to the cutoff."""
    envelope: bool = False
    """Multiply edges by 0.5 (1 + cos(pi r / cutoff)), so that the tensors are continuous in positions."""
    species: int = 100
    """Rows of the embedding table, indexed by atomic number (row 0 is padding)."""
    embedding: int = 32
    channels: int = 64
    """Multiplicity f of the hidden irreps f x (0e + 1o + 1e + 2e)."""
    interactions: int = 6
    mean_neighbours: float | None = None
    """Mean neighbour count of the training part, by whose root messages are divided; None: measure it."""
    kernel: Literal["auto", "chunked", "reference"] = "auto"
    """Implementation of the neighbour sum; all give the same numbers (see `equivar_jax.kernels`)."""


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation: L1 on the nine components, AdamW."""

    epochs: int = 500
    batch_size: int = 8
    """Structures in a batch of average size."""
    learning_rate: float = 0.005
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    final_learning_rate: float = 5e-5
    """Where the cosine or exponential schedule ends."""
    warmup_epochs: float = 1.0
    weight_decay: float = 0.01
    gradient_clip: float | None = 10.0
    """Largest global norm of the gradient; None leaves it as it is."""
    ema_decay: float | None = None
    """Decay per step of an exponential moving average of the weights, which is then validated and kept."""
    sum_rule_in_loss: bool = False
    """Apply the acoustic sum rule before the loss, too (the published recipe applies it afterwards)."""
    seed: int = 0
    """Of the initial weights and of the order of batches."""
    checkpoint_minutes: float = 0.5
    """How often best and last states go to disk; they always do when the run ends or is interrupted."""


@dataclass(frozen=True)
class Config:
    """One run: data, network and optimisation."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def shipped_configs() -> dict[str, Path]:
    """Name -> path of the config files that come with the package (in a wheel, or beside the sources)."""
    package = Path(__file__).parent
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return {path.name: path for path in sorted(folder.glob("*.py"))}
    return {}


def load_config(name: str) -> Config:
    """Run the config file of that path or shipped name and return its `get_config()`.

    Raises:
        InputError: no such file or shipped name, or the file gives no `Config`.
    """
    shipped = shipped_configs()
    path = Path(name)
    if not path.is_file():
        path = shipped.get(name) or shipped.get(f"{name}.py") or path
    if not path.is_file():
        raise InputError(
            f"{name}: no such config file, nor a shipped one ({', '.join(shipped)}){did_you_mean(name, shipped)}"
        )
    get_config = runpy.run_path(str(path)).get("get_config")
    if get_config is None:
        raise InputError(f"{path}: defines no get_config(); see {next(iter(shipped.values()), 'the README')}")
    config = get_config()
    if not isinstance(config, Config):
        raise InputError(
            f"{path}: get_config() gave {type(config).__name__}, expected equivar_jax.config.Config"
        )
    return config


def check_config(config: Config) -> None:
    """Refuse values that no run can have.

    Raises:
        InputError: names the setting, its value and what is allowed.
    """
    data, model, train = config.data, config.model, config.train
    positive = {
        "model.cutoff": model.cutoff,
        "model.radial_functions": model.radial_functions - 1,
        "model.channels": model.channels,
        "model.interactions": model.interactions,
        "model.embedding": model.embedding,
        "train.epochs": train.epochs,
        "train.batch_size": train.batch_size,
        "train.learning_rate": train.learning_rate,
        "train.final_learning_rate": train.final_learning_rate,
    }
    for name, value in positive.items():
        if not value > 0:
            raise InputError(f"--{name} is too small; give a larger value")
    if not 0 < data.validation_fraction < 1:
        raise InputError(f"--data.validation_fraction {data.validation_fraction} is not between 0 and 1")
    if train.ema_decay is not None and not 0 < train.ema_decay < 1:
        raise InputError(f"--train.ema_decay {train.ema_decay} is not between 0 and 1")
    if model.mean_neighbours is not None and not model.mean_neighbours > 0:
        raise InputError(f"--model.mean_neighbours {model.mean_neighbours} is not positive; leave it out")


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as nested dictionaries, ready for JSON."""
    return dataclasses.asdict(config)


def from_dict(kind: type[T], values: dict[str, Any], where: str = "config") -> T:
    """Rebuild a frozen dataclass from `to_dict`.

    Raises:
        InputError: a key that `kind` does not have (names the nearest), as in a checkpoint of another program.
    """
    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise InputError(f"{where}: unknown setting {key!r}{did_you_mean(key, hints)}")
    nested = {
        key: from_dict(hints[key], value, f"{where}.{key}") if dataclasses.is_dataclass(hints[key]) else value
        for key, value in values.items()
    }
    return kind(**nested)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`; did you mean ...?` for the choice nearest to `word`, or nothing when none is near."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.4)
    return f"; did you mean {near[0]!r}?" if near else ""
