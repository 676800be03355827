"""Every setting, once: frozen dataclasses, each field with its type, its bounds and what it means.

`files` reads the Python files that fill them, `command_line` overrides such as `--train.epochs 20`.
"""

import math
import operator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from equivar_jax.config.settings import (
    AtLeast,
    Count,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    is_of_type,
    setting_bounds,
    setting_types,
    type_name,
)
from equivar_jax.errors import InputError

Kernel = Literal["auto", "native", "chunked", "reference"]
FirstIndex = Literal["field", "displacement"]
Freeze = Literal["nothing", "elements", "interactions"]
Form = Literal["direct", "polarisation"]


@dataclass(frozen=True)
class DemonstrationConfig:
    """How many structures of each kind the embedded demonstration set has (it is not DFT data)."""

    perovskites: Natural = 224
    """Number of distorted perovskites."""
    li3po4: Natural = 0
    """Number of frames of Li3PO4."""
    zro2: Natural = 0
    """Number of frames of ZrO2."""
    seed: Natural = 0
    """Seed of the structures."""


@dataclass(frozen=True)
class HygieneConfig:
    """Which labelled structures are set aside before training (see `equivar_jax.hygiene`)."""

    enabled: bool = True
    """False takes every readable label as it is."""
    sum_rule: Positive = 0.1
    """Largest excess charge |sum_i Z_i - Q 1| over the root of the number of atoms, in e."""
    largest_component: Positive = 15.0
    """Largest |Z| of a component in e; known materials reach 12.5 (W in cubic WO3)."""
    symmetry: Positive = 0.1
    """Largest deviation from the crystal's symmetry, over the root-mean-square diagonal of the tensors."""
    symprec: Positive = 1e-3
    """How far in Å an atom may be from its symmetric place."""
    duplicate_distance: Positive = 1e-3
    """Crystals whose neighbour distances all differ by less, in Å, are the same."""
    near_duplicate_distance: Positive = 5e-3
    """Those that differ by less than this, in Å, are nearly the same (never in training and validation)."""
    label_difference: Positive = 0.1
    """Labels of one crystal that differ by more than this, in e, contradict each other."""
    transposition: Positive = 0.5
    """Disagreement of the antisymmetric part, 0 to 1, from which a structure is a clear case."""
    rare_element: Natural = 5
    """Elements that occur in fewer structures than this are reported."""
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
    """What the first index of a stored tensor is, where a format leaves it open; None: by the format."""
    validation_path: str | None = None
    """File, folder or glob to validate on; None sets aside a part of `path`."""
    split: Literal["random", "composition", "block"] = "random"
    """How `path` is divided: frame by frame, by reduced formula, or the end of each trajectory."""
    split_path: str | None = None
    """A `split.json` of an earlier run, or a file of that form, to divide in the same way again."""
    validation_fraction: Fraction = 0.2
    """Share of the structures that is validated on."""
    folds: Annotated[int, AtLeast(2)] | None = None
    """Divide into this many parts for cross-validation, and validate on part number `fold`."""
    fold: Natural = 0
    """Number of the part to validate on, from 0."""
    split_seed: Natural = 0
    """Seed of the division."""
    group_key: str | None = None
    """Key of `atoms.info` whose equal values stay on one side of the split (with "block": a trajectory)."""
    hygiene: HygieneConfig = field(default_factory=HygieneConfig)
    demonstration: DemonstrationConfig = field(default_factory=DemonstrationConfig)


