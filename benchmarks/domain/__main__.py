"""How many large errors are warned of, on a state that a network was not trained on.

    python -m benchmarks.domain                            # needs EQUIVAR_DATA; trains what is missing
    python -m benchmarks.domain --only SiO2-300K --members 4 --epochs 60 --runs runs/longer

Networks of `bm3_deep.py` and, in the form of a polarisation, of `bm4.py` are trained on quartz at 300 K and
on the calmer half of the frames of BaTiO3, by `equivar train --members`, and tested on quartz at 600 K and on
the wilder half. What is counted:

- The error of an atom is the root of the mean square over its nine components; the 1 % of the atoms of the
  other state with the largest are the worst.
- There is a warning if the distance of the last features, or the sigma of a calibrated committee, is more
  than `domain.FAR` times what 99 % of held-out atoms have.
- An atom is announced if it has a warning, or if sigma covers its error: if that is within two sigma, of
  which the root of the mean square is taken as well. Of the worst atoms 80 % shall be announced.
- A false alarm is a warning for an atom that is not among the worst; at most 5 % of these shall have one.
  That sigma covers is no alarm. It would be no merit either if sigma were too large, so the shares of the
  errors of all components within one and two sigma stand beside it.

Nothing is fitted on the other state. Definitions of the distance (`definitions.py`) are compared for single
networks; the one of the package was chosen on quartz, and so was `domain.FAR`: BaTiO3 tests both. The formula
of sigma, with its growth and its factors of elements, was chosen on BaTiO3 with direct networks, and the
largest growth (`fits.GROWTHS`) by the false alarms on quartz; only the form of a polarisation tests them.

Finished runs in `RUNS/MATERIAL/member-*`, of a polarisation `RUNS/MATERIAL-polarisation/member-*`, are taken
as they are, so other networks can be measured. The numbers go to `results/domain.json`; rows that are not
measured stay there.
"""

import argparse
import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common.timing import RESULTS, write_result
from benchmarks.domain.definitions import DEFINITIONS, in_units
from benchmarks.domain.scores import (
    atom_errors,
    mean_of,
    score_best,
    score_distances,
    score_warnings,
    worst_of,
)
from benchmarks.domain.states import MATERIALS, divide
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config
from equivar_jax.datasets.load import load_dataset, make_samples
from equivar_jax.ensemble import train_committee
from equivar_jax.errors import plain_messages
from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.packing import GraphSizes, plan_budgets
from equivar_jax.io import write_structures
from equivar_jax.network.last_features import feature_dims, last_features
from equivar_jax.prediction.committee import calibrate_committee, join_members
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.members import residuals_of
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.runtime import use_compilation_cache
from equivar_jax.uncertainty.domain import FAR, domain_of
from equivar_jax.uncertainty.features import LastFeatures, feature_domain

NETWORKS = {"direct": "bm3_deep.py", "polarisation": "bm4.py"}
"""The configs, by the form of the network."""
EPOCHS = {
    "direct": {"SiO2-300K": 20, "BaTiO3-300K": 40},
    "polarisation": {"SiO2-300K": 10, "BaTiO3-300K": 20},
}
"""Some three minutes a network on one core."""


def config_of(name: str, form: str, folder: Path, epochs: int | None) -> Config:
    """Write the known state of a material to a file, and return the settings of a training on it."""
    path = folder / "known.extxyz"
    folder.mkdir(parents=True, exist_ok=True)
    write_structures(path, divide(name).known)
    config = load_config(NETWORKS[form])
    data = dataclasses.replace(
        config.data, path=str(path), hygiene=dataclasses.replace(config.data.hygiene, enabled=False)
    )
    train = dataclasses.replace(config.train, epochs=epochs or EPOCHS[form][name])
    return dataclasses.replace(config, data=data, train=train)


def features_of(member: Predictor, samples: Sequence[Sample]) -> LastFeatures:
    """Compute the last features of a network for structures."""
    budgets = plan_budgets(GraphSizes.of(sample.graph for sample in samples), 8)
    species = np.concatenate([sample.graph.nodes["species"] for sample in samples])
    array = last_features(member.config, member.weights, samples, budgets)
    return LastFeatures(feature_dims(member.config), species, array)


def measure(name: str, runs: Sequence[Path]) -> dict[str, Any]:
    """Measure the warnings of networks of one material.

    Args:
        name: The material.
        runs: Run directories of networks that were trained on its known state.
    """
    members = [load(run) for run in runs]
    dataset, other = load_dataset(members[0].metadata.config), divide(name).other
    parts = [list(dataset.training), list(dataset.validation), make_samples(other, members[0].config.cutoff)]
    labels = [np.concatenate([sample.tensors for sample in part]) for part in parts]
    committee = calibrate_committee(
        join_members(members, [str(run) for run in runs]),
        dataset.validation.structures,
        domain_of(dataset.training, members[0].config.cutoff),
    ).predictor
    errors, features, stored = [], [], []
    for member in members:
        found = [np.concatenate([p.tensors for p in member.predict_samples(part)]) for part in parts]
        errors.append([atom_errors(*pair) for pair in zip(found, labels, strict=True)])
        features.append([features_of(member, part) for part in parts])
        stored.append(feature_domain(*features[-1][:2]))
    single = {
        definition: mean_of(
            [
                score_distances(
                    in_units(distance, own[0], own[1], own[2]),
                    in_units(distance, own[0], own[1], own[1]),
                    error[2],
                )
                for own, error in zip(features, errors, strict=True)
            ]
        )
        for definition, distance in DEFINITIONS.items()
    }
    far = [
        np.mean([k.distances(own[n]) for k, own in zip(stored, features, strict=True)], axis=0)
        for n in (1, 2)
    ]
    return {
        "members": len(members),
        "atoms": {"training": len(labels[0]), "held_out": len(labels[1]), "other": len(labels[2])},
        "mean_error": {
            part: round(float(np.mean([own[n].mean() for own in errors])), 5)
            for n, part in enumerate(("training", "held_out", "other"))
        },
        "kilobytes_stored": round(len(stored[0].numbers) / 1000, 1),
        "single": single,
        "committee": score_committee(committee, parts[2], labels[2], far[0], far[1]),
    }


