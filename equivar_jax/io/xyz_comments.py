"""The second line of an XYZ frame: keys in another spelling, and cells as other programs write them.

i-PI's line gives cell and unit, and the positions have a unit of their own, often the bohr:

    # CELL(abcABC): 7.9 7.9 7.9 90 90 90 cell{atomic_unit} Traj: positions{atomic_unit} Step: 0 Bead: 0

`abcABC` are lengths and angles, `H` is a 3x3 matrix whose columns are the lattice vectors, `GENH` one whose
rows are (i-PI 3.3.1, `ipi/utils/io/backends/io_xyz.py`). The unit is `atomic_unit`, `angstrom` or `meter`,
the last two also with a prefix (`ipi/utils/units.py`).
"""

import re
import warnings
from typing import Any, NamedTuple

import numpy as np
from ase import units
from ase.cell import Cell
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.files import excerpt

_KEYS = ("Lattice", "Properties", "pbc")
_IN_QUOTES = r'"[^"]*"|\'[^\']*\'|\{[^}]*\}|\[[^\]]*\]'
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][-+]?\d+)?"

IPI_CELL = re.compile(r"\bCELL\s*[({\[]\s*(?P<kind>\w+)\s*[)}\]]\s*:?")
"""The beginning of i-PI's cell."""
_IPI_NUMBERS = re.compile(rf"\s*((?:{_NUMBER}(?:\s+|$))*)")
_IPI_UNIT = re.compile(r"\b(\w+)\{\s*(\w*)\s*\}")
_IPI_POSITIONS = ("positions", "x_centroid")
_PREFIXES = {"": 1.0, "milli": 1e-3, "micro": 1e-6, "nano": 1e-9, "pico": 1e-12, "femto": 1e-15}

# A cell in words of no format, such as `cell: 10 10 10` or `box = "8.4 8.4 8.4"`.
_CELL_IN_WORDS = re.compile(
    rf"(?:%PBC|\b\w*(?:cell|lattice|box|abc)\w*)\b[\"']?\s*[:=({{\[\"']*\s*"
    rf"{_NUMBER}(?:[\s,;]+{_NUMBER}){{2}}",
    re.IGNORECASE,
)


class ClusterWarning(UserWarning):
    """Warns that a structure without a cell is taken for a cluster."""


class Comment(NamedTuple):
    """A comment line in the spelling of extended XYZ."""

    text: str
    length: float = 1.0
    """Unit of the positions in Å; the cell in `text` is in Å."""


def standard_comment(where: str, comment: str) -> Comment:
    """Bring a comment line into the spelling of extended XYZ that ASE understands.

    Keys may be in any case (`lattice=`, `PROPERTIES=`); the line of i-PI becomes a lattice in Å. Another
    comment is returned as it is.

    Args:
        where: file and frame.
        comment: the line.

    Raises:
        InputError: a key is there in two spellings; a line of i-PI is not that of positions, or its cell or
            unit is unknown; or the line has a cell in a form that is not known.
    """
    if found := IPI_CELL.search(comment):
        return _from_ipi(where, comment, found)
    text = _with_usual_keys(where, comment)
    if not re.search(r"\bLattice[\"']?\s*=", text) and (other := _CELL_IN_WORDS.search(text)):
        raise InputError(
            f"{where}: a cell in the comment line, {excerpt(other[0])}, in a form that is not known; write "
            'Lattice="ax ay az bx by bz cx cy cz" in Å, or remove it for a molecule'
        )
    return Comment(text)


def is_silent_on_cell(comment: str) -> bool:
    """Return whether a comment line says neither what the cell is nor that there is none."""
    said = re.search(r"\b(?:Lattice|pbc)[\"']?\s*=", comment, re.IGNORECASE)
    return not (said or IPI_CELL.search(comment))


