"""The protocols of the paper as lists of rows, which `benchmarks.accuracy` runs.

Every protocol is run with each of the seeds, which decide initial weights and the order of batches. All seeds
have the same division into training and validation.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.accuracy import data as data
from benchmarks.accuracy.rows import Row, Tests
from equivar_jax.config.schema import Config
from equivar_jax.errors import InputError

FOLDS = 5
SIZES = (14, 28, 56, 112, 179)
"""Numbers of training structures in the learning curve; the whole training part has 179."""
VARIED: Mapping[str, Sequence[Any]] = {
    "interactions": (1, 2, 3, 4, 6, 8, 12),
    "channels": (16, 32, 64),
    "radial_functions": (8, 16, 32),
    "envelope": (False, True),
    "learning_rate": (0.001, 0.005, 0.02),
}
FRESH_TESTS = 40
"""Number of test structures of each kind, made with another seed."""


@dataclass(frozen=True)
class Request:
    """What the command line asks of a protocol.

    Its methods return configs and rows that follow from it.
    """

    configs: Mapping[str, Config]
    """Configs by name, with the data, epochs and other settings of the command line."""
    seeds: Sequence[int]
    """Seeds to run every config with."""
    structures: Sequence[int] | None
    """`--structures` as given; the counts of the demonstration set are in the configs already."""
    kind_key: str | None
    """Key of the frames' info that names their kind."""
    splits: Path
    """Folder for split files."""

    @property
    def base(self) -> tuple[str, Config]:
        """Name and settings of the first config, for protocols that take only one."""
        return next(iter(self.configs.items()))

    def limit(self, config: Config) -> Config:
        """Return the config with as many structures of its file as were asked for."""
        if config.data.path is None or not self.structures:
            return config
        return data.limit_data(config, self.structures[0], self.splits)

    def seed_rows(
        self, variant: str, config: Config, tests: Tests | None = None, **facts: Any
    ) -> Iterator[Row]:
        """Yield one row for each seed.

        Args:
            variant: The label without the seed.
            config: The settings.
            tests: Structures by name to test on.
            **facts: More facts for the tables.
        """
        facts = {"variant": variant, **facts}
        for seed in self.seeds:
            seeded = replace(config, train=replace(config.train, seed=seed))
            yield Row(f"{variant}, seed {seed}", seeded, facts, tests or {})


def config_rows(request: Request) -> Iterator[Row]:
    """Yield rows of every config on the same data."""
    for name, config in request.configs.items():
        yield from request.seed_rows(name, request.limit(config))


def table1_rows(request: Request) -> Iterator[Row]:
    """Yield rows of the first config on each kind alone, and of every config on all kinds.

    They are tested on the validation part of each kind (which chose the epoch of the best weights, as in the
    paper) and, for the demonstration set, on fresh structures of each kind.
    """
    name, base = request.base
    embedded = base.data.path is None
    whole = data.load_division(request.limit(base))
    training, validation = (data.group_by_kind(part, request.kind_key, embedded) for part in whole)
    fresh = data.group_by_kind(data.make_fresh([FRESH_TESTS] * 3), request.kind_key, True) if embedded else {}
    if lacking := set(training) ^ set(validation):
        raise InputError(f"no {', '.join(sorted(lacking))} in one of the parts; give more structures")
    tests: dict[str, dict] = {}
    for kind in training:
        tests[kind] = {f"{kind}, validation": validation[kind]}
        if kind in fresh:
            tests[kind][f"{kind}, fresh"] = fresh[kind]
    for kind in training:
        parts = [data.list_sources(part[kind]) for part in (training, validation)]
        config = data.with_split_file(base, parts, request.splits)
        yield from request.seed_rows(f"{name} {kind}", config, tests[kind], model=name, trained_on=kind)
    everything = {test: structures for found in tests.values() for test, structures in found.items()}
    for name, config in request.configs.items():
        parts = [data.list_sources(part) for part in whole]
        config = data.with_split_file(config, parts, request.splits)
        yield from request.seed_rows(f"{name} all", config, everything, model=name, trained_on="all")


def fold_rows(request: Request) -> Iterator[Row]:
    """Yield cross-validated rows of every config."""
    for name, config in request.configs.items():
        if config.data.path is not None and request.structures:
            raise InputError(
                "folds divide the whole file, so --structures cannot choose a part; leave it out"
            )
        crossed = replace(config.data, folds=config.data.folds or FOLDS)
        for row in request.seed_rows(name, replace(config, data=crossed)):
            yield replace(row, cross_validated=True)


