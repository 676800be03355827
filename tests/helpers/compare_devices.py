"""A batch on one device and divided among four: `python -m helpers.compare_devices KERNEL`.

Prints how much the results differ, as JSON: in double precision, with a readout for the dielectric tensor and
a moving average of the weights.
"""

import dataclasses
import json
import sys

import jax
import numpy as np
import optax

from equivar_jax.config.schema import TrainConfig
from equivar_jax.graphs import Budget, Sample, build_graph, collate
from equivar_jax.graphs.graph import neighbour_counts
from equivar_jax.structures import born_effective_charges
from equivar_jax.training import DielectricErrors, ErrorSums, make_optimizer, make_steps
from equivar_jax.training.devices import choose_devices
from equivar_jax.training.steps import initial_state
from helpers.crystals import labelled_crystal
from helpers.networks import SMALL, random_params

PARTS = ([0, 1], [2], [3, 4, 5], [])
"""Structures of each device; the last one has none."""
STEPS = 3


def main():
    jax.config.update("jax_enable_x64", True)
    structures = [labelled_crystal(seed, 1.0 + 0.02 * seed) for seed in range(6)]
    samples = [sample_of(atoms, seed) for seed, atoms in enumerate(structures)]
    most = max(int(neighbour_counts(sample.graph).max()) for sample in samples)
    edges = sum(len(sample.graph.senders) for sample in samples)
    whole = collate(samples, Budget(20, edges, most, 7), np.float64)
    budget = Budget(10, edges, most, 4)
    devices = choose_devices(len(PARTS))
    parts = devices.place([collate([samples[k] for k in part], budget, np.float64) for part in PARTS])

    model = dataclasses.replace(SMALL, dielectric=True, kernel=sys.argv[1])
    train = TrainConfig(ema_decay=0.5)
    optimizer = make_optimizer(train, optax.constant_schedule(0.01))
    params = random_params(model, np.float64)
    found = []
    for batch, where in ((whole, None), (parts, devices)):
        steps = make_steps(model, train, optimizer, devices=where)
        place = (lambda tree: tree) if where is None else where.replicate
        state = place(initial_state(jax.tree.map(np.copy, params), train, optimizer))
        for _ in range(STEPS):
            state = steps.train(state, batch)
        sums = steps.validate(state.evaluated, place(ErrorSums.zero()), batch)
        second = steps.validate_dielectric(state.evaluated, place(DielectricErrors.zero()), batch)
        found.append(jax.tree.map(np.asarray, {"state": state, "sums": sums, "dielectric": second}))
    one, many = map(jax.tree.leaves_with_path, found)
    differences = {
        jax.tree_util.keystr(path): float(np.abs(first - second).max())
        for (path, first), (_, second) in zip(one, many, strict=True)
    }
    moved = np.abs(found[0]["state"].params["params"]["embedding"] - params["params"]["embedding"]).max()
    print(json.dumps({"differences": differences, "moved": float(moved)}))


def sample_of(atoms, seed):
    """A structure with its label; every second one has a dielectric tensor."""
    epsilon = 3.0 * np.eye(3) + 0.1 * seed if seed % 2 else None
    return Sample(build_graph(atoms, SMALL.cutoff), born_effective_charges(atoms), epsilon)


if __name__ == "__main__":
    main()
