"""Predict many different small cells in a loop or as a list: `many_cells.py loop|list COUNT OUTPUT.npy`."""

import sys
import warnings

import numpy as np
from ase import Atoms
from ase.build import bulk, mx2
from ase.data import atomic_numbers, covalent_radii

from equivar_jax import predict

MOST_ATOMS = 20
FAMILIES = [
    ("rocksalt", 2.0, ("Li", "Na", "K", "Rb"), ("F", "Cl", "Br")),
    ("rocksalt", 2.0, ("Mg", "Ca", "Sr", "Ba"), ("O", "S", "Se")),
    ("zincblende", 2.31, ("Al", "Ga", "In"), ("P", "As")),
    ("zincblende", 2.31, ("Be", "Zn", "Cd"), ("S", "Se", "Te")),
    ("wurtzite", 1.63, ("Al", "Ga", "In"), ("N",)),
    ("wurtzite", 1.63, ("Zn", "Cd"), ("O", "S")),
    ("cesiumchloride", 1.2, ("Cs", "Tl"), ("Cl", "Br", "I")),
    ("fluorite", 2.31, ("Ca", "Sr", "Ba"), ("F",)),
    ("fluorite", 2.31, ("Zr", "Hf", "Ce"), ("O",)),
    ("perovskite", 1.8, ("Ca", "Sr", "Ba", "Pb"), ("Ti", "Zr", "Hf", "Sn")),
    ("layer", 1.3, ("Mo", "W", "Zr", "Hf"), ("S", "Se")),
]
"""Structure type, lattice constant in bond lengths, elements of either site."""


def make_cell(kind: str, bonds: float, first: str, second: str, cubic: bool) -> Atoms:
    """Make the primitive or the cubic cell of a crystal, with a lattice constant from covalent radii."""
    bonded = (second, "O") if kind == "perovskite" else (first, second)
    length = bonds * sum(covalent_radii[atomic_numbers[name]] for name in bonded)
    if kind == "perovskite":
        places = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
        return Atoms([first, second, "O", "O", "O"], scaled_positions=places, cell=[length] * 3, pbc=True)
    if kind == "layer":
        return mx2(f"{first}{second}2", a=length, thickness=length, vacuum=4.0)
    name = first + (2 * second if kind == "fluorite" else second)
    return bulk(name, kind, a=length, cubic=cubic and kind not in ("wurtzite", "cesiumchloride"))


def make_cells(count: int) -> list[Atoms]:
    """Make strained and rattled cells and supercells of simple insulators, each of at most 20 atoms."""
    rng = np.random.default_rng(0)
    cells: list[Atoms] = []
    while len(cells) < count:
        kind, bonds, *sites = FAMILIES[rng.integers(len(FAMILIES))]
        first, second = (str(rng.choice(site)) for site in sites)
        cell = make_cell(kind, bonds, first, second, cubic=bool(rng.integers(2)))
        times = np.ones(3, int)
        times[rng.integers(3)] = rng.integers(1, MOST_ATOMS // len(cell) + 1)
        cell = cell.repeat(times)
        strain = np.eye(3) + 0.03 * rng.normal(size=(3, 3))
        cell.set_cell(cell.cell.array @ strain, scale_atoms=True)
        cell.rattle(0.05, rng=rng)
        cells.append(cell)
    return cells


def main(how: str, count: int, output: str) -> None:
    """Predict, and write the tensors of all atoms one after the other."""
    warnings.simplefilter("ignore")
    cells = make_cells(count)
    tensors = predict(cells) if how == "list" else [predict(cell) for cell in cells]
    np.save(output, np.concatenate(tensors))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
