"""Does `equivar select` save labels? Errors against the number of labels, chosen by it and at random.

    python -m benchmarks.real_data.selection                     # every material, three seeds
    python -m benchmarks.real_data.selection --only SiO2-300K --seeds 0

A pool of structures has labels that are looked at only once they are chosen. Both ways begin with the same
few, drawn at random; a committee of two is trained on them; then `select` takes the next from the pool by the
committee's uncertainty and novelty, as the command does, and a new committee is trained from nothing on all
that were chosen so far. The other way takes the next of a random order. Trainings have as many steps at every
size. Errors are of the mean of the members on structures that are in no pool:

    BaTiO3-300K   every third frame by displacement from the mean positions
    SiO2-300K     every third frame of each temperature
    phonondb      the public test part, of other compositions

Labels saved: 1 - n / m, where n labels of `select` have the error that m labels at random have, by linear
interpolation of the logarithms between the sizes that were measured; none if even the most at random have a
larger error (then it is at least 1 - n / most), and negative where `select` is worse.

Results go to `results/selection.json` after every training. After an interruption the same command continues.
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from benchmarks.common.machine import describe_machine
from benchmarks.common.tables import markdown_table
from benchmarks.common.timing import RESULTS, write_result
from benchmarks.real_data.parts import FILES, data_folder
from benchmarks.real_data.states import QUARTZ_AT_300_K, change_settings
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import DataConfig, HygieneConfig
from equivar_jax.ensemble import train_committee
from equivar_jax.errors import plain_messages
from equivar_jax.io import read_structures, write_structures
from equivar_jax.prediction import Predictor, choose_structures, describe_candidates, load
from equivar_jax.reports.evaluation import evaluate_model
from equivar_jax.runtime import use_compilation_cache
from equivar_jax.teaching import find_displacements

MEMBERS = 2
WAYS = ("random", "select")


class Plan(NamedTuple):
    """How one material is measured."""

    config: str
    changes: Mapping[str, Any]
    """Settings that differ from the config."""
    steps: int
    """Of each training, for each member."""
    sizes: Mapping[str, Sequence[int]]
    """Numbers of labels by the way of choosing; both begin with the same number."""


SMALL = {
    "model.channels": 16,
    "model.interactions": 3,
    "model.radial_functions": 32,
    "train.keep": "last",
    "train.optimizer": "adamw",
}
"""A network that is trained in half a minute; smaller than what one would use."""
PLANS = {
    "BaTiO3-300K": Plan("bm3_deep", SMALL, 400, {"random": (8, 12, 17, 24, 34), "select": (8, 12, 17, 24)}),
    "SiO2-300K": Plan("bm3_deep", SMALL, 400, {"random": (8, 14, 24, 40, 64), "select": (8, 14, 24, 40)}),
    "phonondb": Plan(
        "bm3",
        {"model.channels": 32, "model.interactions": 2, "train.keep": "last"},
        2000,
        {"random": (150, 300, 450, 675, 1000), "select": (150, 300, 450)},
    ),
}
"""A fifth of the labels calibrates the committee, by default: of eight frames two, which is the least."""


class Divided(NamedTuple):
    """The structures of a material."""

    pool: list[Atoms]
    test: list[Atoms]


def divide(name: str) -> Divided:
    """Read the structures of a material and divide them into a pool and a test part."""
    if name == "phonondb":
        crystals = list(read_structures(data_folder() / "phonondb.extxyz.gz"))
        parts = ("train", "test")
        return Divided(*([one for one in crystals if one.info["split"] == part] for part in parts))
    frames = list(read_structures(data_folder() / FILES[name]))
    if name == "SiO2-300K":
        states = [range(QUARTZ_AT_300_K), range(QUARTZ_AT_300_K, len(frames))]
        tested = {k for state in states for k in state[1::3]}
    else:
        frames = frames[1:]  # the first is the ideal crystal
        _, moved = find_displacements(frames)
        tested = {*np.argsort(np.mean(moved**2, axis=(1, 2)), kind="stable")[1::3].tolist()}
    pool = [atoms for k, atoms in enumerate(frames) if k not in tested]
    return Divided(pool, [atoms for k, atoms in enumerate(frames) if k in tested])


def train(plan: Plan, structures: Sequence[Atoms], folder: Path, seed: int) -> Predictor:
    """Train a committee on structures, or go on with its training, and return it."""
    path = folder / "labelled.extxyz"
    folder.mkdir(parents=True, exist_ok=True)
    write_structures(path, structures)
    base = load_config(plan.config)
    batches = max(1, len(structures) // base.train.batch_size)
    length = {"train.epochs": -(-plan.steps // batches), "train.seed": MEMBERS * seed}
    data = DataConfig(path=str(path), hygiene=HygieneConfig(enabled=False))
    config = change_settings(dataclasses.replace(base, data=data), {**plan.changes, **length})
    interrupted = train_committee(config, MEMBERS, folder)
    if interrupted is not None:
        raise SystemExit(128 + interrupted)
    return load(folder)


def choose(model: Predictor, pool: Sequence[Atoms], left: Sequence[int], count: int) -> list[int]:
    """Choose structures of the pool as `equivar select` does.

    Args:
        model: A committee that was trained on those chosen before.
        pool: All structures.
        left: Numbers of those that may be chosen; elements that the model has never seen are passed over, as
            the command does.
        count: How many.
    """
    known = {*model.metadata.elements}
    usable = [k for k in left if known.issuperset(pool[k].numbers.tolist())]
    found = choose_structures(describe_candidates(model, [pool[k] for k in usable]), count)
    return [usable[choice.number] for choice in found]


def measure(name: str, seed: int, runs: Path, known: list[dict[str, Any]], path: Path) -> None:
    """Train and test at every size, both ways, and add a row for each to those that are known."""
    plan, (pool, test) = PLANS[name], divide(name)
    order = np.random.default_rng(seed).permutation(len(pool)).tolist()
    for way in WAYS:
        chosen: list[int] = []
        model = None
        for count in plan.sizes[way]:
            if model is None or way == "random":
                chosen = order[:count]
            else:
                left = [k for k in order if k not in {*chosen}]
                chosen = [*chosen, *choose(model, pool, left, count - len(chosen))]
            own = f"{count}" if chosen == order[:count] else f"{way}-{count}"
            folder = runs / name / f"seed-{seed}" / own
            model = train(plan, [pool[k] for k in chosen], folder, seed)
            row = {"set": name, "seed": seed, "way": way, "labels": count}
            if not any(row.items() <= one.items() for one in known):
                report = evaluate_model(model, test, allow_unseen=True)
                known.append({**row, "mae": round(float(report.overall.mae), 6)})
                write_result(path, {"machine": describe_machine(), "rows": known})
                print(known[-1], flush=True)


def labels_saved(selected: Mapping[int, float], random: Mapping[int, float], labels: int) -> float:
    """Return which share of the labels `select` saves.

    Args:
        selected: Errors by number of labels, chosen by `select`.
        random: Errors by number of labels, chosen at random.
        labels: Number of labels of `select`.

    Returns:
        1 - labels / m, where m random labels have the same error; if even the most of these have a larger
        error, m is their number, and the result a lower bound.
    """
    counts = sorted(random)
    errors = np.minimum.accumulate([random[count] for count in counts])  # more labels are no worse
    equal = np.exp(
        np.interp(-np.log(selected[labels]), -np.log(errors), np.log(np.asarray(counts, dtype=float)))
    )
    return float(1 - labels / equal)


def errors_of(rows: Sequence[Mapping[str, Any]], name: str, way: str) -> dict[int, list[float]]:
    """Return the errors of all seeds by number of labels."""
    own = [row for row in rows if (row["set"], row["way"]) == (name, way)]
    return {count: [row["mae"] for row in own if row["labels"] == count] for count in _sizes(own)}


def _sizes(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    return sorted({row["labels"] for row in rows})


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the table of errors, as means over the seeds with their spread, in Markdown."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        random, selected = (errors_of(rows, name, way) for way in WAYS)
        means = [{count: float(np.mean(own)) for count, own in way.items()} for way in (random, selected)]
        first = min(selected, default=0)  # the same structures both ways
        for count in sorted({*random, *selected}):
            words = [
                f"{np.mean(way[count]):.4f} ± {np.std(way[count]):.4f}" if count in way else ""
                for way in (random, selected)
            ]
            is_compared = count in selected and count > first
            saved = f"{labels_saved(means[1], means[0], count):.0%}" if is_compared else ""
            lines.append([name, str(count), *words, saved])
    return markdown_table(["set", "labels", "at random, e", "`select`, e", "labels saved"], lines)


def main() -> None:
    """Measure what is not measured yet, and print the table."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--only", nargs="+", choices=PLANS, default=[*PLANS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/selection"))
    parser.add_argument("--output", type=Path, default=RESULTS / "selection.json")
    options = parser.parse_args()
    known = json.loads(options.output.read_text())["rows"] if options.output.is_file() else []
    with plain_messages():
        use_compilation_cache()
        for seed in options.seeds:
            for name in options.only:
                measure(name, seed, options.runs, known, options.output)
    print(table(known))


if __name__ == "__main__":
    main()
