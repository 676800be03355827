"""MACE's dipole as the polarisation: `AtomicDielectricMACE` of mace-torch, eager with parts in TorchScript.

`compute_dielectric_derivatives=True` gives dmu/dr and the derivatives of the polarisability, too; here the
dipole alone is differentiated, which is cheaper. MACE itself trains on dipoles, not on their derivatives, so
the step is ours: three derivatives of the dipole that stay differentiable, the L1 loss, and a second backward
pass. `AtomicDipolesMACE` is no contestant: its last readout gates vectors with scalars that it does not have,
so that the last interaction has no effect (mace-torch 0.3.16).

The dipole includes charges of the network times positions, which depend on the cell that an atom is listed
in, so that this is a comparison of time and memory, not of accuracy.
"""

from importlib.metadata import version
from typing import Any

import mace  # noqa: F401  before e3nn, whose old version needs a variable that it sets
import numpy as np
import torch
from e3nn import o3
from mace import modules

ELEMENTS = (8, 22, 56)


def make_network(settings: dict[str, Any], neighbours: float) -> torch.nn.Module:
    """Make the network with MACE's own defaults but for its width."""
    f = settings["channels"]
    blocks = modules.interaction_classes
    return modules.AtomicDielectricMACE(
        r_max=settings["cutoff"],
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=settings["l_max"],
        interaction_cls=blocks["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=blocks["RealAgnosticInteractionBlock"],
        num_interactions=settings["interactions"],
        num_elements=len(ELEMENTS),
        hidden_irreps=o3.Irreps(f"{f}x0e + {f}x1o"),
        MLP_irreps=o3.Irreps("16x0e + 16x1o + 16x2e"),
        avg_num_neighbors=neighbours,
        atomic_numbers=list(ELEMENTS),
        correlation=settings["correlation"],
        gate=torch.nn.functional.silu,
        atomic_energies=None,
    ).float()


def prepare(frame: dict[str, np.ndarray], settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prepare inference and training of the tensors of one frame."""
    torch.manual_seed(0)
    torch.set_num_threads(settings["threads"])
    atoms = len(frame["numbers"])
    network = make_network(settings, len(frame["senders"]) / atoms)
    species = torch.tensor([ELEMENTS.index(number) for number in frame["numbers"]])
    inputs = {
        "positions": torch.tensor(frame["positions"], dtype=torch.float32),
        "node_attrs": torch.nn.functional.one_hot(species, len(ELEMENTS)).float(),
        "edge_index": torch.tensor(np.stack([frame["senders"], frame["receivers"]])).long(),
        "shifts": torch.tensor(frame["shifts"] @ frame["cell"], dtype=torch.float32),
        "batch": torch.zeros(atoms, dtype=torch.long),
        "ptr": torch.tensor([0, atoms]),
        "total_charge": torch.zeros(1),
    }
    labels = torch.tensor(frame["tensors"], dtype=torch.float32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def tensors(keep: bool) -> torch.Tensor:
        """Compute dP_a/du_i,b [atom, a, b] by one backward pass for each a."""
        data = {name: value.clone() for name, value in inputs.items()}  # it marks them for differentiation
        dipole = network(data)["dipole"][0]
        rows = [
            torch.autograd.grad(dipole[a], data["positions"], create_graph=keep, retain_graph=keep or a < 2)
            for a in range(3)
        ]
        return torch.stack([row for (row,) in rows], dim=1)

    def training() -> None:
        optimizer.zero_grad(set_to_none=True)
        (tensors(keep=True) - labels).abs().mean().backward()
        optimizer.step()

    about = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "versions": {name: version(name) for name in ("mace-torch", "torch", "e3nn")},
    }
    return {"inference": lambda: tensors(keep=False), "training": training}, about