def score_committee(
    committee: Predictor,
    samples: Sequence[Sample],
    labels: np.ndarray,
    held_out: np.ndarray,
    distances: np.ndarray,
) -> dict[str, Any]:
    """Score a calibrated committee on the other state.

    Args:
        committee: The committee.
        samples: Structures of the other state.
        labels: Their tensors in e, [atom, field, displacement].
        held_out: Distances of the held-out atoms, as means over the members.
        distances: The same of the atoms of the other state.
    """
    found = committee.predict_samples(samples)
    residuals = residuals_of(
        found, [labels], [np.asarray(sample.graph.nodes["species"]) for sample in samples]
    )
    errors, sigma = atom_errors(residuals.tensors, labels), committee.calibration.sigma_of(residuals)
    within = [np.abs(residuals.errors) <= k * sigma for k in (1, 2)]
    domain, of_atom = committee.metadata.domain, sigma.mean(axis=(1, 2))
    assert domain is not None
    assert domain.largest_sigma is not None
    worst, covered = worst_of(errors), errors <= 2 * np.sqrt(np.mean(sigma**2, axis=(1, 2)))
    far, uncertain = distances > FAR, of_atom > domain.largest_sigma
    return {
        "mean_error": round(float(errors.mean()), 5),
        "calibration": {
            name: round(getattr(committee.calibration, name), 4)
            for name in ("scale", "floor", "relative", "growth", "spearman", "within_two", "two_fold_two")
        },
        "factors": {symbol: round(value, 3) for symbol, value in committee.calibration.elements.items()},
        "distance": mean_of([score_distances(distances, held_out, errors)]),
        "far": FAR,
        "by_distance": score_warnings(far, worst),
        "by_sigma": score_warnings(uncertain, worst),
        "by_either": score_warnings(far | uncertain, worst),
        "sigma_at_5_percent": score_best(of_atom, worst),
        "sigma_covers": {"worst": float(covered[worst].mean()), "all": float(covered.mean())},
        "components_within": {
            part: [round(float(one[chosen].mean()), 4) for one in within]
            for part, chosen in (("worst", worst), ("all", slice(None)))
        },
        "announced": float((far | uncertain | covered)[worst].mean()),
    }


def table(results: dict[str, Any]) -> str:
    """Format the numbers as text."""
    lines = []
    for name, one in results.items():
        error, made = one["mean_error"], one["committee"]
        lines.append(f"{name}: error {error['held_out']:.4f} e held out, {error['other']:.4f} e other")
        for definition, scores in one["single"].items():
            at = "  ".join(
                f"{limit}: {v['detected']:.2f}/{v['false_alarms']:.2f}" for limit, v in scores["at"].items()
            )
            best = scores["detected_at_5_percent"]
            lines.append(f"  {definition:10s} at 5 %: {best:.2f}  detected/false at {at}")
        ways = ", ".join(
            f"{way[3:]} {made[way]['detected']:.2f}/{made[way]['false_alarms']:.2f}"
            for way in ("by_distance", "by_sigma", "by_either")
        )
        lines.append(
            f"  committee  sigma at 5 %: {made['sigma_at_5_percent']:.2f}  warnings by {ways}; sigma covers "
            f"{made['sigma_covers']['worst']:.2f} of the worst; announced {made['announced']:.2f}"
        )
        within = made["components_within"]
        lines.append(
            f"  components within one and two sigma: {within['all']}, of the worst {within['worst']}"
        )
    return "\n".join(lines)


def trained_runs(name: str, form: str, folder: Path, options: argparse.Namespace) -> list[Path]:
    """Return the run directories of the members in a folder, after training those that are missing."""
    if len(list(folder.glob("member-*"))) < options.members:
        config = config_of(name, form, folder, options.epochs)
        interrupted = train_committee(config, options.members, folder)
        if interrupted is not None:
            raise SystemExit(128 + interrupted)
    return sorted(folder.glob("member-*"))[: options.members]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, measure, write."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--only", nargs="+", choices=MATERIALS, default=MATERIALS)
    parser.add_argument("--forms", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of each training")
    parser.add_argument("--runs", type=Path, default=Path("runs/domain"), help="folder of run directories")
    parser.add_argument("--output", type=Path, default=RESULTS / "domain.json")
    options = parser.parse_args(arguments)
    if options.members < 2:
        parser.error("--members is below 2; a committee needs two or more")
    results: dict[str, Any] = {}
    known = json.loads(options.output.read_text()) if options.output.is_file() else {}
    with plain_messages():
        use_compilation_cache()
        for form, name in itertools.product(options.forms, options.only):
            row = name if form == "direct" else f"{name}-{form}"
            results[row] = measure(name, trained_runs(name, form, options.runs / row, options))
            write_result(options.output, {**known, **results})
    print(table(results))


if __name__ == "__main__":
    main()
