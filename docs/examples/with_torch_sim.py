"""An exported network in torch-sim: any model of torch-sim in an electric field, several systems at once.

    equivar export -o model.jaxexport
    pip install torch torch-sim-atomistic jax flatbuffers
    python with_torch_sim.py model.jaxexport --cells 2 --steps 50

`FieldModel` wraps a model of torch-sim and adds the force `F[i, b] = sum_a E[a] Z[i, a, b]` of the field to
its forces; arrays go from torch to JAX and back by DLPack, on the device where they are. The program gives it
springs that hold every atom of MgO at its site, for which the motion in a weak field is known, and prints how
far it is from that. torch-sim keeps cells with vectors in columns, unlike ASE: `row_vector_cell` has them in
rows. equivar_jax need not be installed.
"""

import argparse
import sys
from typing import Any

import jax
import numpy as np
import torch
import torch_sim as ts
from ase.build import bulk
from torch_sim.models.interface import ModelInterface
from torch_sim.neighbors import standard_nl

FS = 0.09822694788
"""A femtosecond in Å sqrt(u / eV), torch-sim's unit of time in its "metal" units."""
SPRING = 6.0
"""k in eV/Å²."""


class FieldModel(ModelInterface):
    """A model of torch-sim in a uniform electric field, which acts through Born effective charges.

    Energy is that of the model alone: it does not have the work of the field, and there is no stress, whose
    piezoelectric part does not follow from the charges.

    Args:
        model: Any model of torch-sim with forces.
        exported: What `read_exported` returns, with neutral cells in mind.
        field: E in V/Å, three components.
    """

    def __init__(self, model: ModelInterface, exported: Any, field: Any):
        super().__init__()
        self.model, self.exported, self._width = model, exported, 1
        self._device, self._dtype = model.device, model.dtype
        self._compute_forces, self._compute_stress = True, False
        self.field = torch.as_tensor(field, device=model.device, dtype=model.dtype)

    def charges(self, positions: torch.Tensor, cell: torch.Tensor, species: torch.Tensor, pbc: bool):
        """Compute Z of one system in e, [atom, field, displacement]; rows of the cell are its vectors."""
        cutoff = torch.tensor(self.exported.cutoff, device=cell.device, dtype=cell.dtype)
        (i, j), shifts = standard_nl(positions, cell, pbc, cutoff, sort_id=True)
        vectors = positions[j] - positions[i] + shifts.to(cell.dtype) @ cell
        counts = torch.bincount(i, minlength=len(positions))
        place = torch.arange(len(i), device=i.device) - (torch.cumsum(counts, 0) - counts)[i]
        most = int(counts.max())
        if most > self._width:  # JAX compiles for each shape once; leave some room
            self._width = most + 8
        shape, dtype = (len(positions), self._width), getattr(torch, self.exported.metadata["dtype"])
        table = torch.ones((*shape, 3), device=i.device, dtype=dtype)
        table[i, place] = vectors.to(dtype)
        numbers = torch.full(shape, len(positions), device=i.device, dtype=torch.int32)
        numbers[i, place] = j.to(torch.int32)
        given = (jax.dlpack.from_dlpack(one) for one in (table, numbers, species.to(torch.int32)))
        return torch.from_dlpack(self.exported.charges(*given)).to(positions.dtype)

    def forward(self, state: ts.SimState, **others: Any) -> dict[str, torch.Tensor]:
        """Compute what the model does, with the force of the field in eV/Å added."""
        found = dict(self.model(state, **others))
        forces = found["forces"].clone()
        for number in range(state.n_systems):
            own = state.system_idx == number
            cell, pbc = state.row_vector_cell[number], bool(state.pbc)
            Z = self.charges(state.positions[own], cell, state.atomic_numbers[own], pbc)
            forces[own] += torch.einsum("a,iab->ib", self.field, Z)
        found.pop("stress", None)
        return found | {"forces": forces}


class Springs(ModelInterface):
    """Springs that hold every atom at its site: a potential whose motion is known."""

    def __init__(self, sites: torch.Tensor):
        super().__init__()
        self._device, self._dtype, self.sites = sites.device, sites.dtype, sites
        self._compute_forces, self._compute_stress = True, False

    def forward(self, state: ts.SimState, **_: Any) -> dict[str, torch.Tensor]:
        """Compute energies in eV and forces in eV/Å."""
        moved = state.positions - self.sites
        energy = torch.zeros(state.n_systems, dtype=self.dtype, device=self.device)
        energy.index_add_(0, state.system_idx, SPRING / 2 * (moved**2).sum(dim=1))
        return {"energy": energy, "forces": -SPRING * moved}


def run(archive: str, cells: int, steps: int, field: Any, timestep: float = 1.0) -> dict[str, float]:
    """Run two crystals of different size in a field (V/Å), and compare them with the known motion.

    Returns:
        Largest displacement and largest deviation from the known motion in Å.
    """
    sys.path.insert(0, archive)
    from exported_reader import read_exported

    device = torch.device("cuda" if jax.default_backend() == "gpu" else "cpu")
    crystals = [bulk("MgO", "rocksalt", a=4.21), bulk("MgO", "rocksalt", a=4.21, cubic=True) * (cells, 1, 1)]
    for atoms in crystals:
        atoms.positions += 0.5
        atoms.wrap()  # as torch-sim does in its first step, which `Springs` would not follow
    state = ts.io.atoms_to_state(crystals, device, torch.float64)
    model = FieldModel(Springs(state.positions.clone()), read_exported(archive), field)
    dt, kT = (torch.tensor(value, dtype=torch.float64, device=device) for value in (timestep * FS, 0.0))
    start, advance = ts.nve(model, dt=dt, kT=kT, seed=0)
    sites, at_rest = state.positions.clone(), (model(state)["forces"])  # that of the field alone
    moving = start(state)
    for _ in range(steps):
        moving = advance(moving, dt=dt)
    moved = moving.positions - sites
    phase = steps * dt * torch.sqrt(SPRING / state.masses)[:, None]
    known = at_rest / SPRING * (1 - torch.cos(phase))
    return {
        "largest_displacement_A": float(moved.abs().max()),
        "largest_deviation_A": float((moved - known).abs().max()),
    }


def main() -> None:
    """Read the command line, run, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("archive", help="what `equivar export` wrote; it must know Mg and O")
    parser.add_argument("--cells", type=int, default=2, help="cells of the larger crystal (%(default)s)")
    parser.add_argument("--steps", type=int, default=50, help="of 1 fs (%(default)s)")
    parser.add_argument("--field", type=float, nargs=3, default=[0.0, 0.0, 0.01], help="in V/Å")
    options = parser.parse_args()
    for name, value in run(options.archive, options.cells, options.steps, np.array(options.field)).items():
        print(f"{name}: {value:.6g}")


if __name__ == "__main__":
    main()