@dataclass(frozen=True)
class ModelConfig:
    """The network (Kutana et al., Sci. Rep. 15, 2025), BM1 by default."""

    cutoff: Positive = 3.0
    """Radius of the neighbourhood in Å."""
    radial_functions: Annotated[int, AtLeast(2)] = 32
    """Gaussians with centres evenly spaced from 0 to the cutoff."""
    envelope: bool = False
    """Multiply edges by 0.5 (1 + cos(pi r / cutoff)), so that the tensors are continuous in positions."""
    species: Annotated[int, AtLeast(2)] = 100
    """Rows of the embedding table, indexed by atomic number (row 0 is padding)."""
    embedding: Count = 32
    """Length of the vector that stands for an element."""
    channels: Count = 64
    """Multiplicity f of the hidden irreps f x (0e + 1o + 1e + 2e)."""
    interactions: Count = 6
    """Layers of message passing."""
    mean_neighbours: Positive | None = None
    """Mean neighbour count, by whose root messages are divided; None: that of the training part."""
    form: Form = "direct"
    """What the network computes: the tensors themselves ("direct"), or a polarisation whose derivatives with
    respect to the positions they are ("polarisation"), which `Predictor.polarisation` gives as well if it is
    continuous (with `envelope`)."""
    kernel: Kernel = "auto"
    """Implementation of the neighbour sum; all give the same numbers (see `equivar_jax.kernels`)."""
    edge_hidden: Natural = 0
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
    """A scale and a charge of each element on the tensors, the charge starting at the training mean; a
    polarisation always has them, and this setting changes nothing there."""
    dielectric: bool = False
    """A second readout, of the electronic dielectric tensor, learned from `info["epsilon_inf"]`."""


@dataclass(frozen=True)
class TrainConfig:
    """Optimisation: L1 on the nine components, from fresh weights or from those of `start_from`."""

    epochs: Count = 500
    """Passes over the training part."""
    batch_size: Count = 8
    """Structures in a batch of average size."""
    learning_rate: Positive = 0.005
    """Highest rate, after the warm-up."""
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    """How the rate falls after the warm-up."""
    final_learning_rate: Positive = 5e-5
    """Where the cosine or exponential schedule ends."""
    warmup_epochs: NonNegative = 1.0
    """Epochs in which the rate rises linearly to its highest value."""
    weight_decay: NonNegative = 0.01
    """Decoupled decay: a step takes this times the rate from every weight that is trained."""
    gradient_clip: Positive | None = 10.0
    """Largest global norm of the gradient; None leaves it as it is."""
    ema_decay: Fraction | None = None
    """Decay per step of an exponential moving average of the weights, which is then validated and kept."""
    position_noise: NonNegative = 0.0
    """Standard deviation in Å, by coordinate, of displacements drawn anew for every batch that is trained on;
    labels stay. It makes the tensors smoother functions of the positions."""
    seed: Natural = 0
    """Seed of the initial weights, of the order of batches and of `position_noise`."""
    checkpoint_minutes: NonNegative = 0.5
    """How often best and last states go to disk; they always do when the run ends or is interrupted."""
    dielectric_weight: Positive = 0.3
    """Weight of the relative error of the dielectric tensor in the loss, in e (with `model.dielectric`)."""
    start_from: str | None = None
    """Fine-tuning: run or checkpoint folder with the weights to start from, and with them the network;
    "shipped" are those inside the package."""
    freeze: Freeze = "nothing"
    """What stays as it starts: "elements", the tables of elements inside the network and what reads them
    first; or "interactions", everything but the readout."""
    keep: Literal["best", "last"] = "best"
    """Weights that the best checkpoint holds: of the lowest validation MAE, or of the last epoch."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """AdamW, as published; or Muon, whose steps are equally large in all directions of a weight matrix, with
    AdamW for tables of elements, biases and readouts."""


@dataclass(frozen=True)
class Config:
    """One run: data, network and optimisation."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def check_config(config: Config) -> None:
    """Refuse settings of the wrong type, values outside the bounds of their fields, and those that clash.

    Raises:
        InputError: names the setting, its value and what is allowed.
    """
    bounds = setting_bounds(type(config))
    for name, hint in setting_types(type(config)).items():
        value = operator.attrgetter(name)(config)
        if not is_of_type(value, hint):
            raise InputError(f"--{name} is {value!r}, expected {type_name(hint)}")
        if value is None:
            continue
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"--{name} {value} is not finite; give a number")
        if name in bounds and (fault := bounds[name].fault(value)):
            raise InputError(f"--{name} {value} {fault}")
    check_form(config.model)


def check_form(model: ModelConfig) -> None:
    """Refuse settings that the form of the network has no place for.

    Raises:
        InputError: names the setting.
    """
    if model.form == "polarisation" and model.dielectric:
        raise InputError(
            "--model.dielectric True: a polarisation has no readout of the electronic dielectric tensor; "
            "leave it out, or take --model.form direct"
        )
