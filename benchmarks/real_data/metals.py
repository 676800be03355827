"""Learn which compositions are metallic, and measure how often that is wrong.

    python -m benchmarks.real_data.metals mp_is_metal.csv --experiment expt_is_metal.csv

The files have lines "formula,1" for a metal and "formula,0": those of matbench (Dunn et al. 2020) with gaps
of the Materials Project and of experiments (Zhuo, Mansouri Tehrani and Brgoch, J. Phys. Chem. Lett. 9, 1668
(2018)), as CrabNet's repository has them in `data/matbench`. Insulators are also those of phonondb and
phonon-dfpt, from the folder that EQUIVAR_DATA names.

Trained on are the Materials Project's compositions and the training part of the insulators; tested, without
any composition that was trained on, on the experiments, on a share of the Materials Project, and on the
insulators of the test parts.
"""

import argparse
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ase.data import atomic_numbers
from ase.formula import Formula

from benchmarks.common.timing import RESULTS, write_result
from benchmarks.real_data.ship import parts_of
from benchmarks.real_data.union import PHONON_DFPT, PHONONDB
from equivar_jax.io import read_structures
from equivar_jax.uncertainty.metals import LIKELY, metal_logit

Unit = tuple[tuple[int, int], ...]
"""A formula unit: atomic numbers, rising, with counts that have no common divisor."""

LARGEST = 8
"""Elements of a composition; formulas with more are left out."""
WIDTH, HIDDEN, SPECIES = 24, 48, 119
BATCH, STEPS, RATE, DECAY = 512, 8000, 4e-3, 1e-2
HELD_OUT = 4000
"""Compositions of the Materials Project that are not trained on."""
WEIGHTS = Path(__file__).parents[2] / "equivar_jax" / "uncertainty" / "metals.npz"


class Compositions(NamedTuple):
    """Inputs of the network, padded to `LARGEST` elements."""

    numbers: np.ndarray
    fractions: np.ndarray
    odd: np.ndarray

    @classmethod
    def of(cls, units: Sequence[Unit]) -> "Compositions":
        """Collect formula units."""
        numbers, counts = np.zeros((2, len(units), LARGEST), np.int64)
        for row, unit in enumerate(units):
            numbers[row, : len(unit)], counts[row, : len(unit)] = zip(*unit, strict=True)
        odd = (numbers * counts).sum(1) % 2
        return cls(
            numbers, (counts / counts.sum(1, keepdims=True)).astype(np.float32), odd.astype(np.float32)
        )


def read_labels(path: Path) -> dict[Unit, float]:
    """Read formulas with labels.

    Returns:
        The mean label of each formula unit: polymorphs of a composition can differ. Formulas that are no
        whole numbers of atoms up to 20 formula units, or have more than `LARGEST` elements, are left out.
    """
    found = defaultdict(list)
    for line in path.read_text().splitlines()[1:]:
        formula, label = line.rsplit(",", 1)
        unit = parse_formula(formula)
        if unit is not None:
            found[unit].append(float(label))
    return {unit: float(np.mean(labels)) for unit, labels in found.items()}


def parse_formula(text: str) -> Unit | None:
    """Return the formula unit of "Ag(AuS)2" or "Ge0.5Pb0.5Te", or None if it cannot be told."""
    parts = re.findall(r"([A-Z][a-z]?)(\d*\.?\d*)", text)
    if "".join(symbol + count for symbol, count in parts) == text and "." in text:
        counts: dict[str, float] = defaultdict(float)
        for symbol, count in parts:
            counts[symbol] += float(count or 1)
    else:
        try:
            counts = {symbol: float(count) for symbol, count in Formula(text).count().items()}
        except ValueError:
            return None
    if len(counts) > LARGEST or not counts.keys() <= atomic_numbers.keys():
        return None
    amounts = np.array([*counts.values()])
    for units in range(1, 21):
        whole = np.round(units * amounts)
        if np.abs(units * amounts - whole).max() < 1e-3 and whole.min() > 0:
            return make_unit([atomic_numbers[symbol] for symbol in counts], whole.astype(int))
    return None


