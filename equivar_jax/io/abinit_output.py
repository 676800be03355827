"""Reader of the output of Abinit's response functions (`.abo`, in older versions `.out`).

Index order: under "Effective charges, in cartesian coordinates" each number has the names of its two
perturbations, direction and number, in e. Perturbation `natom + 2` is **the field**, perturbations 1 to
`natom` are displacements, whichever of them comes first. Charges "from electric field response" are preferred
to those "from phonon response"; where `chneut` is set, the sum rule has been imposed on both.

The structure is that which Abinit echoes after the computation, for the data set of the charges, and its
lattice is compared with the one that the data set prints. The output of anaddb, which has the same suffix,
has charges and no structure; its `anaddb.nc` has both. ASE's reader (3.29) has no charges.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.abinit_echo import read_echo, structure_of_dataset
from equivar_jax.io.calculations import finish_structure, parse_numbers, parse_rows, refuse_choices
from equivar_jax.io.files import excerpt, has_line_with, open_text
from equivar_jax.io.options import ReadOptions

_PROGRAM = re.compile(rb"\.Version\s+\S+\s+of (ABINIT|ANADDB)")
_DATASET = re.compile(r"== DATASET\s+(\d+) =")
_CHARGES = "Effective charges, in cartesian coordinates,"
_EPSILON = "Dielectric tensor, in cartesian coordinates,"
_ECHO = "-outvars: echo values of variables after computation"
_VECTOR = re.compile(r"\s*R\(([123])\)=(.*?)G\(\1\)=")
_TITLE_LINES = 6
_LATTICE_TOLERANCE = 1e-5  # bohr, relative to lengths of some 10 bohr printed with seven decimals


def recognises_abinit_output(path: Path, head: bytes) -> bool:
    """Return whether a file is an output of Abinit or anaddb with effective charges."""
    return _PROGRAM.search(head) is not None and has_line_with(path, "Effective charge")


def read_abinit_output(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structures and the Born effective charges of an output of Abinit.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure for each data set with charges, in Å, with a label [atom, field, displacement] in e, and
        the dielectric tensor of clamped ions, float64 (3, 3), at `info["epsilon_inf"]` if it is complete. An
        `InputError` stands in the place of each that cannot be used.

    Raises:
        InputError: the calculation did not finish, the output is that of anaddb, or an option was given.
    """
    refuse_choices(path, options)
    with open_text(path, errors="replace") as handle:
        lines = handle.read().splitlines()
    if any("of ANADDB" in line for line in lines[:20]):
        raise InputError(
            f"{path}: the output of anaddb has effective charges and no structure; read the anaddb.nc that "
            "anaddb wrote with it, or the DDB"
        )
    if sum(line.startswith(".Version") for line in lines) > 1:
        raise InputError(f"{path}: several outputs of Abinit in one file; give each a file of its own")
    if not any("Calculation completed" in line for line in lines) or not any(_ECHO in line for line in lines):
        raise InputError(
            f"{path}: not a complete output of Abinit, 'Calculation completed' or the echo of variables at "
            "its end is missing; finish the calculation or copy the file again"
        )
    echo = read_echo(lines[max(number for number, line in enumerate(lines) if _ECHO in line) + 1 :])
    sections = [section for section in _sections(lines) if any(_CHARGES in line for line in section[1])]
    if not sections:
        raise InputError(f"{path}: no data set with effective charges; copy the file again")
    for frame, (dataset, section) in enumerate(sections):
        where = f"{path}, frame {frame}"
        try:
            found: Atoms | InputError = _read_section(dataset, section, echo, where)
        except InputError as error:
            found = error
        yield found


