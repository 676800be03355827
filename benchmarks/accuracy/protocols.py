"""The protocols of the paper as lists of rows; `benchmarks.accuracy` runs them.

Every protocol is run with each of the seeds, which decide initial weights and the order of batches; the
division into training and validation is the same for all.
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
"""Training structures of the learning curve, of 179."""
VARIED: Mapping[str, Sequence[Any]] = {
    "interactions": (1, 2, 3, 4, 6, 8, 12),
    "channels": (16, 32, 64),
    "radial_functions": (8, 16, 32),
    "envelope": (False, True),
    "learning_rate": (0.001, 0.005, 0.02),
}
FRESH_TESTS = 40
"""Structures of a kind, of another seed, to test on."""


@dataclass(frozen=True)
class Request:
    """What the command line asks of a protocol."""

    configs: Mapping[str, Config]
    """By name; data, epochs and other settings are in them."""
    seeds: Sequence[int]
    structures: Sequence[int] | None
    """As given; the counts of the demonstration set are in the configs already."""
    kind_key: str | None
    splits: Path
    """Where split files go."""

    @property
    def base(self) -> tuple[str, Config]:
        """The first config, for protocols that take one."""
        return next(iter(self.configs.items()))

    def parts(self, config: Config) -> Config:
        """The config on as many structures of a file as were asked for."""
        if config.data.path is None or not self.structures:
            return config
        return data.limited(config, self.structures[0], self.splits)

    def rows(self, variant: str, config: Config, tests: Tests | None = None, **facts: Any) -> Iterator[Row]:
        """One row a seed."""
        facts = {"variant": variant, **facts}
        for seed in self.seeds:
            seeded = replace(config, train=replace(config.train, seed=seed))
            yield Row(f"{variant}, seed {seed}", seeded, facts, tests or {})


def each(request: Request) -> Iterator[Row]:
    """Every config on the same data."""
    for name, config in request.configs.items():
        yield from request.rows(name, request.parts(config))


def table1(request: Request) -> Iterator[Row]:
    """Models of one kind, and every config on all kinds; errors of each kind.

    Tests: the validation part of each kind (which chose the epoch of the best weights, as in the paper), and
    of the demonstration set fresh structures, too.
    """
    name, base = request.base
    embedded = base.data.path is None
    whole = data.division(request.parts(base))
    training, validation = (data.by_kind(part, request.kind_key, embedded) for part in whole)
    fresh = data.by_kind(data.fresh([FRESH_TESTS] * 3), request.kind_key, True) if embedded else {}
    if lacking := set(training) ^ set(validation):
        raise InputError(f"no {', '.join(sorted(lacking))} in one of the parts; give more structures")
    tests: dict[str, dict] = {}
    for kind in training:
        tests[kind] = {f"{kind}, validation": validation[kind]}
        if kind in fresh:
            tests[kind][f"{kind}, fresh"] = fresh[kind]
    for kind in training:
        parts = [data.names(part[kind]) for part in (training, validation)]
        config = data.divided(base, parts, request.splits)
        yield from request.rows(f"{name} {kind}", config, tests[kind], model=name, trained_on=kind)
    everything = {test: structures for found in tests.values() for test, structures in found.items()}
    for name, config in request.configs.items():
        parts = [data.names(part) for part in whole]
        config = data.divided(config, parts, request.splits)
        yield from request.rows(f"{name} all", config, everything, model=name, trained_on="all")


def folds(request: Request) -> Iterator[Row]:
    """Cross-validation of every config."""
    for name, config in request.configs.items():
        if config.data.path is not None and request.structures:
            raise InputError("--structures chooses a part by a split file, and so do folds; leave it out")
        crossed = replace(config.data, folds=config.data.folds or FOLDS)
        for row in request.rows(name, replace(config, data=crossed)):
            yield replace(row, cross_validated=True)


def hyperparameters(request: Request) -> Iterator[Row]:
    """One setting changed at a time."""
    _, base = request.base
    base = request.parts(base)
    yield from request.rows("base", base, setting="base", value=None)
    for setting, values in VARIED.items():
        for value in values:
            config = with_setting(base, setting, value)
            if config != base:
                yield from request.rows(f"{setting} {value}", config, setting=setting, value=value)


def cutoff(request: Request) -> Iterator[Row]:
    """3 Å with six interactions, 5 Å with three."""
    _, base = request.base
    base = request.parts(base)
    for radius, interactions in ((3.0, 6), (5.0, 3)):
        config = replace(base, model=replace(base.model, cutoff=radius, interactions=interactions))
        yield from request.rows(f"{radius:g} Å, {interactions} interactions", config)


def transfer(request: Request) -> Iterator[Row]:
    """Trained on small cells, tested on larger ones; in a file, small is up to the median of its sizes."""
    name, base = request.base
    if base.data.path is None:
        tests: dict[str, Any] = {"fresh, 1x1x1": data.fresh([0, FRESH_TESTS, 0])}
        for repeats, count in data.SUPERCELLS.items():
            tests["x".join(map(str, repeats))] = data.li3po4_supercells(repeats, count)
        yield from request.rows(name, base, tests)
        return
    whole = data.division(request.parts(base))
    sizes = [np.array([len(atoms) for atoms in part]) for part in whole]
    median = int(np.median(np.concatenate(sizes)))
    small, large = [], {}
    for part, name_of_part, counts in zip(whole, ("training", "validation"), sizes, strict=True):
        small.append(data.names(part.subset(np.flatnonzero(counts <= median))))
        if (counts > median).any():
            large[name_of_part] = part.subset(np.flatnonzero(counts > median))
    tests = {f"more than {median} atoms, {part} part": found for part, found in large.items()}
    config = data.divided(base, small, request.splits)
    yield from request.rows(name, config, tests, largest_trained_on=median)


def learning_curve(request: Request) -> Iterator[Row]:
    """Nested training parts, one validation part, as many steps for each: a small part has more epochs."""
    name, base = request.base
    whole = data.division(base)
    most, order = len(whole.training), np.random.default_rng(0).permutation(len(whole.training))
    usual = SIZES if most == SIZES[-1] else [most // 2**power for power in (4, 3, 2, 1, 0)]
    for size in request.structures or usual:
        if not 0 < size <= most:
            raise InputError(f"--structures {size}, but the training part has {most}; give 1 to {most}")
        training = data.names(whole.training.subset(np.sort(order[:size])))
        config = data.divided(base, [training, data.names(whole.validation)], request.splits)
        longer = most / size
        epochs, warmup = round(base.train.epochs * longer), base.train.warmup_epochs * longer
        config = replace(config, train=replace(config.train, epochs=epochs, warmup_epochs=warmup))
        yield from request.rows(f"{name}, {size} structures", config, training=size)


def with_setting(config: Config, setting: str, value: Any) -> Config:
    """The config with one setting of the network or of the training replaced."""
    if setting == "learning_rate":
        return replace(config, train=replace(config.train, learning_rate=value))
    return replace(config, model=replace(config.model, **{setting: value}))


class Protocol(NamedTuple):
    """How a protocol is run where nothing else is asked for."""

    rows: Callable[[Request], Iterator[Row]]
    counts: tuple[int, int, int]
    """Perovskites, Li3PO4 and ZrO2 of the demonstration set."""
    configs: tuple[str, ...] = ("bm2.py",)
    seeds: tuple[int, ...] = (0,)


PROTOCOLS = {
    "small": Protocol(each, (224, 0, 0), ("bm2.py", "bm1.py")),
    "table1": Protocol(table1, (200, 200, 200), ("bm2.py", "bm1.py")),
    "folds": Protocol(folds, (100, 100, 100)),
    "hyperparameters": Protocol(hyperparameters, (224, 0, 0)),
    "cutoff": Protocol(cutoff, (224, 0, 0)),
    "transfer": Protocol(transfer, (0, 400, 0)),
    "learning_curve": Protocol(learning_curve, (224, 0, 0)),
    "seeds": Protocol(each, (224, 0, 0), seeds=(0, 1, 2)),
    "run": Protocol(each, (224, 0, 0)),
}
"""By name; "run" is any config on any data."""
