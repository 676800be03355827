"""Reader of extended XYZ. ASE parses each frame; the label is moved to its standard place.

Index order in the file: nine columns for each atom, row by row, **first index the field direction**, second
the displacement direction (xx xy xz yx ...), in e. All keys in `BEC_KEYS` are read in this order. A user
whose column has the other order says so with `first_index`. For tensors in the comment line see
`equivar_training`, for other spellings of that line, and for the one of i-PI, `xyz_comments`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

# The private function is used because `ase.io.read` would hold the text of a frame twice more while it
# searches for frames; for 1,000,000 atoms that is 0.9 GB.
from ase.io.extxyz import REV_PROPERTY_NAME_MAP, _read_xyz_frame, key_val_str_to_dict

from equivar_jax.errors import InputError
from equivar_jax.io.equivar_training import UnknownIndexOrderError, has_target, label_from_target
from equivar_jax.io.files import excerpt, format_suffix, open_text
from equivar_jax.io.isotopes import rows_with_hydrogen, set_masses
from equivar_jax.io.labels import attach_label, remove_label
from equivar_jax.io.options import NotWantedError, ReadOptions
from equivar_jax.io.xyz_comments import is_silent_on_cell, standard_comment, warn_of_cluster
from equivar_jax.structures import BEC, SOURCE, check_structure

# Column names in use: ASE; NequIP and Allegro-pol; e3nn-models; GPUMD and MACE-LES; MACE-Field.
BEC_KEYS = (BEC, "born_charge", "becs", "bec", "REF_becs", "REF_bec")

_PLAIN_XYZ = "species:S:1:pos:R:3"
_NUMBER_OF_ATOMS = re.compile(r"[0-9]{1,9}")
_COLUMN_WIDTH = re.compile(r"[1-9][0-9]{0,5}")
_CONTENT = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*\d{1,9}[ \t]*\r?\n[^\n]*"
    rb"\b(?:(?i:Properties|Lattice)\s*=|CELL[({\[](?:abcABC|H|GENH)[)}\]])"
)
# Python reads "1_5" as 15, and ASE drops a backslash, so one damaged byte could turn into another number.
_FALSE_DIGIT = re.compile(r"""\b(Lattice|target)\s*=\s*(?:["'{\[][^"'{}=]*|\S*)(?:\d_\d|\\[\d.eE+-])""")


class _Column(NamedTuple):
    """One entry of `Properties`: its letter R, I, S or L, and its place in a line."""

    letter: str
    start: int
    width: int


class _Frame(NamedTuple):
    """The text of one frame, before it is parsed."""

    where: str
    comment: str
    rows: list[str]


def recognises_extxyz(path: Path, head: bytes) -> bool:
    """Return whether a file's name or content is that of extended XYZ (plain XYZ: only by its name)."""
    return format_suffix(path) in (".extxyz", ".xyz") or _CONTENT.match(head) is not None


def read_extxyz(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the frames of an extended XYZ file one by one.

    A frame without a label is allowed, as an input for predictions. Other columns, the entries of the comment
    line and ASE's own results (energy, forces, ...) stay where ASE puts them. A `source` entry is replaced.
    Deuterium and tritium (D, T) become hydrogen with their mass. That a frame says nothing of a cell, and so
    is a cluster, is warned of once.

    Args:
        path: the file, plain or compressed.
        options: `key` is the column that holds the Born effective charges; a frame without it has no label.
            By default it is the column of `BEC_KEYS` that the frame has, else the entry `target` of the
            comment line. `first_index` says what the first index of the stored tensors is, by default the
            field.

    Yields:
        The structures, float64. Labels are ASE results of shape (N, 3, 3), [atom, field, displacement], in e;
        the column itself is removed from `atoms.arrays`. `atoms.info["source"]` is "<path>, frame <k>". An
        `InputError` stands in the place of each frame that cannot be used: a line does not fit `Properties`,
        an element is unknown, the label has another width, there are several labels and no key, numbers are
        not finite, or `check_structure` refuses the structure.

    Raises:
        InputError: the file cannot be read to its end: it is not text, is damaged or cut short, or lacks an
            atom count where one must be.
    """
    count, said = 0, False
    with open_text(path, errors="surrogateescape") as handle:
        for frame in _split_frames(handle, path):
            count += 1
            if not options.wants(count - 1):
                yield NotWantedError()
                continue
            found: Atoms | InputError
            try:
                found = _make_structure(frame, options)
            except UnknownIndexOrderError:
                raise
            except InputError as error:
                found = error
            else:
                if not said and is_silent_on_cell(frame.comment):
                    said = True
                    warn_of_cluster()
            yield found
    if count == 0:
        raise InputError(f"{path}: no structures in the file; write it again")


def _split_frames(lines: Iterator[str], path: Path) -> Iterator[_Frame]:
    """Split a file into frames and skip blank lines between them."""
    # ASE's own reader stops at the first blank line and silently drops every frame after it.
    index = 0
    for line in lines:
        count = line.strip()
        if not count:
            continue
        where = f"{path}, frame {index}"
        if not _is_text(line):
            raise InputError(f"{where}: not a text file; name a structure file in UTF-8")
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


def _make_structure(frame: _Frame, options: ReadOptions) -> Atoms:
    """Return one frame as a checked structure, with its label if it has one."""
    if not all(map(_is_text, (frame.comment, *frame.rows))):
        raise InputError(f"{frame.where}: some bytes are not UTF-8 text; repair or remove the frame")
    comment, length = standard_comment(frame.where, frame.comment)
    frame = frame._replace(comment=comment)
    with _translate_parser_faults(frame):
        entries = key_val_str_to_dict(frame.comment)
    _check_entries(frame, entries)
    columns = _parse_columns(frame, entries.get("Properties", _PLAIN_XYZ))
    species = columns.get("species", columns.get("symbols"))
    rows, masses = (frame.rows, None) if species is None else rows_with_hydrogen(frame.rows, species.start)
    frame = frame._replace(rows=rows)
    # Only plain XYZ may have more columns than are declared.
    _check_rows(frame, columns, exact=bool({"Properties", "Lattice"} & entries.keys()))
    with _translate_parser_faults(frame):
        lines = chain([frame.comment], frame.rows)
        atoms = _read_xyz_frame(lines, len(frame.rows), properties_parser=lambda _comment: entries)
    atoms.info[SOURCE] = frame.where
    atoms.positions *= length
    set_masses(atoms, masses)
    check_structure(atoms)
    name = _find_label_column(frame, columns, options.key)
    if name is not None:
        return _label_from_column(atoms, name, options)
    return label_from_target(atoms, options) if has_target(atoms, options) else remove_label(atoms)


@contextmanager
def _translate_parser_faults(frame: _Frame) -> Iterator[None]:
    """Turn whatever ASE's parser raises into an `InputError` about an unreadable frame."""
    try:
        yield
    except Exception as error:
        # The parser documents no exceptions: the same damage raises ValueError, KeyError, TypeError,
        # IndexError, AttributeError or AssertionError, depending on the line of ASE that met it.
        raise InputError(
            f"{frame.where}: not a valid extended XYZ frame ({type(error).__name__}: "
            f"{excerpt(str(error), 120)}); repair its comment line or its columns"
        ) from None


def _is_text(line: str) -> bool:
    """Return whether every byte of a line was UTF-8; other bytes were read as lone surrogates."""
    return line.isascii() or not any("\udc80" <= letter <= "\udcff" for letter in line)


def _check_entries(frame: _Frame, entries: dict[str, Any]) -> None:
    """Refuse numbers and periodicity in the comment line that ASE would misread."""
    pbc = entries.get("pbc", True)
    if not (isinstance(pbc, bool) or (np.shape(pbc) == (3,) and np.isin(pbc, (0, 1)).all())):
        raise InputError(f"{frame.where}: pbc={excerpt(str(pbc))} is not three of T and F; repair it")
    if false := _FALSE_DIGIT.search(frame.comment):
        raise InputError(f"{frame.where}: {false[1]} has {false[0][-3:]!r} inside a number; repair it")


def _parse_columns(frame: _Frame, properties: object) -> dict[str, _Column]:
    """Parse `Properties` into columns by name; positions and elements must be among them."""
    fields = properties.split(":") if isinstance(properties, str) and properties.isprintable() else []
    names, letters, widths = fields[::3], fields[1::3], fields[2::3]
    sound = (
        len(names) == len(letters) == len(widths) == len(set(names)) > 0
        and all(letter in ("R", "I", "S", "L") for letter in letters)
        and all(_COLUMN_WIDTH.fullmatch(width) for width in widths)
    )
    if not sound:
        raise InputError(
            f"{frame.where}: Properties={excerpt(str(properties))} is not a list of name:type:width; "
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
    """Refuse unknown elements and lines that do not fit the columns (ASE would ignore surplus values)."""
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
                "use chemical symbols (in LAMMPS: dump_modify ID element ...)"
            )
        if "_" in row or not row.isascii():
            _check_digits(frame, columns, atom, values)


def _check_digits(frame: _Frame, columns: dict[str, _Column], atom: int, values: list[str]) -> None:
    """Refuse numbers that only Python accepts: with underscores or with digits beyond ASCII."""
    for column in columns.values():
        numbers = values[column.start : column.start + column.width] if column.letter in ("R", "I") else []
        wrong = [number for number in numbers if "_" in number or not number.isascii()]
        if wrong:
            raise InputError(f"{frame.where}: {excerpt(wrong[0])} of atom {atom} is not a number; repair it")


def _find_label_column(frame: _Frame, columns: dict[str, _Column], key: str | None) -> str | None:
    """Return the name of the column that holds the label, or None if the frame has none."""
    found = [name for name in (BEC_KEYS if key is None else (key,)) if name in columns]
    if len(found) > 1:
        raise InputError(
            f"{frame.where}: several columns of Born effective charges, {', '.join(found)}; choose one by key"
        )
    if not found:
        return None
    column = columns[found[0]]
    if column.width != 9 or column.letter not in ("R", "I"):
        raise InputError(
            f"{frame.where}: column {found[0]!r} is {column.letter}:{column.width}, expected R:9, the tensor "
            "of an atom row-major with the field index first; write nine columns or choose another key"
        )
    return found[0]


def _label_from_column(atoms: Atoms, name: str, options: ReadOptions) -> Atoms:
    """Move the nine columns `name` to the results as the label."""
    # ASE knows the name born_effective_charges and puts this column into the results itself, as (N, 9).
    in_ase = REV_PROPERTY_NAME_MAP.get(name, name)
    results = {} if atoms.calc is None else atoms.calc.results
    flat = results.pop(in_ase) if in_ase in results else atoms.arrays.pop(in_ase)
    return attach_label(atoms, flat, options.first_index)
