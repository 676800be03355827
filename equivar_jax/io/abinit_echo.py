"""The variables that Abinit echoes in its output, and the structure of a data set that they describe."""

import re

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.units import Bohr

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import crystal_of, parse_numbers, whole_number

_NAME = re.compile(r"[A-Za-z]\w*\??\d*\??")
# How positions are echoed, and their unit in Å; None stands for fractions of the lattice vectors.
_POSITIONS = {"xred": None, "xcart": Bohr, "xangst": 1.0}
_UNIT = "Bohr"
_MOST_ATOMS = 100_000


def read_echo(lines: list[str]) -> dict[str, list[str]]:
    """Return the echoed variables: name, with the number of its data set if it has one, and its words.

    Args:
        lines: what follows the title of the echo, up to the rule below it or the end of the file.
    """
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if line.startswith("====="):
            break
        words = line[1:].split()  # the first column is a mark for comparisons of outputs
        if words and _NAME.fullmatch(words[0]):
            current = found.setdefault(words[0], [])
            words = words[1:]
        current += words
    return found


def structure_of_dataset(echo: dict[str, list[str]], dataset: int, where: str) -> Atoms:
    """Return the structure of a data set.

    Args:
        echo: the variables of `read_echo`.
        dataset: number of the data set.
        where: file and frame, for messages.

    Returns:
        The structure, in Å.

    Raises:
        InputError: a variable is missing or damaged, or atoms are mixed.
    """
    (number,) = parse_numbers(" ".join(_find(echo, "natom", dataset) or ["1"]), 1, where, "natom")
    count = whole_number(number, _MOST_ATOMS, where, "natom")
    if _find(echo, "ntypalch", dataset) not in (None, ["0"]):
        raise InputError(f"{where}: mixed atoms (ntypalch); give a structure without them")
    lengths = _find(echo, "acell", dataset) or ["1", "1", "1"]
    lengths = lengths[:-1] if lengths[-1:] == [_UNIT] else lengths
    edges = np.array(parse_numbers(" ".join(lengths), 3, where, "acell"))
    shape = " ".join(_find(echo, "rprim", dataset) or ["1 0 0 0 1 0 0 0 1"])
    vectors = np.array(parse_numbers(shape, 9, where, "rprim")).reshape(3, 3) * edges[:, None] * Bohr
    places, unit = _positions(echo, dataset, count, where)
    symbols = _symbols(echo, dataset, count, where)
    if unit is None:
        return crystal_of(symbols, vectors, places, where)
    return Atoms(symbols, cell=vectors, positions=places * unit, pbc=True)


def _find(echo: dict[str, list[str]], name: str, dataset: int) -> list[str] | None:
    """Return the value of a variable: with the number of a data set, a pattern of it, or without."""
    number = str(dataset)
    patterns = [number, *(f"{number[:-1]}?", f"?{number[-1]}")] if len(number) > 1 else [number]
    for suffix in (*patterns, ""):
        if name + suffix in echo:
            return echo[name + suffix]
    return None


def _positions(
    echo: dict[str, list[str]], dataset: int, count: int, where: str
) -> tuple[np.ndarray, float | None]:
    """Return positions and their unit in Å (None: fractions), of the first variable that holds them."""
    for name, unit in _POSITIONS.items():
        words = _find(echo, name, dataset)
        if words is not None:
            return np.array(parse_numbers(" ".join(words), 3 * count, where, name)).reshape(-1, 3), unit
    if count == 1:  # Abinit does not echo what is zero
        return np.zeros((1, 3)), None
    raise InputError(f"{where}: no xred, xcart or xangst among the echoed variables; copy the file again")


def _symbols(echo: dict[str, list[str]], dataset: int, count: int, where: str) -> list[str]:
    """Return the elements of the atoms."""
    words = _find(echo, "znucl", dataset) or []
    numbers = parse_numbers(" ".join(words), max(1, len(words)), where, "znucl")
    kinds = _find(echo, "typat", dataset) or ["1"] * count
    types = parse_numbers(" ".join(kinds), count, where, "typat")
    known = [round(number) for number in numbers if number == round(number) and 1 <= number <= 118]
    if len(known) != len(numbers) or not set(types) <= set(range(1, len(known) + 1)):
        raise InputError(
            f"{where}: znucl {' '.join(words)} and typat {' '.join(kinds[:20])} do not name an element for "
            "every atom; copy the file again"
        )
    return [chemical_symbols[known[round(kind) - 1]] for kind in types]
