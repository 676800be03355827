"""Starting points of a run: fresh weights, those of another run (fine-tuning), or its own last state."""

import dataclasses
import operator
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from flax import serialization

from equivar_jax.config.schema import Config, ModelConfig, TrainConfig, check_form
from equivar_jax.config.settings import setting_types
from equivar_jax.datasets.load import Dataset
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Batch
from equivar_jax.network.forms import make_network
from equivar_jax.network.initial_weights import (
    scale_to_unit_variance,
    start_from_labels,
    start_polarisation,
)
from equivar_jax.network.periodic_table import period_and_group
from equivar_jax.network.polarisation import Polarisation
from equivar_jax.training.steps import TrainState, draw_weights, weight_shapes
from equivar_jax.weights.checkpoint import Metadata, check_parameters, read_checkpoint
from equivar_jax.weights.stacking import member_of

OWN_SETTINGS = ("kernel", "dielectric")
"""Settings of the network that a fine-tuning chooses itself, whatever weights it starts from."""
_EXPECTED = ("train.epochs", "train.checkpoint_minutes")
"""Settings that a resumed run is expected to change."""
_CONSEQUENCES = {
    "train.batch_size": ", so that an interrupted epoch ends with other batches, and another rate",
    "train.seed": ", so that an interrupted epoch ends with other batches",
}
_ROWS_OF_RELATIVES = ("embedding", "self_factors", "element_dipole")
_ROWS_OF_LABELS = ("element_shift", "element_scale", "element_charge")


class StartingPoint(NamedTuple):
    """Weights of another run."""

    location: str
    """Place of the weights, as `train.start_from` names it."""
    params: dict
    metadata: Metadata

    @property
    def network(self) -> ModelConfig:
        """Settings of the network that the weights belong to."""
        return self.metadata.config.model

    def new_elements(self, dataset: Dataset) -> tuple[int, ...]:
        """List the atomic numbers of the training part that the weights were not trained on, rising."""
        return tuple(sorted({*dataset.elements} - {*self.metadata.elements}))

    def remarks(self, dataset: Dataset, config: Config) -> tuple[str, ...]:
        """Tell what the user should know of these weights and the data."""
        structures = self.metadata.statistics.get("structures", 0)
        trained = f"{structures:,} structures, {len(self.metadata.elements)} elements"
        found = [f"starts from the weights in {self.location} ({trained})"]
        if new := self.new_elements(dataset):
            symbols = " ".join(chemical_symbols[number] for number in new)
            stay = ", and stay so (--train.freeze)" if config.train.freeze != "nothing" else ""
            found.append(
                f"the weights have never seen {symbols}: their rows of the tables start as the mean of their "
                f"known relatives{stay}"
            )
        if self.network.dielectric != config.model.dielectric:
            what = (
                "starts anew" if config.model.dielectric else "is left out (--model.dielectric True keeps it)"
            )
            found.append(f"the readout of the electronic dielectric tensor {what}")
        return tuple(found)


def read_starting_point(train: TrainConfig) -> StartingPoint | None:
    """Read the weights that `train.start_from` names, if any; of a committee the member `seed % members`.

    Raises:
        InputError: no readable checkpoint there.
    """
    if train.start_from is None:
        return None
    try:
        state, metadata = read_checkpoint(train.start_from)
    except InputError as error:
        raise InputError(f"--train.start_from {error}") from None
    params = state["params"] if state.get("ema") is None else state["ema"]
    if metadata.members > 1:
        params = member_of(params, train.seed % metadata.members)
    return StartingPoint(train.start_from, jax.tree.map(jnp.asarray, params), metadata)


def use_stored_network(
    config: Config, network: ModelConfig, location: str, named: Collection[str] = ()
) -> Config:
    """Replace `config.model` by the network that stored weights belong to; `OWN_SETTINGS` remain.

    Args:
        config: Of the new run.
        network: Of the weights.
        location: Of the weights, for the message.
        named: Settings such as "model.channels" that the user has set, even if to their defaults.

    Raises:
        InputError: a setting of the network was set, here or in the config file, to another value, or the
            weights are of a form that has no place for one of `OWN_SETTINGS`.
    """
    default = ModelConfig()
    for name in (field.name for field in dataclasses.fields(ModelConfig) if field.name not in OWN_SETTINGS):
        ours, theirs = getattr(config.model, name), getattr(network, name)
        chosen = f"model.{name}" in named or ours != getattr(default, name)
        if chosen and ours != theirs:
            raise InputError(
                f"--model.{name} is {ours}, but the network of the weights in {location} has {theirs}; leave "
                "it out (also of the config file), or train anew without --train.start_from"
            )
    own = {name: getattr(config.model, name) for name in OWN_SETTINGS}
    model = dataclasses.replace(network, **own)
    check_form(model)
    return dataclasses.replace(config, model=model)


def use_network_of_start(config: Config, named: Collection[str] = ()) -> Config:
    """Apply `use_stored_network` with the weights that `train.start_from` names, if it names any."""
    start = read_starting_point(config.train)
    return config if start is None else use_stored_network(config, start.network, start.location, named)