def hyperparameter_rows(request: Request) -> Iterator[Row]:
    """Yield rows of the first config with one setting changed at a time."""
    _, base = request.base
    base = request.limit(base)
    yield from request.seed_rows("base", base, setting="base", value=None)
    for setting, values in VARIED.items():
        for value in values:
            config = with_setting(base, setting, value)
            if config != base:
                yield from request.seed_rows(f"{setting} {value}", config, setting=setting, value=value)


def cutoff_rows(request: Request) -> Iterator[Row]:
    """Yield rows of the first config with 3 Å and six interactions, and with 5 Å and three."""
    _, base = request.base
    base = request.limit(base)
    for radius, interactions in ((3.0, 6), (5.0, 3)):
        config = replace(base, model=replace(base.model, cutoff=radius, interactions=interactions))
        yield from request.seed_rows(f"{radius:g} Å, {interactions} interactions", config)


def transfer_rows(request: Request) -> Iterator[Row]:
    """Yield rows that are trained on small cells and tested on larger ones.

    In a file, cells of up to the median number of atoms are small.
    """
    name, base = request.base
    if base.data.path is None:
        tests: dict[str, Any] = {"fresh, 1x1x1": data.make_fresh([0, FRESH_TESTS, 0])}
        for repeats, count in data.SUPERCELLS.items():
            tests["x".join(map(str, repeats))] = data.make_supercells(repeats, count)
        yield from request.seed_rows(name, base, tests)
        return
    whole = data.load_division(request.limit(base))
    sizes = [np.array([len(atoms) for atoms in part]) for part in whole]
    median = int(np.median(np.concatenate(sizes)))
    small, large = [], {}
    for part, name_of_part, counts in zip(whole, ("training", "validation"), sizes, strict=True):
        small.append(data.list_sources(part.subset(np.flatnonzero(counts <= median))))
        if (counts > median).any():
            large[name_of_part] = part.subset(np.flatnonzero(counts > median))
    tests = {f"more than {median} atoms, {part} part": found for part, found in large.items()}
    config = data.with_split_file(base, small, request.splits)
    yield from request.seed_rows(name, config, tests, largest_trained_on=median)


def learning_curve_rows(request: Request) -> Iterator[Row]:
    """Yield rows with nested training parts of growing size and one validation part.

    All take the same number of optimisation steps, so smaller parts have more epochs.
    """
    name, base = request.base
    whole = data.load_division(base)
    most, order = len(whole.training), np.random.default_rng(0).permutation(len(whole.training))
    usual = SIZES if most == SIZES[-1] else [most // 2**power for power in (4, 3, 2, 1, 0)]
    for size in request.structures or usual:
        if not 0 < size <= most:
            raise InputError(f"--structures {size}, but the training part has {most}; give 1 to {most}")
        training = data.list_sources(whole.training.subset(np.sort(order[:size])))
        config = data.with_split_file(base, [training, data.list_sources(whole.validation)], request.splits)
        longer = most / size
        epochs, warmup = round(base.train.epochs * longer), base.train.warmup_epochs * longer
        config = replace(config, train=replace(config.train, epochs=epochs, warmup_epochs=warmup))
        yield from request.seed_rows(f"{name}, {size} structures", config, training=size)


def with_setting(config: Config, setting: str, value: Any) -> Config:
    """Return the config with one setting of the network or of the training replaced."""
    if setting == "learning_rate":
        return replace(config, train=replace(config.train, learning_rate=value))
    return replace(config, model=replace(config.model, **{setting: value}))


class Protocol(NamedTuple):
    """How a protocol is run if the command line does not say otherwise."""

    rows: Callable[[Request], Iterator[Row]]
    """Makes the rows."""
    counts: tuple[int, int, int]
    """Perovskites, Li3PO4 and ZrO2 of the demonstration set."""
    configs: tuple[str, ...] = ("bm2.py",)
    seeds: tuple[int, ...] = (0,)


PROTOCOLS = {
    "small": Protocol(config_rows, (224, 0, 0), ("bm2.py", "bm1.py")),
    "table1": Protocol(table1_rows, (200, 200, 200), ("bm2.py", "bm1.py")),
    "folds": Protocol(fold_rows, (100, 100, 100)),
    "hyperparameters": Protocol(hyperparameter_rows, (224, 0, 0)),
    "cutoff": Protocol(cutoff_rows, (224, 0, 0)),
    "transfer": Protocol(transfer_rows, (0, 400, 0)),
    "learning_curve": Protocol(learning_curve_rows, (224, 0, 0)),
    "seeds": Protocol(config_rows, (224, 0, 0), seeds=(0, 1, 2)),
    "run": Protocol(config_rows, (224, 0, 0)),
}
"""The protocols by name; "run" takes any config on any data."""
