"""Crystals to try the screening on, without a file: prototypes whose charges are known to be usual or not."""

from collections.abc import Iterator

from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

_BULK = (
    ("MgO", "rocksalt", 4.21),
    ("CaO", "rocksalt", 4.81),
    ("NaCl", "rocksalt", 5.64),
    ("LiF", "rocksalt", 4.03),
    ("CsCl", "cesiumchloride", 4.12),
    ("CaF2", "fluorite", 5.46),
    ("ZrO2", "fluorite", 5.09),
    ("ZnS", "zincblende", 5.41),
    ("GaAs", "zincblende", 5.65),
    ("BN", "zincblende", 3.61),
)
"""Formula, prototype and lattice constant in Å; the constants are those of experiment."""
_PEROVSKITES = (
    ("Ba", "Ti", "O", 4.00),
    ("Sr", "Ti", "O", 3.905),
    ("K", "Nb", "O", 4.00),
    ("K", "Mg", "F", 3.99),
)


def prototypes() -> Iterator[Atoms]:
    """Make rock salts, fluorites, zincblendes, cubic perovskites, WO3, and a metallic alloy, CuZn."""
    for formula, prototype, constant in _BULK:
        yield bulk(formula, prototype, a=constant)
    for a, b, x, constant in _PEROVSKITES:
        yield _cubic([a, b, x], [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)], constant)
    yield _cubic(["W", "O"], [(0, 0, 0), (0.5, 0, 0)], 3.77)
    yield bulk("CuZn", "cesiumchloride", a=2.95)


def _cubic(symbols: list[str], sites: list[tuple[float | int, ...]], constant: float) -> Atoms:
    """Make a crystal of space group 221."""
    atoms = crystal(symbols, sites, spacegroup=221, cellpar=[constant] * 3 + [90] * 3)
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
