"""allegro-pol: an energy in an electric field, whose mixed second derivatives are the tensors.

Forces, stress, polarisation, tensors and polarisability come together; there is no way to ask for the tensors
alone. A loss of the tensors is differentiated for a third time by its weights. NequIP compiles batches of two
or more frames only (`compile_mode="compile"`), and takes the eager network for one without a word; on a CPU
eager is also what is timed here.
"""

from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from nequip.data import AtomicDataDict as Key
from nequip.utils.global_state import set_global_state

ELEMENTS = {56: "Ba", 22: "Ti", 8: "O"}


def make_network(settings: dict[str, Any], neighbours: float) -> torch.nn.Module:
    """Make the network of its tutorial for BaTiO3 (`configs/tutorial.yaml`), with wider scalars."""
    from allegro_pol.model import AllegroPolarizationModel  # is registered by the global state

    width = settings["scalars"]
    return AllegroPolarizationModel(
        seed=0,
        model_dtype="float32",
        type_names=list(ELEMENTS.values()),
        r_max=settings["cutoff"],
        avg_num_neighbors=neighbours,
        radial_chemical_embed={"_target_": "allegro.nn.TwoBodyBesselScalarEmbed", "num_bessels": 8},
        radial_chemical_embed_dim=width,
        scalar_embed_mlp_hidden_layers_width=width,
        l_max=settings["l_max"],
        num_layers=settings["interactions"],
        num_scalar_features=width,
        num_tensor_features=settings["channels"],
        allegro_mlp_hidden_layers_width=width,
        readout_mlp_hidden_layers_width=width,
    )


def prepare(frame: dict[str, np.ndarray], settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Prepare inference and training of the tensors of one frame."""
    torch.set_num_threads(settings["threads"])
    set_global_state()
    atoms = len(frame["numbers"])
    network = make_network(settings, len(frame["senders"]) / atoms)
    order = list(ELEMENTS)
    inputs = {
        Key.POSITIONS_KEY: torch.tensor(frame["positions"]),
        Key.CELL_KEY: torch.tensor(frame["cell"]).reshape(1, 3, 3),
        Key.EDGE_INDEX_KEY: torch.tensor(np.stack([frame["receivers"], frame["senders"]])).long(),
        Key.EDGE_CELL_SHIFT_KEY: torch.tensor(frame["shifts"]),
        Key.ATOM_TYPE_KEY: torch.tensor([order.index(number) for number in frame["numbers"]]),
        Key.BATCH_KEY: torch.zeros(atoms, dtype=torch.long),
        Key.NUM_NODES_KEY: torch.tensor([atoms]),
    }
    labels = torch.tensor(frame["tensors"])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def tensors() -> torch.Tensor:
        return network({name: value.clone() for name, value in inputs.items()})[Key.BORN_CHARGE_KEY]

    def inference() -> None:
        network.eval()
        tensors()

    def training() -> None:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        (tensors() - labels).abs().mean().backward()
        optimizer.step()

    packages = ("allegro-pol", "nequip", "nequip-allegro", "torch", "e3nn")
    about = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "versions": {name: version(name) for name in packages},
    }
    return {"inference": inference, "training": training}, about
