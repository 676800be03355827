"""Small files of every text format, and how to damage them."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import ase.io
import numpy as np
import zstandard
from ase import Atoms

from equivar_jax.io import write_structures
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import born_effective_charges, with_born_effective_charges
from helpers import engine_files, quantum_espresso_files, vasp_files
from helpers.dipole import crystal_and_tensors
from helpers.phonopy_files import phonopy_file


def labelled(scale: float = 1.0) -> Atoms:
    atoms, tensors = crystal_and_tensors()
    atoms.info["epsilon_inf"] = np.diag([5.0, 6.0, 7.0])
    return with_born_effective_charges(atoms, scale * (tensors - tensors.mean(axis=0)))


def extxyz(folder: Path) -> Path:
    frames = [labelled(), labelled(2.0), labelled(3.0)]
    frames[1].arrays["site"] = np.array(["a_1", "b", "c", "d", "e"])
    write_structures(folder / "a.extxyz", frames)
    return folder / "a.extxyz"


def training(folder: Path) -> Path:
    atoms = labelled().copy()
    atoms.info["target"] = born_effective_charges(labelled()).reshape(5, 9)
    atoms.info["id"] = "mp-1"
    write_structures(folder / "training.xyz", [atoms, atoms])
    return folder / "training.xyz"


def json_database(folder: Path) -> Path:
    ase.io.write(folder / "a.json", [labelled(), labelled(2.0)])
    return folder / "a.json"


def born(folder: Path) -> Path:
    ase.io.write(folder / "POSCAR", labelled(), direct=True)
    write_structures(folder / "BORN", labelled())
    return folder / "BORN"


def phonopy_yaml(folder: Path) -> Path:
    return phonopy_file(folder / "phonopy_params.yaml", labelled(), born_effective_charges(labelled()))


def text_file(name: str, text: Callable[[], str]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text(), encoding="iso-8859-1")
        return folder / name

    return make


def structure_file(name: str, form: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        ase.io.write(folder / name, labelled(), format=form)
        return folder / name

    return make


def vasprun_text() -> str:
    return vasp_files.vasprun_text([vasp_files.calculation_xml(vasp_files.CRYSTAL, vasp_files.RESPONSE)])


def outcar_text() -> str:
    step = vasp_files.step_text(vasp_files.CRYSTAL, tensors=vasp_files.full_tensors())
    return vasp_files.outcar_text([step])


def ipi_text() -> str:
    """A frame as i-PI writes it."""
    atoms = labelled()
    cell = " ".join(f"{number:10.5f}" for number in atoms.cell.cellpar())
    rows = [f"{atom.symbol:>8} " + " ".join(f"{x:12.5e}" for x in atom.position) for atom in atoms]
    comment = f"# CELL(abcABC): {cell}  Step: 0  Bead: 0 positions{{angstrom}}  cell{{angstrom}}"
    return "\n".join([str(len(atoms)), comment, *rows]) + "\n"


def dump_text() -> str:
    """Two frames of a LAMMPS dump with elements."""
    rows = [f"{k + 1} {atom.symbol} {' '.join(map(str, atom.position))}" for k, atom in enumerate(labelled())]
    frame = f"NUMBER OF ATOMS\n{len(rows)}\nITEM: BOX BOUNDS pp pp pp\n0 4.1\n0 4.2\n0 4.3\n"
    frame += "ITEM: ATOMS id element x y z\n" + "\n".join(rows) + "\n"
    return "".join(f"ITEM: TIMESTEP\n{step}\nITEM: {frame}" for step in (0, 1))


MAKERS: dict[str, Callable[[Path], Path]] = {
    "extxyz": extxyz,
    "training": training,
    "JSON database": json_database,
    "BORN": born,
    "phonopy YAML": phonopy_yaml,
    "vasprun.xml": text_file("vasprun.xml", vasprun_text),
    "OUTCAR": text_file("OUTCAR", outcar_text),
    "ph.x": text_file("ph.out", quantum_espresso_files.ph_text),
    "dynamical matrix": text_file("a.dyn1", quantum_espresso_files.matrix_text),
    "CASTEP": text_file("a.castep", engine_files.castep_text),
    "CRYSTAL": text_file("crystal.out", engine_files.crystal_text),
    "CP2K": text_file("cp2k.out", engine_files.cp2k_text),
    "POSCAR": structure_file("POSCAR", "vasp"),
    "CIF": structure_file("a.cif", "cif"),
    "XDATCAR": structure_file("XDATCAR", "vasp-xdatcar"),
    "PDB": structure_file("a.pdb", "proteindatabank"),
    "XSF": structure_file("a.xsf", "xsf"),
    "i-PI": text_file("run.pos_0.xyz", ipi_text),
    "LAMMPS dump": text_file("md.lammpstrj", dump_text),
}
OPTIONS = {"training": ReadOptions(first_index="field")}
WITHOUT_LABEL = {"POSCAR", "CIF", "XDATCAR", "PDB", "XSF", "i-PI", "LAMMPS dump"}
COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
CHANGES = ["bit", "replace", "insert", "delete", "copy", "swap", "cut"]
ODDS = [0.3, 0.25, 0.1, 0.1, 0.1, 0.1, 0.05]


def damaged(content: bytes, rng: np.random.Generator, most: int = 4) -> bytes:
    """One to a few random changes."""
    mutated = bytearray(content)
    for _ in range(rng.integers(1, most + 1)):
        place, length = int(rng.integers(len(mutated) + 1)), int(rng.integers(1, 30))
        byte = rng.choice([rng.integers(256), rng.choice(list(b' \n\t"0123456789:=-+.,<>eETFnaif_*{}[]#'))])
        match rng.choice(
            ["bit", "replace", "insert", "delete", "copy", "swap", "cut"], p=[0.3, 0.25, *[0.1] * 4, 0.05]
        ):
            case "bit" if place < len(mutated):
                mutated[place] ^= 1 << int(rng.integers(8))
            case "replace":
                mutated[place : place + 1] = bytes([byte])
            case "insert":
                mutated[place:place] = bytes([byte])
            case "delete":
                del mutated[place : place + length]
            case "copy":
                mutated[place:place] = mutated[place : place + length]
            case "swap":
                start, end = mutated[place : place + length], mutated[place + length : place + 2 * length]
                mutated[place : place + 2 * length] = end + start
            case "cut":
                del mutated[place:]
        if not mutated:
            return b"\n"
    return bytes(mutated)


def damaged_words(content: bytes, rng: np.random.Generator, most: int = 4) -> bytes:
    """One to a few random changes of whole lines and words."""
    lines = content.split(b"\n")
    for _ in range(rng.integers(1, most + 1)):
        first, second = (int(rng.integers(len(lines))) for _ in range(2))
        words = lines[first].split(b" ")
        place = int(rng.integers(len(words)))
        match rng.choice(["line away", "line again", "lines swapped", "word away", "word again", "word"]):
            case "line away" if len(lines) > 1:
                del lines[first]
                continue
            case "line again":
                lines.insert(second, lines[first])
                continue
            case "lines swapped":
                lines[first], lines[second] = lines[second], lines[first]
                continue
            case "word away":
                del words[place]
            case "word again":
                words.insert(place, words[place])
            case "word":
                words[place] = rng.choice(
                    [b"nan", b"inf", b"1e999", b"****", b"0", b"-1", b"1_0", b"2.5", b""]
                )
        lines[first] = b" ".join(words)
    return b"\n".join(lines)
