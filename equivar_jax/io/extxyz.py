"""Reader of extended XYZ: ASE parses each frame, the label moves to its standard place.

Index order in the file: nine columns an atom, row-major, **first index the field direction**, second the
displacement direction (xx xy xz yx ...), in e. This is the order of all the keys in `BEC_KEYS`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.extxyz import REV_PROPERTY_NAME_MAP, key_val_str_to_dict

from equivar_jax.errors import InputError
from equivar_jax.io.files import excerpt, open_text
from equivar_jax.structures import BEC, SOURCE, check_structure, with_born_effective_charges

# Column names in the wild: ASE; NequIP and Allegro-pol; e3nn-models; GPUMD and MACE-LES; MACE-Field.
BEC_KEYS = (BEC, "born_charge", "becs", "bec", "REF_becs", "REF_bec")

_PLAIN_XYZ = "species:S:1:pos:R:3"
_NUMBER_OF_ATOMS = re.compile(r"[0-9]{1,9}")
_COLUMN_WIDTH = re.compile(r"[1-9][0-9]{0,5}")


class _Column(NamedTuple):
    """One entry of `Properties`: letter R, I, S or L, and its place in a line."""

    letter: str
    start: int
    width: int


class _Frame(NamedTuple):
    """The text of one frame, before anything is made of it."""

    where: str
    comment: str
    rows: list[str]


def read_extxyz(path: Path, key: str | None = None) -> list[Atoms]:
    """Read every frame of an extended XYZ file.

    Frames without a label are legal (they are what one predicts for). Other columns, the entries of the
    comment line and ASE's own results (energy, forces, ...) are kept where ASE puts them; a `source` entry is
    replaced.

    Args:
        path: the file, plain or compressed.
        key: the column that holds the Born effective charges; by default the one of `BEC_KEYS` that is there.

    Returns:
        The structures, float64. Labels are ASE results of shape (N, 3, 3), [atom, field, displacement], in e;
        the column itself is gone from `atoms.arrays`. `atoms.info["source"]` says "<path>, frame <k>".

    Raises:
        InputError: the file or a frame cannot be used: not text, cut short, a line that does not fit
            `Properties`, an unknown element, a label of another width, several labels and no key, numbers
            that are not finite, or what `check_structure` refuses.
    """
    path = Path(path)
    with open_text(path) as handle:
        structures = [_structure(frame, key) for frame in _frames(handle, path)]
    if not structures:
        raise InputError(f"{path}: no structures in the file; write it again")
    return structures


def _frames(lines: Iterator[str], path: Path) -> Iterator[_Frame]:
    """Cut a file into frames; blank lines between them are skipped."""
    # ASE's own reader ends at the first blank line and drops every frame after it without a word.
    index = 0
    for line in lines:
        count = line.strip()
        if not count:
            continue
        where = f"{path}, frame {index}"
        if not _NUMBER_OF_ATOMS.fullmatch(count):
            raise InputError(
                f"{where}: expected a line with the number of atoms, found {excerpt(count)}; "
                "give an extended XYZ file whose counts match its lines"
            )
        comment = next(lines, None)
        rows = list(islice(lines, int(count)))
        if comment is None or len(rows) < int(count):
            raise InputError(
                f"{where}: {len(rows)} of {count} atoms before the end of the file; "
                "it was cut short, copy it again"
            )
        yield _Frame(where, comment.strip(), rows)
        index += 1


def _structure(frame: _Frame, key: str | None) -> Atoms:
    """One frame as a checked structure, with its label if it has one."""
    with _parser_faults(frame):
        entries = key_val_str_to_dict(frame.comment)
    columns = _columns(frame, entries.get("Properties", _PLAIN_XYZ))
    # Only plain XYZ may have columns without a meaning.
    _check_rows(frame, columns, exact=bool({"Properties", "Lattice"} & entries.keys()))
    text = StringIO(f"{len(frame.rows)}\n{frame.comment}\n{''.join(frame.rows)}")
    with _parser_faults(frame):
        atoms = ase.io.read(text, index=0, format="extxyz", properties_parser=lambda _comment: entries)
    assert isinstance(atoms, Atoms)  # one index, one structure
    atoms.info[SOURCE] = frame.where
    check_structure(atoms)
    name = _label_column(frame, columns, key)
    return atoms if name is None else _labelled(atoms, name)


@contextmanager
def _parser_faults(frame: _Frame) -> Iterator[None]:
    """Report whatever ASE's parser raises as an unreadable frame."""
    try:
        yield
    except Exception as error:
        # The parser names no exceptions: the same damage comes out as ValueError, KeyError, TypeError,
        # IndexError, AttributeError or AssertionError, depending on the line of ASE that met it.
        raise InputError(
            f"{frame.where}: not a valid extended XYZ frame ({type(error).__name__}: "
            f"{excerpt(str(error), 120)}); repair its comment line or its columns"
        ) from None


