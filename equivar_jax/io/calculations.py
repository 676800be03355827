"""Helpers for readers of first-principles output: refuse options, parse numbers, finish structures."""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.files import excerpt
from equivar_jax.io.options import ReadOptions, refuse_first_index, refuse_key
from equivar_jax.structures import EPSILON, SOURCE, check_structure, with_born_effective_charges


class Step(NamedTuple):
    """One configuration of a calculation, or the reason why it cannot be used."""

    has_tensors: bool
    frame: Atoms | InputError


def refuse_choices(path: Path, options: ReadOptions) -> None:
    """Refuse options that are for formats which leave something open; calculations leave nothing open.

    Raises:
        InputError: a key or a first index was given.
    """
    refuse_key(path, options)
    refuse_first_index(path, options)


def select_frames(steps: list[Step]) -> Iterator[Atoms | InputError]:
    """Return the configurations with tensors, or all of them (to predict for) if none has tensors."""
    labelled = any(step.has_tensors for step in steps)
    return (step.frame for step in steps if step.has_tensors or not labelled)


def parse_numbers(text: str | None, count: int, where: str, what: str) -> list[float]:
    """Parse exactly `count` finite numbers from a piece of text.

    Args:
        text: numbers between white space; None counts as no numbers.
        count: how many numbers there must be.
        where: file and frame, for messages.
        what: name of the numbers, for messages.

    Raises:
        InputError: there is another number of words, or one is not a finite number (Fortran prints asterisks
            where a number does not fit its field).
    """
    words = (text or "").split()
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if any("_" in word for word in words):  # Python would take it for a separator of digits
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise InputError(
            f"{where}: {what}: expected {count} finite numbers, found {excerpt(text or '')}; "
            "copy the file again or repeat the calculation"
        )
    return values


def whole_number(value: float, most: int, where: str, what: str) -> int:
    """Return a number that counts something as an integer.

    Args:
        value: the number.
        most: the largest that can be right; a count read from damage would fill the memory.
        where: file and frame, for messages.
        what: name of the number, for messages.

    Raises:
        InputError: it is no whole number from 1 to `most`.
    """
    if not 1 <= value <= most or value != round(value):
        raise InputError(
            f"{where}: {what} is {value:g}, expected a whole number from 1 to {most}; copy it again"
        )
    return round(value)


def parse_rows(lines: Iterable[str | None], count: int, where: str, what: str) -> Float[np.ndarray, "rows 3"]:
    """Parse exactly `count` lines of three finite numbers each.

    Args:
        lines: the lines.
        count: how many lines there must be.
        where: file and frame, for messages.
        what: name of the numbers, for messages.

    Returns:
        The numbers as float64, one row for each line.

    Raises:
        InputError: there is another number of lines, or `parse_numbers` refuses one.
    """
    values = [parse_numbers(line, 3, where, what) for line in lines]
    if len(values) != count:
        raise InputError(
            f"{where}: {what}: expected {count} lines, found {len(values)}; "
            "copy the file again or repeat the calculation"
        )
    return np.array(values, dtype=np.float64).reshape(count, 3)


def check_elements(symbols: list[str], where: str) -> list[str]:
    """Return the chemical symbols unchanged if all of them are known elements.

    Raises:
        InputError: an element is unknown, or there is none at all.
    """
    unknown = [symbol for symbol in symbols if atomic_numbers.get(symbol, 0) < 1]
    if unknown or not symbols:
        found = excerpt(unknown[0]) if unknown else "no atoms"
        raise InputError(f"{where}: expected chemical elements, found {found}; repair the file")
    return symbols


def crystal_of(
    elements: Sequence[str] | np.ndarray,
    cell: Float[np.ndarray, "3 3"],
    fractions: Float[np.ndarray, "atoms 3"],
    where: str,
) -> Atoms:
    """Return a crystal whose positions are given in fractions of its lattice vectors.

    Args:
        elements: chemical symbols or atomic numbers.
        cell: lattice vectors as rows, Å.
        fractions: positions in units of the lattice vectors.
        where: file and frame, for messages.

    Raises:
        InputError: a lattice vector is zero or not finite, for which ASE has no message.
    """
    if not (np.isfinite(cell).all() and cell.any(axis=1).all()):
        raise InputError(f"{where}: lattice vectors {cell.tolist()} span no crystal; copy the file again")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused when it is finished
        return Atoms(elements, cell=cell, scaled_positions=fractions, pbc=True)


def finish_structure(
    atoms: Atoms,
    where: str,
    tensors: Float[np.ndarray, "atoms 3 3"] | None = None,
    epsilon: Float[np.ndarray, "3 3"] | None = None,
) -> Atoms:
    """Attach its source and the results of the calculation to a structure, and check it.

    Args:
        atoms: the structure, Å.
        where: file and frame.
        tensors: Born effective charges [atom, field, displacement] in e, or None.
        epsilon: electronic dielectric tensor, or None.

    Returns:
        The structure. `info["epsilon_inf"]` holds `epsilon`.

    Raises:
        InputError: `check_structure` or `with_born_effective_charges` refuses the structure or its tensors.
    """
    atoms.info[SOURCE] = where
    if epsilon is not None:
        atoms.info[EPSILON] = epsilon
    check_structure(atoms)
    return atoms if tensors is None else with_born_effective_charges(atoms, tensors)