def make_unit(numbers: Iterable[int], counts: np.ndarray) -> Unit:
    """Return the formula unit of atomic numbers with their counts."""
    reduced = (counts // np.gcd.reduce(counts)).tolist()
    return tuple(sorted(zip(numbers, reduced, strict=True)))


def insulators_of(path: Path) -> set[Unit]:
    """Return the formula units of a file of structures."""
    counted = (np.unique(atoms.numbers, return_counts=True) for atoms in read_structures(path))
    return {make_unit(numbers.tolist(), counts) for numbers, counts in counted}


def first_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw weights, by the name that they have in `metals.npz`."""

    def draw(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)

    zeros = np.zeros(HIDDEN, np.float32)
    return {
        "elements": rng.normal(0, 0.5, (SPECIES, WIDTH)).astype(np.float32),
        "own": draw(WIDTH, HIDDEN),
        "others": draw(WIDTH, HIDDEN),
        "share": draw(1, HIDDEN)[0],
        "bias": zeros,
        "mix": draw(HIDDEN, HIDDEN),
        "odd": draw(1, HIDDEN)[0],
        "mix_bias": zeros,
        "out": draw(HIDDEN, 1)[:, 0],
        "out_bias": np.zeros((), np.float32),
    }


def train(inputs: Compositions, labels: np.ndarray, steps: int, rng: np.random.Generator) -> dict[str, Any]:
    """Make the cross entropy small; labels may be means."""
    optimizer = optax.adamw(optax.cosine_decay_schedule(RATE, steps), weight_decay=DECAY)

    def loss(weights: Any, batch: Compositions, labels: jax.Array) -> jax.Array:
        logits = metal_logit(weights, *batch, xp=jnp)
        return optax.sigmoid_binary_cross_entropy(logits, labels).mean()

    @jax.jit
    def step(weights: Any, state: Any, batch: Compositions, labels: jax.Array) -> Any:
        updates, state = optimizer.update(jax.grad(loss)(weights, batch, labels), state, weights)
        return optax.apply_updates(weights, updates), state

    weights: Any = first_weights(rng)
    state = optimizer.init(weights)
    for _ in range(steps):
        rows = rng.integers(len(labels), size=BATCH)
        batch = Compositions(*(part[rows] for part in inputs))
        weights, state = step(weights, state, batch, labels[rows])
    return jax.tree.map(np.asarray, weights)


def measure(weights: dict[str, Any], labels: dict[Unit, float]) -> dict[str, Any]:
    """Count, among metals and insulators, those that are said to be likely metals."""
    units = [unit for unit, label in labels.items() if label in (0.0, 1.0)]
    is_metal = np.array([labels[unit] == 1.0 for unit in units])
    said = metal_logit(weights, *Compositions.of(units)) > np.log(LIKELY / (1 - LIKELY))
    return {
        "metals": int(is_metal.sum()),
        "metals_found": float(said[is_metal].mean()) if is_metal.any() else None,
        "insulators": int((~is_metal).sum()),
        "insulators_called_metals": float(said[~is_metal].mean()),
    }


class Parts(NamedTuple):
    """Labels by formula unit; no unit of a test is trained on."""

    training: dict[Unit, float]
    tests: dict[str, dict[Unit, float]]


def divide(calculated: Path, experiment: Path, union: Path, rng: np.random.Generator) -> Parts:
    """Read everything and divide it.

    Args:
        calculated: File of the Materials Project.
        experiment: File of experiments.
        union: Folder of the parts of phonondb and phonon-dfpt.
        rng: Chooses what is held out of the Materials Project.
    """
    files = parts_of(union)
    tests = {name: dict.fromkeys(insulators_of(files[name]), 0.0) for name in (PHONONDB, PHONON_DFPT)}
    tests["experiment"] = read_labels(experiment)
    insulators = {unit for part in ("training", "validation") for unit in insulators_of(files[part])}
    never = set().union(*tests.values())
    labels = {unit: label for unit, label in read_labels(calculated).items() if unit not in never}
    order = sorted(labels.keys() - insulators)
    held_out = [order[k] for k in rng.permutation(len(order))[:HELD_OUT]]
    tests["Materials Project"] = {unit: labels.pop(unit) for unit in held_out}
    return Parts(labels | dict.fromkeys(insulators - never, 0.0), tests)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, test, and write the weights and what was measured."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("calculated", type=Path, help="formulas with labels of the Materials Project")
    parser.add_argument("--experiment", type=Path, required=True, help="formulas with labels of experiments")
    parser.add_argument(
        "--union", type=Path, default=Path("runs/union"), help="of benchmarks.real_data.union"
    )
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--output", type=Path, default=RESULTS / "metals.json")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(0)
    parts = divide(options.calculated, options.experiment, options.union, rng)
    units = sorted(parts.training)
    labels = np.array([parts.training[unit] for unit in units], np.float32)
    trained = train(Compositions.of(units), labels, options.steps, rng)
    stored = {name: value.astype(np.float16) for name, value in trained.items()}
    np.savez_compressed(options.weights, **stored)
    kept = {name: value.astype(np.float64) for name, value in stored.items()}
    results = {name: measure(kept, labels) for name, labels in parts.tests.items()}
    for name, row in results.items():
        share = row["metals_found"]
        found = "" if share is None else f"{100 * share:.1f} % of {row['metals']:,} metals"
        wrong = f"{100 * row['insulators_called_metals']:.1f} % of {row['insulators']:,} insulators"
        print(f"{name:18s} {found:26s} {wrong}")
    write_result(options.output, {"threshold": LIKELY, "trained_on": len(units), "tests": results})


if __name__ == "__main__":
    main()