def make_first_weights(config: Config, dataset: Dataset, typical: Batch, start: StartingPoint | None) -> dict:
    """Make the weights before the first step.

    Args:
        config: With the network of `start`.
        dataset: Its training part sets the tables of elements that are new to the weights.
        typical: A batch of the training part.
        start: Weights to start from, or None for fresh ones, with unit variance on `typical`.

    Raises:
        InputError: the stored weights are not those of the network of their config.
    """
    if start is None:
        params = draw_weights(config.model, config.train.seed)
        network = make_network(config.model)
        params = scale_to_unit_variance(network, params, typical.graph)
        if isinstance(network, Polarisation):
            return start_polarisation(network, params, dataset.training, typical)
        return start_from_labels(params, dataset.training) if config.model.element_shift else params
    params = start.params
    if config.model.dielectric != start.network.dielectric:
        other = params if start.network.dielectric else draw_weights(config.model, config.train.seed)
        second = {name: leaf for name, leaf in other["params"].items() if name.startswith("dielectric_")}
        rest = {name: leaf for name, leaf in params["params"].items() if name not in second}
        params = {"params": rest | (second if config.model.dielectric else {})}
    check_parameters(params, weight_shapes(config.model), start.location)
    return _add_rows(start.new_elements(dataset), params, start.metadata.elements, dataset)


def _add_rows(new: tuple[int, ...], params: dict, known: tuple[int, ...], dataset: Dataset) -> dict:
    """Give the tables of the weights rows for new elements.

    Those inside the network become the mean of the known elements of their group, or of all where there are
    none (weight decay has shrunk what was drawn for them); those of the readout come from the labels.
    """
    if not new:
        return params
    labelled = start_from_labels(params, dataset.training)["params"]
    relatives = [_find_relatives(number, known) for number in new]

    def with_rows(path: jax.tree_util.KeyPath, table: jax.Array) -> jax.Array:
        name = path[-1].key
        if name in _ROWS_OF_RELATIVES:
            return table.at[np.array(new)].set(jnp.stack([table[rows].mean(axis=0) for rows in relatives]))
        if name in _ROWS_OF_LABELS:
            return table.at[np.array(new)].set(labelled[name][np.array(new)])
        return table

    return jax.tree.map_with_path(with_rows, params)


def _find_relatives(number: int, known: tuple[int, ...]) -> np.ndarray:
    """Find the known elements of the group of an element; where there are none, all known elements."""
    group = period_and_group(number)[1]
    return np.array([other for other in known if period_and_group(other)[1] == group] or known)


def describe_new_run(config: Config, dataset: Dataset, start: StartingPoint | None) -> Metadata:
    """Describe a new run for its checkpoints; the elements are all that the weights were ever trained on."""
    before = () if start is None else start.metadata.elements
    return Metadata(config, tuple(sorted({*dataset.elements, *before})), dataset.statistics)


def compare_settings(began: Config, goes_on: Config, folder: Path) -> tuple[str, ...]:
    """Tell which settings a resumed run changes, and refuse another network.

    Args:
        began: Config of the checkpoint.
        goes_on: With which the run goes on.
        folder: The run, for messages.

    Returns:
        A sentence for each setting that the run goes on with, although it began with another value.

    Raises:
        InputError: a setting of the network is another one; only its kernel may be.
    """
    changes = []
    for name in setting_types(Config):
        before, after = (operator.attrgetter(name)(config) for config in (began, goes_on))
        measured = name == "model.mean_neighbours" and None in (before, after)
        if before == after or measured or name in _EXPECTED:
            continue
        if name.startswith("model.") and name != "model.kernel":
            raise InputError(
                f"{folder}: began with --{name} {before}, not {after}, which is another network; leave it "
                "out, or start a new run"
            )
        changes.append(f"goes on with --{name} {after}; it began with {before}{_CONSEQUENCES.get(name, '')}")
    return tuple(changes)


def restore_last_state(
    empty: TrainState,
    saved: dict[str, Any],
    progress: Metadata,
    config: Config,
    dataset: Dataset,
    folder: Path,
) -> TrainState:
    """Restore the state that a run has saved.

    Args:
        empty: State of the same form.
        saved: Arrays of the checkpoint.
        progress: Metadata of the checkpoint.
        config: With which the run goes on.
        dataset: With which the run goes on.
        folder: The run, for messages.

    Raises:
        InputError: they do not belong together.
    """
    check_parameters(saved["params"], empty.params, str(folder))
    elements = {*progress.elements}
    same_elements = elements == {*dataset.elements}
    if config.train.start_from is not None:
        same_elements = elements >= {*dataset.elements}
    if not same_elements or progress.statistics != dataset.statistics:
        raise InputError(f"{folder}: was trained on other data or another split; start a new run")
    if (saved["ema"] is None) != (empty.ema is None):
        raise InputError(
            f"{folder}: a run begins and ends with --train.ema_decay or without; start a new run"
        )
    for name in ("start_from", "freeze", "optimizer"):
        began, goes_on = (getattr(each.train, name) for each in (progress.config, config))
        if began != goes_on:
            raise InputError(f"{folder}: began with --train.{name} {began}, not {goes_on}; start a new run")
    return serialization.from_state_dict(empty, jax.tree.map(jnp.asarray, saved))
