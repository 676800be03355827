"""Small files of engines other than VASP, and how to damage their words."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from helpers import abinit_files, quantum_espresso_files
from helpers.dipole import crystal_and_tensors
from helpers.elk_files import elk_set
from helpers.gpaw_files import gpaw_folder

ATOMS, TENSORS = crystal_and_tensors()
RESPONSE = quantum_espresso_files.RESPONSE


def text_file(name: str, text: Callable[[], str]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text(), encoding="iso-8859-1")
        return folder / name

    return make


def two_runs() -> str:
    moved = ATOMS.copy()
    moved.positions[2] += [0.2, 0.0, -0.1]
    second = quantum_espresso_files.charges_text(0.5 * RESPONSE)
    return quantum_espresso_files.ph_text() + quantum_espresso_files.ph_text(second, crystal=moved)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "ph.x, two runs": text_file("ph.out", two_runs),
    "dynamical matrix, U-E": text_file(
        "a.dyn1", lambda: quantum_espresso_files.matrix_text(None, by_displacement=RESPONSE)
    ),
    "q2r.x": text_file("a.fc", quantum_espresso_files.constants_text),
    "XML of ph.x 6.0": text_file("a.dyn1.xml", lambda: quantum_espresso_files.xml_text(attributes=True)),
    "XML of ph.x 6.7": text_file("a.dyn1.xml", quantum_espresso_files.xml_text),
    "Abinit output": text_file(
        "run.abo", lambda: abinit_files.output_text(ATOMS, abinit_files.charges_text(TENSORS))
    ),
    "Abinit DDB.nc": lambda folder: abinit_files.ddb_netcdf(folder / "run_DDB.nc", ATOMS, TENSORS),
    "GPAW": lambda folder: gpaw_folder(folder, ATOMS, TENSORS),
    "Elk": lambda folder: elk_set(folder, ATOMS, TENSORS),
}
CONVERTED = {"Abinit DDB.nc"}
"""Formats whose numbers are not those of the tensors."""
_WORDS = [b"nan", b"inf", b"1e999", b"0.0", b"-1", b"7", b"0.25", b"****", b"x", b"1_0", b"3.5-310", b"\xff"]


def damaged_tokens(content: bytes, rng: np.random.Generator, most: int = 3) -> bytes:
    """One to a few words or lines replaced, left out, said twice, or exchanged."""
    unit = rb"[^\n]*\n" if rng.random() < 0.4 else rb"[^\s<>=\"]+"
    for _ in range(rng.integers(1, most + 1)):
        places = [found.span() for found in re.finditer(unit, content)]
        if len(places) < 2:
            break
        (start, end), (first, last) = (places[int(rng.integers(len(places)))] for _ in range(2))
        word, other = content[start:end], content[first:last]
        match rng.integers(5):
            case 0:
                content = content[:start] + bytes(rng.choice(np.array(_WORDS, dtype=object))) + content[end:]
            case 1:
                content = content[:start] + content[end:]
            case 2:
                content = content[:end] + b" " + word + content[end:]
            case 3:
                content = content[:start] + other + content[end:]
            case _ if end <= first:
                content = content[:start] + other + content[end:first] + word + content[last:]
    return content or b"\n"
