#!/usr/bin/env bash
# mace-torch 0.3.16: two surprises of the dipole models for whoever wants Born effective charges from them.
#
# Version: mace-torch 0.3.16 from PyPI with its e3nn 0.4.4; torch 2.13.0; Python 3.11.
#
# Input: a distorted BaTiO3 cell of five atoms, and networks of two interactions with random weights.
#
# 1. AtomicDielectricMACE, dmu/dr of a crystal.
#    Expected: listing one atom in the next cell, with the neighbour list changed accordingly, is the same
#    crystal, so dmu/dr is the same.
#    Seen: it changes, since the dipole includes sum_i q_i r_i with charges q_i that depend on the
#    neighbourhood: their derivatives are multiplied by the position, which depends on the choice of the cell.
# 2. AtomicDipolesMACE, the last interaction.
#    Expected: it contributes to the dipole.
#    Seen: its readout is exactly zero, for MLP_irreps of 16x0e (the default of mace_run_train) and of 16x1o: the
#    last interaction gives vectors only, so the readout has no scalars to gate with. A network of two
#    interactions has the reach of one. (16x0e + 16x1o raises a RuntimeError.)
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
"$folder/venv/bin/pip" install --quiet mace-torch==0.3.16
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import mace  # noqa: F401  first: it lets e3nn 0.4.4 load with this torch
import numpy as np
import torch
from ase import Atoms
from e3nn import o3
from mace import modules
from matscipy.neighbours import neighbour_list

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
ELEMENTS = [8, 22, 56]
scaled = [(0.0, 0.0, 0.0), (0.52, 0.5, 0.53), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.02, 0.5, 0.5)]
atoms = Atoms("BaTiO3", scaled_positions=scaled, cell=[4.0, 4.0, 4.1], pbc=True)
i, j, S = neighbour_list("ijS", atoms, 4.0)


def make(kind, perceptron):
    blocks = modules.interaction_classes
    return kind(
        r_max=4.0,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=2,
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=3,
        hidden_irreps=o3.Irreps("8x0e + 8x1o"),
        MLP_irreps=o3.Irreps(perceptron),
        avg_num_neighbors=len(i) / len(atoms),
        atomic_numbers=ELEMENTS,
        correlation=2,
        gate=torch.nn.functional.silu,
        atomic_energies=None,
    )


def data(positions, shifts):
    species = torch.tensor([ELEMENTS.index(number) for number in atoms.numbers])
    return {
        "positions": torch.tensor(positions),
        "node_attrs": torch.nn.functional.one_hot(species, 3).to(torch.float64),
        "edge_index": torch.tensor(np.stack([i, j])).long(),
        "shifts": torch.tensor(shifts @ np.asarray(atoms.cell)),
        "batch": torch.zeros(len(atoms), dtype=torch.long),
        "ptr": torch.tensor([0, len(atoms)]),
        "charges": torch.zeros(len(atoms)),
        "total_charge": torch.zeros(1),
    }


dielectric = make(modules.AtomicDielectricMACE, "16x0e + 16x1o + 16x2e")
moved, shifts = atoms.positions.copy(), S.copy()
moved[1] += atoms.cell[2]
shifts[i == 1] += [0, 0, 1]
shifts[j == 1] -= [0, 0, 1]
here, there = (
    dielectric(data(*each), compute_dielectric_derivatives=True)
    for each in ((atoms.positions, S), (moved, shifts))
)
assert torch.allclose(here["atomic_dipoles"], there["atomic_dipoles"])  # it is the same crystal
first, second = here["dmu_dr"].detach(), there["dmu_dr"].detach()
change = float((first - second).abs().max() / first.abs().max())
print(f"dmu/dr with an atom listed in the next cell: changed by {change:.0%} of its largest component")

largest = []
for perceptron in ("16x0e", "16x1o"):
    dipoles = make(modules.AtomicDipolesMACE, perceptron)
    for readout in dipoles.readouts:
        readout.register_forward_hook(lambda _, __, out: largest.append(float(out.abs().max())))
    dipoles(data(atoms.positions, S))
print("largest component of the readouts of AtomicDipolesMACE, first and last:", largest)
as_seen = change > 0.01 and largest[0] > 0 and largest[2] > 0 and largest[1] == largest[3] == 0
sys.exit(0 if as_seen else 1)
PYTHON
