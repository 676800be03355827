"""Every setting, once: frozen dataclasses and the Python files that fill them.

A config file is Python with a function `get_config() -> Config`. It is named by path, or by the name of a
shipped one (`bm2.py`). `equivar_jax.config.command_line` reads overrides such as `--train.epochs 20`.
"""

import math
import operator
import re
import runpy
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from equivar_jax.config.settings import did_you_mean, is_of_type, setting_types, type_name
from equivar_jax.errors import InputError

Kernel = Literal["auto", "native", "chunked", "dense", "reference"]
FirstIndex = Literal["field", "displacement"]
Freeze = Literal["nothing", "elements", "interactions"]

_POSITIVE = {
    "data.hygiene.sum_rule",
    "data.hygiene.largest_component",
    "data.hygiene.symmetry",
    "data.hygiene.symprec",
    "data.hygiene.duplicate_distance",
    "data.hygiene.near_duplicate_distance",
    "data.hygiene.label_difference",
    "data.hygiene.transposition",
    "model.cutoff",
    "model.mean_neighbours",
    "train.learning_rate",
    "train.final_learning_rate",
    "train.gradient_clip",
    "train.dielectric_weight",
}
_FRACTIONS = {"data.validation_fraction", "train.ema_decay"}
_LOWEST = {
    "data.split_seed": 0,
    "data.folds": 2,
    "data.fold": 0,
    "data.hygiene.rare_element": 0,
    "data.demonstration.perovskites": 0,
    "data.demonstration.li3po4": 0,
    "data.demonstration.zro2": 0,
    "data.demonstration.seed": 0,
    "model.edge_hidden": 0,
    "model.radial_functions": 2,
    "model.species": 2,
    "model.embedding": 1,
    "model.channels": 1,
    "model.interactions": 1,
    "train.epochs": 1,
    "train.batch_size": 1,
    "train.warmup_epochs": 0,
    "train.weight_decay": 0,
    "train.seed": 0,
    "train.checkpoint_minutes": 0,
}


@dataclass(frozen=True)
class DemonstrationConfig:
    """How many structures of each kind the embedded demonstration set has (it is not DFT data)."""

    perovskites: int = 224
    li3po4: int = 0
    zro2: int = 0
    seed: int = 0


@dataclass(frozen=True)
class HygieneConfig:
    """Which labelled structures are set aside before training (see `equivar_jax.hygiene`)."""

    enabled: bool = True
    """False takes every readable label as it is."""
    sum_rule: float = 0.1
    """Largest excess charge |sum_i Z_i - Q 1| over the root of the number of atoms, in e."""
    largest_component: float = 15.0
    """Largest |Z| of a component in e; known materials reach 12.5 (W in cubic WO3)."""
    symmetry: float = 0.1
    """Largest deviation from the crystal's symmetry, over the root-mean-square diagonal of the tensors."""
    symprec: float = 1e-3
    """How far in Å an atom may be from its symmetric place."""
    duplicate_distance: float = 1e-3
    """Crystals whose neighbour distances all differ by less, in Å, are the same."""
    near_duplicate_distance: float = 5e-3
    """Those that differ by less than this, in Å, are nearly the same (never in training and validation)."""
    label_difference: float = 0.1
    """Labels of one crystal that differ by more than this, in e, contradict each other."""
    transposition: float = 0.5
    """Disagreement of the antisymmetric part, 0 to 1, from which a structure is a clear case."""
    rare_element: int = 5
    """Elements in fewer structures than this are pointed at."""
    refuse_rare: bool = False
    """Set structures with rare elements aside."""


