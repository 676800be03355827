"""What Elk writes for given Born effective charges."""

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms


def elk_set(folder: Path, atoms: Atoms, tensors: np.ndarray) -> Path:
    """The files of task 208 for tensors [atom, field, displacement], and GEOMETRY.OUT; the first file."""
    species = list(dict.fromkeys(atoms.symbols))
    order = [i for symbol in species for i in range(len(atoms)) if atoms.symbols[i] == symbol]
    assert order == list(range(len(atoms)))  # as Elk orders them
    for kind, symbol in enumerate(species, start=1):
        members = [i for i in order if atoms.symbols[i] == symbol]
        for number, atom in enumerate(members, start=1):
            for displacement in range(3):
                lines = [
                    f"{-tensors[atom, field, displacement]:18.10G} : ip = {field + 1:4d}\n"
                    for field in range(3)
                ]
                name = f"BEC_S{kind:02d}_A{number:03d}_P{displacement + 1}.OUT"
                (folder / name).write_text("".join(lines))
    ase.io.write(folder / "elk.in", atoms, format="elk-in", parameters={})
    text = (folder / "elk.in").read_text()
    (folder / "elk.in").unlink()
    (folder / "GEOMETRY.OUT").write_text(text)
    return folder / "BEC_S01_A001_P1.OUT"
