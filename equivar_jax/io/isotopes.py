"""Deuterium and tritium, which files name by symbols of their own: hydrogen with another mass."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from jaxtyping import Float

HYDROGEN = {"D": 2.01410178, "T": 3.01604928}
"""Symbol -> mass of the atom in u (AME2020)."""
SAME_MASS = 2e-4
"""Relative difference of two tables of masses, at most; 16O differs from oxygen by 2.6e-4."""
_ISOTOPES = 0.25
"""Largest relative difference of an isotope from its element, but for hydrogen's."""
_HEAVIEST_HYDROGEN = 3.1


def hydrogen_masses(symbols: Sequence[str]) -> Float[np.ndarray, " atoms"] | None:
    """Return the mass of each deuterium and tritium, NaN of other atoms; None if there are none."""
    masses = np.array([HYDROGEN.get(symbol.capitalize(), math.nan) for symbol in symbols])
    return None if np.isnan(masses).all() else masses


def set_stated_masses(atoms: Atoms, labels: Sequence[str], masses: Float[np.ndarray, " atoms"]) -> Atoms:
    """Give atoms the masses that a calculation states, where they are those of isotopes; return them.

    Masses that no isotope of the element has are left out: they matter to no calculation without phonons, so
    that inputs may have any number there.

    Args:
        atoms: the structure.
        labels: the calculation's names of the atoms; D and T are isotopes whatever mass is stated.
        masses: stated masses in u, NaN where there is none.
    """
    usual = atomic_masses[atoms.numbers]
    largest = np.where(atoms.numbers == 1, _HEAVIEST_HYDROGEN, (1.0 + _ISOTOPES) * usual)
    possible = (masses >= (1.0 - _ISOTOPES) * usual) & (masses <= largest)
    kept = np.where(possible & (np.abs(masses - usual) > SAME_MASS * usual), masses, math.nan)
    named = hydrogen_masses([_isotope(label) for label in labels])
    if named is not None:
        kept = np.where(np.isnan(kept), named, kept)
    return atoms if np.isnan(kept).all() else set_masses(atoms, kept)


def hydrogen_of(label: str) -> str | None:
    """Return "H" for a calculation's label of deuterium or tritium, as D, D1 or T_a; None for others."""
    return "H" if _isotope(label) in HYDROGEN else None


def _isotope(label: str) -> str:
    """Return the letters at the head of a label."""
    return re.split(r"[^A-Za-z]", label.strip(), maxsplit=1)[0].capitalize()


def set_masses(atoms: Atoms, masses: Float[np.ndarray, " atoms"] | None) -> Atoms:
    """Give atoms the masses that are not NaN, unless they have masses of their own; return them."""
    if masses is not None and len(masses) == len(atoms) and not atoms.has("masses"):
        atoms.set_masses(np.where(np.isnan(masses), atoms.get_masses(), masses))
    return atoms


def rows_with_hydrogen(rows: list[str], column: int) -> tuple[list[str], np.ndarray | None]:
    """Replace the isotopes in lines of atoms by hydrogen.

    Args:
        rows: lines with values between white space.
        column: place of the symbol.

    Returns:
        The lines, and the masses as `hydrogen_masses` returns them.
    """
    symbols = ["".join(row.split(None, column + 1)[column : column + 1]) for row in rows]
    masses = hydrogen_masses(symbols)
    if masses is None:
        return rows, None
    renamed = list(rows)
    for atom in np.flatnonzero(np.isfinite(masses)).tolist():
        values = rows[atom].split()
        values[column] = "H"
        renamed[atom] = " ".join(values)
    return renamed, masses


@contextmanager
def poscar_with_hydrogen(plain: Path) -> Iterator[tuple[Path, Float[np.ndarray, " atoms"] | None]]:
    """Provide a POSCAR, CONTCAR or XDATCAR in which the isotopes are called hydrogen.

    Args:
        plain: the file, not compressed.

    Yields:
        The file itself, or a temporary copy of the same name, and the masses of its atoms as
        `hydrogen_masses` returns them.
    """
    with plain.open("rb") as handle:
        head = [line.decode(errors="replace") for line in islice(handle, 7)]
    header = _header(head)
    if header is None:
        yield plain, None
        return
    symbols, counts = head[header].split(), head[max(header + 1, 5)].split()
    masses = hydrogen_masses([_element(word) for word in symbols])
    if masses is None or len(counts) < len(symbols) or not all(map(str.isdigit, counts[: len(symbols)])):
        yield plain, None
        return
    numbers = [int(count) for count in counts[: len(symbols)]]
    line = head[header].encode()
    plainer = " ".join("H" if _element(word) in HYDROGEN else word for word in symbols).encode() + b"\n"
    with TemporaryDirectory(prefix="equivar-") as folder:
        copy = Path(folder, plain.name)
        with plain.open("rb") as source, copy.open("wb") as target:
            # An XDATCAR of a changing cell has its header in every frame.
            target.writelines(plainer if text == line else text for text in source)
        yield copy, np.repeat(masses, numbers)


def _header(head: list[str]) -> int | None:
    """Return which line has the symbols: the sixth, or the comment where the sixth has the counts already."""
    if len(head) < 6:
        return None
    fifth = head[5].split()
    if not fifth:
        return None
    return 0 if all(map(str.isdigit, fifth)) else (5 if len(head) > 6 else None)


def _element(word: str) -> str:
    """Return the symbol in a word of a POSCAR, which may have the ending of a potential ("D_h", "D/1a2b")."""
    return word.split("/")[0].split("_")[0].split(".")[0]