@dataclass(frozen=True)
class DataConfig:
    """Which structures, and how they are divided."""

    path: str | None = None
    """File, folder or glob with Born effective charges; None takes the embedded demonstration set."""
    key: str | None = None
    """Column of the tensors (nine a row); None finds the usual names."""
    first_index: FirstIndex | None = None
    """What the first index of a stored tensor is, where the format leaves it open; None: what it says."""
    validation_path: str | None = None
    """File, folder or glob to validate on; None sets aside a part of `path`."""
    split: Literal["random", "composition", "block"] = "random"
    """How `path` is divided: frame by frame, by reduced formula, or the end of each trajectory."""
    split_path: str | None = None
    """A `split.json` of an earlier run, or a file of that form, to divide in the same way again."""
    validation_fraction: float = 0.2
    folds: int | None = None
    """Divide into this many parts for cross-validation, and validate on part number `fold`."""
    fold: int = 0
    split_seed: int = 0
    group_key: str | None = None
    """Key of `atoms.info` whose equal values stay on one side of the split (with "block": a trajectory)."""
    hygiene: HygieneConfig = field(default_factory=HygieneConfig)
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
    kernel: Kernel = "auto"
    """Implementation of the neighbour sum; all give the same numbers (see `equivar_jax.kernels`)."""
    edge_hidden: int = 0
    """Radial functions that know the species at both ends of an edge; 0 leaves the Gaussians as published."""
    periodic_table: bool = False
    """Start the embedding so that elements of one group or period resemble each other."""
    node_products: bool = False
    """Multiply the received message with itself on every node: more bodies at no cost per edge."""
    gates: bool = False
    """Nonlinearity on the nodes: scalars through silu, other irreps gated by scalars."""
    self_connection: bool = False
    """Mix the residual of a node by weights that depend on its species."""
    element_shift: bool = False
    """A scale and a charge of each element on the tensors, the charge starting at the training mean."""
    dielectric: bool = False
    """A second readout, of the electronic dielectric tensor, learned from `info["epsilon_inf"]`."""


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation: L1 on the nine components, AdamW, from fresh weights or from those of `start_from`."""

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
    seed: int = 0
    """Of the initial weights and of the order of batches."""
    checkpoint_minutes: float = 0.5
    """How often best and last states go to disk; they always do when the run ends or is interrupted."""
    dielectric_weight: float = 0.3
    """Of the relative error of the dielectric tensor in the loss, in e (with `model.dielectric`)."""
    start_from: str | None = None
    """Fine-tuning: run or checkpoint folder with the weights to start from, and with them the network;
    "shipped" are those inside the package."""
    freeze: Freeze = "nothing"
    """What stays as it starts: "elements", the tables of elements inside the network and what reads them
    first; or "interactions", everything but the readout."""
    keep: Literal["best", "last"] = "best"
    """Weights that the best checkpoint holds: of the lowest validation MAE, or of the last epoch."""


@dataclass(frozen=True)
class Config:
    """One run: data, network and optimisation."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def shipped_configs() -> dict[str, Path]:
    """Name -> path of the config files that come with the package (in a wheel, or beside the sources)."""
    package = Path(__file__).parents[1]
    for folder in (package / "configs", package.parent / "configs"):
        if folder.is_dir():
            return {path.name: path for path in sorted(folder.glob("*.py"))}
    return {}


def load_config(name: str) -> Config:
    """Run the config file of that path or shipped name and return its `get_config()`.

    Raises:
        InputError: no such file or shipped name, or the file fails or gives no `Config`.
    """
    shipped = shipped_configs()
    path = Path(name)
    if not path.is_file():
        path = shipped.get(name) or shipped.get(f"{name}.py") or path
    if not path.is_file():
        there = ", ".join(shipped)
        raise InputError(
            f"{name}: no such config file, nor a shipped one ({there}){did_you_mean(name, shipped)}"
        )
    try:
        get_config = runpy.run_path(str(path)).get("get_config")
        config = None if get_config is None else get_config()
    except Exception as error:  # a config file is a program, so anything can happen in it
        raise InputError(f"{path}: {_fault(path, error)}") from error
    if get_config is None:
        raise InputError(f"{path}: defines no get_config(); see {next(iter(shipped.values()), 'the README')}")
    if not isinstance(config, Config):
        raise InputError(
            f"{path}: get_config() gave {type(config).__name__}, expected equivar_jax.config.schema.Config"
        )
    return config


def _fault(path: Path, error: Exception) -> str:
    """What went wrong in a config file, and in which line."""
    text = " ".join(str(error).split())
    if unknown := re.search(r"unexpected keyword argument '(\w+)'", text):
        names = [name.rpartition(".")[2] for name in setting_types(Config)]
        text = f"unknown setting {unknown[1]!r}{did_you_mean(unknown[1], names)}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)
    ]
    return f"line {lines[-1]}: {text}" if lines else text


def check_config(config: Config) -> None:
    """Refuse values of the wrong type, and those that no run can have.

    Raises:
        InputError: names the setting, its value and what is allowed.
    """
    for name, hint in setting_types(Config).items():
        value = operator.attrgetter(name)(config)
        if not is_of_type(value, hint):
            raise InputError(f"--{name} is {value!r}, expected {type_name(hint)}")
        if value is None:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"--{name} {value} is not finite")
        if name in _POSITIVE and not value > 0:
            raise InputError(f"--{name} {value} is not above zero")
        if name in _LOWEST and value < _LOWEST[name]:
            raise InputError(f"--{name} {value} is too small; give {_LOWEST[name]} or more")
        if name in _FRACTIONS and not 0 < value < 1:
            raise InputError(f"--{name} {value} is not between 0 and 1")