def warn_of_cluster() -> None:
    """Say that a structure has no cell, in the same words for every file: a command says them once."""
    warnings.warn(
        "an XYZ file without a cell is taken for a molecule or cluster in empty space; for a crystal write "
        'Lattice="ax ay az bx by bz cx cy cz" into the second line, for a molecule pbc="F F F"',
        ClusterWarning,
        stacklevel=2,
    )


def _with_usual_keys(where: str, comment: str) -> str:
    """Give the keys of extended XYZ their usual spelling, wherever they are keys and not parts of a value."""
    spelled: dict[str, list[str]] = {}

    def respell(match: re.Match[str]) -> str:
        if match["key"] is None:
            return match[0]
        usual = next(key for key in _KEYS if key.lower() == match["key"].lower())
        spelled.setdefault(usual, []).append(match["key"])
        return usual

    keys = "|".join(_KEYS)
    pattern = rf"(?<![\w\"'])(?P<key>{keys})(?=\s*=)|=\s*(?:{_IN_QUOTES})|{_IN_QUOTES}"
    text = re.sub(pattern, respell, comment, flags=re.IGNORECASE)
    for usual, found in spelled.items():
        if len(found) > 1 and len(set(found)) > 1:
            raise InputError(f"{where}: {' and '.join(found)} in one comment line; keep one, as {usual}=")
    return text


def _from_ipi(where: str, comment: str, found: re.Match[str]) -> Comment:
    """Translate the comment line of i-PI."""
    named = dict(_IPI_UNIT.findall(comment[: found.start()] + comment[found.end() :]))
    quantities = [name for name in named if name != "cell"]
    if len(quantities) > 1 or any(name not in _IPI_POSITIONS for name in quantities):
        raise InputError(
            f"{where}: i-PI's file of {', '.join(quantities)}, not of positions; give that of the positions"
        )
    if not quantities or "cell" not in named:
        raise InputError(
            f"{where}: i-PI's cell in the comment line without the units; add cell{{angstrom}} and "
            "positions{angstrom}, or atomic_unit for bohr, whichever it is"
        )
    text = _IPI_NUMBERS.match(comment, found.end())
    numbers = [] if text is None else [float(word.upper().replace("D", "E")) for word in text[1].split()]
    with np.errstate(all="ignore"):  # of damaged numbers
        cell = _ipi_cell(found["kind"], np.array(numbers))
    if cell is None or not np.isfinite(cell).all():
        raise InputError(
            f"{where}: i-PI's cell {excerpt(comment[found.start() :])} is not known; expected 6 numbers of "
            "CELL(abcABC), or 9 of CELL{H} or CELL{GENH}"
        )
    lattice = " ".join(map(repr, (cell * _length(where, named["cell"])).ravel().tolist()))
    return Comment(
        f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="T T T"',
        _length(where, named[quantities[0]]),
    )


def _ipi_cell(kind: str, numbers: np.ndarray) -> Float[np.ndarray, "3 3"] | None:
    """Return the lattice vectors in rows, in the unit of the file, or None if they make no cell."""
    expected = {"abcABC": 6, "H": 9, "GENH": 9}.get(kind)
    if expected != len(numbers):
        return None
    if kind == "abcABC":
        if not (numbers[:3] > 0).all():
            return None
        try:
            return Cell.fromcellpar(numbers).array  # a along x, b in the plane of x and y, as in i-PI
        except (AssertionError, ValueError, ZeroDivisionError):
            return None
    matrix = numbers.reshape(3, 3)
    return matrix.T if kind == "H" else matrix


def _length(where: str, unit: str) -> float:
    """Return i-PI's unit of length in Å.

    Raises:
        InputError: the unit is not known.
    """
    known: dict[str, Any] = {"atomic_unit": units.Bohr, "ase": 1.0}
    for prefix, factor in _PREFIXES.items():
        known[f"{prefix}angstrom"] = factor
        known[f"{prefix}meter"] = factor * units.m
    if unit.lower() not in known:
        raise InputError(
            f"{where}: i-PI's unit of length {excerpt(unit)} is not known; write the file in angstrom or "
            "atomic_unit"
        )
    return float(known[unit.lower()])
