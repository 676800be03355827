"""What the readers of Quantum ESPRESSO's files share: labels and tensors, and which are not computed."""

import math
import re
from itertools import islice
from pathlib import Path

import numpy as np
from ase.io.espresso import label_to_symbol
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import check_elements, parse_rows, refuse_choices
from equivar_jax.io.files import excerpt, open_text
from equivar_jax.io.isotopes import hydrogen_of
from equivar_jax.io.options import ReadOptions

CUT_SHORT = "the calculation did not finish or the file was cut short; finish it or copy it again"
_NOTHING = 1e-10
"""In e. Every calculated tensor has noise above this; zeros and what uninitialised memory holds lie below."""
_VALENCE_STEP = 1e-3
"""Valences of pseudopotentials have at most three decimals."""


def read_lines(path: Path, options: ReadOptions) -> list[str]:
    """Return all lines of a file; refuse any option."""
    refuse_choices(path, options)
    # The title given by the user may have any encoding.
    with open_text(path, errors="replace") as handle:
        return handle.read().splitlines()


def elements_of_labels(labels: list[str], where: str) -> list[str]:
    """Return the elements that labels such as Fe1, O_h or TI stand for; D and T are hydrogen."""
    symbols = []
    for label in labels:
        try:
            symbols.append(label_to_symbol(label.strip()))
        except (KeyError, IndexError):
            symbols.append(hydrogen_of(label) or label)
    return check_elements(symbols, where)


def stated_mass(word: str) -> float:
    """Return the mass that a word states; NaN where it is no number, since no tensor depends on it."""
    return float(word) if re.fullmatch(r"\s*\d+\.\d*(E[+-]?\d+)?\s*", word) else math.nan


def parse_tensors(
    lines: list[str], count: int, atom: str, row: str, where: str
) -> Float[np.ndarray, "atoms 3 3"]:
    """Parse `count` tensors: a line that names the atom, then three rows; patterns `atom` and `row`."""
    printed: list[str] = []
    for position, line in enumerate(skip_blank(lines, 4 * count)):
        number, direction = divmod(position, 4)
        pattern = atom.format(atom=number + 1) if direction == 0 else row.format(row=" xyz"[direction])
        found = re.fullmatch(pattern, line)
        if not found:
            raise InputError(
                f"{where}: effective charges of atom {number + 1}: found {excerpt(line)} in the place of "
                f"{'its name' if direction == 0 else f'row {direction}'}; copy the file again"
            )
        printed += found.groups()
    return parse_rows(printed, 3 * count, where, "effective charges").reshape(count, 3, 3)


def is_computed(tensors: Float[np.ndarray, "atoms 3 3"], all_digits: bool = False) -> bool:
    """Return whether every atom has a tensor that a calculation may have given.

    Args:
        tensors: the tensors, e.
        all_digits: whether they have a dozen digits, so that no component may be zero that no symmetry can
            make zero, which are those on the diagonal.

    With `epsil` and without `zeu`, Quantum ESPRESSO writes the memory in which no charges were put: zeros, or
    numbers of the size of 1e-310.
    """
    largest = np.abs(np.einsum("iaa->ia", tensors)) if all_digits else np.abs(tensors).max(axis=(1, 2))
    return bool((largest > _NOTHING).all())


def undisplaced_atoms(tensors: Float[np.ndarray, "atoms 3 3"]) -> list[int]:
    """Return the atoms (from 1) whose tensor is their valence times the identity, to all twelve digits.

    Quantum ESPRESSO starts charges from displacements (U-E) with the valence and adds the electrons of the
    atoms that it displaces; those left out by `nat_todo` keep the valence.
    """
    first = tensors[:, 0, 0]
    isotropic = (tensors == first[:, None, None] * np.eye(3)).all(axis=(1, 2))
    steps = np.clip(first, -1e6, 1e6) / _VALENCE_STEP
    whole = np.abs(steps - np.round(steps)) < 1e-7
    return (np.flatnonzero(isotropic & whole) + 1).tolist()


def skip_blank(lines: list[str], count: int) -> list[str]:
    """Return the first `count` lines that are not blank."""
    return list(islice((line for line in lines if line.strip()), count))


def find_last(lines: list[str], text: str) -> int | None:
    """Return the number of the last line that contains a text, or None."""
    return next((number for number in reversed(range(len(lines))) if text in lines[number]), None)