def _sections(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield number and lines of each data set."""
    starts = [
        (number, int(found[1])) for number, line in enumerate(lines) if (found := _DATASET.search(line))
    ]
    last = [number for number, line in enumerate(lines) if "== END DATASET(S)" in line]
    end = last[-1] if last else len(lines)
    for place, (start, dataset) in enumerate(starts):
        stop = starts[place + 1][0] if place + 1 < len(starts) else end
        yield dataset, lines[start:stop]


def _read_section(dataset: int, lines: list[str], echo: dict[str, list[str]], where: str) -> Atoms:
    """Return the structure of a data set with its charges."""
    for words, cure in (
        ("not enough SCF cycles", "repeat it with a larger nstep"),
        ("Born effectives charges are not correctly computed", "repeat it with all ddk perturbations"),
    ):
        if any(words in line for line in lines):
            raise InputError(f"{where}: data set {dataset}: {words}, says Abinit; {cure}")
    atoms = structure_of_dataset(echo, dataset, where)
    _check_lattice(atoms, lines, where)
    blocks = [
        _parse_block(lines, number, len(atoms), where)
        for number, line in enumerate(lines)
        if line.rstrip().endswith(_CHARGES)
    ]
    complete = [block for block in blocks if not np.isnan(block).any()]
    if not complete:
        raise InputError(
            f"{where}: some of the effective charges are missing; run anaddb on the DDB, which completes "
            "them by symmetry, and read its anaddb.nc"
        )
    return finish_structure(atoms, where, complete[0], _parse_epsilon(lines, len(atoms), where))


def _check_lattice(atoms: Atoms, lines: list[str], where: str) -> None:
    """Refuse a structure whose lattice is not that which the data set prints."""
    printed = [found[2] for line in lines if (found := _VECTOR.match(line))]
    vectors = parse_rows(printed[:3], 3, where, "primitive vectors R(1) to R(3)")
    if np.abs(atoms.cell.array / Bohr - vectors).max() > _LATTICE_TOLERANCE * max(1.0, np.abs(vectors).max()):
        raise InputError(
            f"{where}: the lattice of the data set is not that of the variables at the end of the file; "
            "repeat the calculation with one data set"
        )


def _parse_block(lines: list[str], heading: int, count: int, where: str) -> Float[np.ndarray, "atoms 3 3"]:
    """Parse the charges below a heading, [atom, field, displacement]; what is not there is NaN."""
    field = count + 2
    tensors = np.full((count, 3, 3), np.nan)
    for (first, one, second, other), value in _elements(lines, heading, where):
        direction, atom, displacement = (first, other, second) if one == field else (second, one, first)
        if (one == field) == (other == field) or not 1 <= atom <= count:
            raise InputError(
                f"{where}: effective charges: found perturbations {one} and {other}, expected the field "
                f"{field} and an atom from 1 to {count}; copy the file again"
            )
        _put(tensors, (atom - 1, direction - 1, displacement - 1), value, where)
    return tensors


def _parse_epsilon(lines: list[str], count: int, where: str) -> np.ndarray | None:
    """Return the dielectric tensor of clamped ions, or None if the data set has none or not all of it."""
    heading = next((number for number, line in enumerate(lines) if line.rstrip().endswith(_EPSILON)), None)
    if heading is None:
        return None
    epsilon = np.full((3, 3), np.nan)
    for (first, one, second, other), value in _elements(lines, heading, where):
        if one != other or one != count + 2:
            raise InputError(
                f"{where}: dielectric tensor: found perturbations {one} and {other}, expected the field "
                f"{count + 2}; copy the file again"
            )
        _put(epsilon, (first - 1, second - 1), value, where)
    return None if np.isnan(epsilon).any() else epsilon


def _put(array: np.ndarray, place: tuple[int, ...], value: float, where: str) -> None:
    """Put an element into its place, which must be free."""
    if not np.isnan(array[place]):
        raise InputError(f"{where}: an element of a tensor is there twice; copy the file again")
    array[place] = value


def _elements(lines: list[str], heading: int, where: str) -> Iterator[tuple[list[int], float]]:
    """Yield direction, perturbation, direction, perturbation (from 1) and the real part of each element."""
    titles = lines[heading : heading + _TITLE_LINES]
    columns = next((n for n, line in enumerate(titles) if line.split()[:4] == ["dir", "pert"] * 2), None)
    if columns is None:
        raise InputError(f"{where}: the columns below {excerpt(lines[heading])} have no names; copy it again")
    for line in lines[heading + columns + 1 :]:
        words = line.split()
        if words and not words[0].isdigit():
            return
        if words:
            places = [int(word) for word in words[:4] if re.fullmatch(r"[0-9]+", word)]
            if len(words) != 6 or len(places) != 4 or not {places[0], places[2]} <= {1, 2, 3}:
                raise InputError(
                    f"{where}: found {excerpt(line)} among the elements of a tensor; copy it again"
                )
            yield places, parse_numbers(words[4], 1, where, "element of a tensor")[0]
