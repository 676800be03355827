"""What gpaw.borncharges writes for given Born effective charges."""

import json
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms


def charges_json(atoms: Atoms, tensors: np.ndarray, **changes) -> str:
    """Tensors [atom, field, displacement] as GPAW 22.8 writes them."""
    content = {"Z_avv": tensors.tolist(), "indices_a": list(range(len(atoms))), "sym_a": list(atoms.symbols)}
    return json.dumps({**content, **changes})


def gpaw_folder(folder: Path, atoms: Atoms, tensors: np.ndarray) -> Path:
    """The file of charges, and a structure beside it."""
    ase.io.write(folder / "structure.json", atoms)
    (folder / "borncharges-0.01.json").write_text(charges_json(atoms, tensors))
    return folder / "borncharges-0.01.json"
