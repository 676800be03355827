"""Readers of VASP output: `vasprun.xml` and `OUTCAR`, with LEPSILON (DFPT) or LCALCEPS (finite fields).

Index order in both files: three rows for each atom, **first index (the row) the field direction i**, second
the force or displacement direction j, `Z_ij = dF_j / dE_i`, in |e| (VASP wiki, "Born effective charges":
"VASP outputs Z_ij with i for the macroscopic electric field, and j for the direction of the force";
`vaspout.h5` has the transposed order). VASP does not enforce the sum rule on them.

An OUTCAR of IBRION 7 or 8 may have a set "(in e, cummulative output)" whose order is not known here, after
that of the fields; the former is not read, and neither is a lone set of such a run (see `vasp_outcar`).

Masses are those of POMASS in the INCAR, where they are those of isotopes.

Tensors belong to the ionic step of the `<calculation>` that contains them (`vasprun.xml`), or to the last
ionic step printed before them (`OUTCAR`).

This module parses the files itself for two reasons: ASE (3.29) fills the tensors of a vasprun.xml that was
cut short with zeros and reads none from an OUTCAR; phonopy (4.10) does not say which ionic step tensors
belong to and takes the ionic dielectric tensor of an OUTCAR for the electronic one. ASE does read elements,
cell and positions of an OUTCAR.
"""

import re
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, cast
from xml.etree.ElementTree import Element, ParseError, iterparse

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import (
    Step,
    check_elements,
    crystal_of,
    finish_structure,
    parse_rows,
    refuse_choices,
    select_frames,
)
from equivar_jax.io.files import open_text
from equivar_jax.io.isotopes import set_stated_masses
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.vasp_checks import CUT_SHORT, masses_of_types, refuse_doubtful, require_agreement
from equivar_jax.io.vasp_outcar import read_outcar_steps

# Names of the electronic tensor with local field effects: LEPSILON's, LCALCEPS's, LEPSILON's later one.
_XML_EPSILON = ("epsilon", "epsilon_scf", "dielectric_dft")
_XML_LARGE = ("eigenvalues", "dos", "projected", "calculation")


def recognises_vasprun(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of a `vasprun.xml`."""
    return head.lstrip(b"\xef\xbb\xbf \r\n").startswith(b"<?xml") and b"<modeling" in head


def recognises_outcar(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of an `OUTCAR`."""
    return re.match(rb"\s*vasp\.\d", head) is not None and b"executed on" in head


def read_vasprun(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the ionic steps of a `vasprun.xml` that have Born effective charges, or all if none has.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        Structures with labels [atom, field, displacement] in e, and the electronic dielectric tensor, float64
        (3, 3), at `info["epsilon_inf"]`. An `InputError` stands in the place of each ionic step that cannot
        be used. Frame numbers count ionic steps from 0.

    Raises:
        InputError: the file is not a complete `vasprun.xml`, or an option was given.
    """
    refuse_choices(path, options)
    try:
        with open_text(path) as handle:
            steps = _read_vasprun_steps(handle, path)
    except InputError:
        raise
    except (ParseError, LookupError, ValueError) as error:  # not XML, missing child, unknown encoding
        raise InputError(f"{path}: not a complete vasprun.xml ({error}): {CUT_SHORT}") from None
    yield from select_frames(steps)


def read_outcar(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the ionic steps of an `OUTCAR` that have Born effective charges, or all if none has.

    An OUTCAR has positions to 1e-5 Å and tensors to 1e-5 e; a `vasprun.xml` has more digits.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        Structures and errors as `read_vasprun` yields them.

    Raises:
        InputError: the file is not a complete OUTCAR, or an option was given.
    """
    refuse_choices(path, options)
    yield from select_frames(read_outcar_steps(path))


def _read_vasprun_steps(handle: TextIOWrapper, path: Path) -> list[Step]:
    """Read every `<calculation>` of the file."""
    steps: list[Step] = []
    symbols: list[str] = []
    settings: dict[str, str] = {}
    given, masses = None, None
    outside = 0
    # Parse bytes, because the file declares its own encoding.
    for _, element in iterparse(cast(BinaryIO, handle.buffer)):
        outside += element.tag == "array" and element.get("name") == "born_charges"
        if element.tag == "parameters":
            settings = {entry.get("name", ""): (entry.text or "").strip() for entry in element.iter("i")}
        elif element.tag == "incar":
            given = element.find("*[@name='POMASS']")  # POTCAR has rounded masses of the elements
        elif element.tag == "atominfo":
            rows = element.findall("array[@name='atoms']/set/rc")
            symbols = [(row[0].text or "").strip() for row in rows]
            if given is not None:
                masses = masses_of_types((given.text or "").split(), [row[-1].text or "" for row in rows])
        elif element.tag == "calculation":
            outside -= len(element.findall("array[@name='born_charges']"))
            step = _make_vasprun_step(element, symbols, settings, path, len(steps))
            if masses is not None and isinstance(step.frame, Atoms):
                set_stated_masses(step.frame, symbols, masses)
            steps.append(step)
        if element.tag in _XML_LARGE:
            element.clear()
    if outside:
        raise InputError(
            f"{path}: Born effective charges stand outside an ionic step, so their structure is unknown; "
            "read the OUTCAR of the calculation"
        )
    if not steps:
        raise InputError(f"{path}: no ionic step in this XML file; give the vasprun.xml of a finished run")
    return steps


def _make_vasprun_step(
    calculation: Element, symbols: list[str], settings: dict[str, str], path: Path, index: int
) -> Step:
    """Return the ionic step of one `<calculation>`."""
    where = f"{path}, frame {index}"
    arrays = calculation.findall("array[@name='born_charges']")
    try:
        basis = calculation.iterfind("structure/crystal/varray[@name='basis']/v")
        cell = parse_rows((v.text for v in basis), 3, where, "lattice vectors")
        places = calculation.iterfind("structure/varray[@name='positions']/v")
        fractions = parse_rows((v.text for v in places), len(symbols), where, "positions")
        atoms = crystal_of(check_elements(symbols, where), cell, fractions, where)
        if not arrays:
            return Step(False, finish_structure(atoms, where))
        loop = takewhile(lambda child: child.tag != "structure", calculation)
        iterations = sum(child.tag == "scstep" for child in loop)
        refuse_doubtful(settings, index, str(iterations) != settings.get("NELM"), where)
        tensors = require_agreement(
            [_parse_vasprun_tensors(array, len(symbols), where) for array in arrays], where
        )
        return Step(True, finish_structure(atoms, where, tensors, _parse_vasprun_epsilon(calculation, where)))
    except InputError as error:
        return Step(bool(arrays), error)


def _parse_vasprun_tensors(array: Element, count: int, where: str) -> np.ndarray:
    """Parse the tensors of one array `born_charges`."""
    lines = [v.text for tensor in array.iterfind("set") for v in tensor.iterfind("v")]
    return parse_rows(lines, 3 * count, where, "Born effective charges").reshape(count, 3, 3)


def _parse_vasprun_epsilon(calculation: Element, where: str) -> np.ndarray | None:
    """Parse the electronic dielectric tensor; return None if there is none."""
    for name in _XML_EPSILON:
        lines = [v.text for v in calculation.iterfind(f"varray[@name='{name}']/v")]
        if lines:
            return parse_rows(lines, 3, where, "dielectric tensor")
    return None
