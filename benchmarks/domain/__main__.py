"""How many large errors are warned of, on a state that a network was not trained on.

    python -m benchmarks.domain                            # needs EQUIVAR_DATA; trains what is missing
    python -m benchmarks.domain --only SiO2-300K --members 4 --epochs 60 --runs runs/longer

Networks of `bm3_deep.py` are trained on quartz at 300 K and on the calmer half of the frames of BaTiO3, by
`equivar train --members`, and tested on quartz at 600 K and on the wilder half. Of the atoms with the worst
1 % of the errors, 80 % shall carry a warning, and of the other atoms at most 5 %. There is a warning if the
distance of the last features, or the sigma of a calibrated committee, is more than `domain.FAR` times what
99 % of held-out atoms have; an error is also announced if it is within two sigma. Definitions of the distance
(`definitions.py`) are compared for single networks; the one of the package was chosen on quartz, and so was
`domain.FAR`: BaTiO3 tests both.

Finished runs in `RUNS/MATERIAL/member-*` are taken as they are, so other networks can be measured. The
numbers go to `results/domain.json`.
"""

import argparse
import dataclasses
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
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.runtime import use_compilation_cache
from equivar_jax.uncertainty.domain import FAR, domain_of
from equivar_jax.uncertainty.features import LastFeatures, feature_domain

EPOCHS = {"SiO2-300K": 20, "BaTiO3-300K": 40}
"""Some three minutes a network on one core."""


def config_of(name: str, folder: Path, epochs: int | None) -> Config:
    """Write the known state of a material to a file, and return the settings of a training on it."""
    path = folder / "known.extxyz"
    folder.mkdir(parents=True, exist_ok=True)
    write_structures(path, divide(name).known)
    config = load_config("bm3_deep.py")
    data = dataclasses.replace(
        config.data, path=str(path), hygiene=dataclasses.replace(config.data.hygiene, enabled=False)
    )
    train = dataclasses.replace(config.train, epochs=epochs or EPOCHS[name])
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
    errors = atom_errors(np.concatenate([prediction.tensors for prediction in found]), labels)
    sigma = np.concatenate(
        [committee.calibration.sigma(p.spread, p.tensors) for p in found if p.spread is not None]
    )
    domain, of_atom = committee.metadata.domain, sigma.mean(axis=(1, 2))
    assert domain is not None
    assert domain.largest_sigma is not None
    worst, covered = worst_of(errors), errors <= 2 * np.sqrt(np.mean(sigma**2, axis=(1, 2)))
    far, uncertain = distances > FAR, of_atom > domain.largest_sigma
    return {
        "mean_error": round(float(errors.mean()), 5),
        "calibration": {
            name: round(getattr(committee.calibration, name), 4)
            for name in ("scale", "floor", "relative", "spearman")
        },
        "distance": mean_of([score_distances(distances, held_out, errors)]),
        "far": FAR,
        "by_distance": score_warnings(far, worst),
        "by_sigma": score_warnings(uncertain, worst),
        "by_either": score_warnings(far | uncertain, worst),
        "sigma_at_5_percent": score_best(of_atom, worst),
        "sigma_covers": {"worst": float(covered[worst].mean()), "all": float(covered.mean())},
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
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is missing, measure, write."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--only", nargs="+", choices=MATERIALS, default=MATERIALS)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of each training")
    parser.add_argument("--runs", type=Path, default=Path("runs/domain"), help="folder of run directories")
    parser.add_argument("--output", type=Path, default=RESULTS / "domain.json")
    options = parser.parse_args(arguments)
    if options.members < 2:
        parser.error("--members is below 2; a committee needs two or more")
    results = {}
    with plain_messages():
        use_compilation_cache()
        for name in options.only:
            folder = options.runs / name
            runs = sorted(folder.glob("member-*"))
            if len(runs) < options.members:
                interrupted = train_committee(
                    config_of(name, folder, options.epochs), options.members, folder
                )
                if interrupted is not None:
                    raise SystemExit(128 + interrupted)
                runs = sorted(folder.glob("member-*"))
            results[name] = measure(name, runs[: options.members])
        write_result(options.output, results)
    print(table(results))


if __name__ == "__main__":
    main()