def _columns(frame: _Frame, properties: object) -> dict[str, _Column]:
    """The columns by name, from `Properties`, if positions and elements are among them."""
    fields = properties.split(":") if isinstance(properties, str) else []
    names, letters, widths = fields[::3], fields[1::3], fields[2::3]
    sound = (
        len(names) == len(letters) == len(widths) == len(set(names)) > 0
        and all(letter in ("R", "I", "S", "L") for letter in letters)
        and all(_COLUMN_WIDTH.fullmatch(width) for width in widths)
    )
    if not sound:
        raise InputError(
            f"{frame.where}: Properties={excerpt(str(properties))} is no list of name:type:width; "
            f"write it like {_PLAIN_XYZ}:{BEC}:R:9"
        )
    columns: dict[str, _Column] = {}
    start = 0
    for name, letter, width in zip(names, letters, map(int, widths), strict=True):
        columns[name] = _Column(letter, start, width)
        start += width
    # Without these, ASE would put every atom at the origin or leave it without an element.
    meanings = {REV_PROPERTY_NAME_MAP.get(name, name) for name in columns}
    if "positions" not in meanings or not meanings & {"symbols", "numbers"}:
        raise InputError(
            f"{frame.where}: Properties names the columns {', '.join(columns)}; "
            "both species (or Z) and pos are needed"
        )
    return columns


def _check_rows(frame: _Frame, columns: dict[str, _Column], exact: bool) -> None:
    """Refuse lines that do not fit the columns (ASE would ignore surplus values), and unknown elements."""
    expected = sum(column.width for column in columns.values())
    species = columns.get("species", columns.get("symbols"))
    for atom, row in enumerate(frame.rows):
        values = row.split()
        if len(values) < expected or (exact and len(values) > expected):
            raise InputError(
                f"{frame.where}: the line of atom {atom} has {len(values)} values, {expected} are expected; "
                "the file was cut short or its Properties are wrong"
            )
        if species is not None and values[species.start].capitalize() not in atomic_numbers:
            raise InputError(
                f"{frame.where}: atom {atom} has the unknown element {excerpt(values[species.start])}; "
                "use chemical symbols"
            )


def _label_column(frame: _Frame, columns: dict[str, _Column], key: str | None) -> str | None:
    """The name of the column with the label, or None if the frame has none."""
    there = ", ".join(columns)
    if key is None:
        found = [name for name in BEC_KEYS if name in columns]
        if len(found) > 1:
            raise InputError(
                f"{frame.where}: several columns of Born effective charges, {', '.join(found)}; "
                "choose one by key"
            )
        if not found:
            return None
        key = found[0]
    if key not in columns:
        raise InputError(
            f"{frame.where}: no column {key!r} for the Born effective charges; the columns there are {there}"
        )
    column = columns[key]
    if column.width != 9 or column.letter not in ("R", "I"):
        raise InputError(
            f"{frame.where}: column {key!r} is {column.letter}:{column.width}, expected R:9, the tensor of "
            "an atom row-major with the field index first; write nine columns or choose another key"
        )
    return key


def _labelled(atoms: Atoms, name: str) -> Atoms:
    """Move the nine columns `name` to ASE's results, shape (N, 3, 3), and keep the other results."""
    results = {} if atoms.calc is None else dict(atoms.calc.results)
    # ASE knows the name born_effective_charges and puts the column into the results, but flat: (N, 9).
    in_ase = REV_PROPERTY_NAME_MAP.get(name, name)
    flat = results.pop(in_ase) if in_ase in results else atoms.arrays.pop(in_ase)
    labelled = with_born_effective_charges(atoms, np.asarray(flat, dtype=np.float64).reshape(-1, 3, 3))
    assert labelled.calc is not None  # it carries the label
    labelled.calc.results = {**results, BEC: labelled.calc.results[BEC]}
    return labelled
