"""How the weights of the package are made, with a tiny network and few structures."""

import gzip
import re
import shutil

import numpy as np
import pytest
from helpers.crystals import assert_no_absolute_path

from benchmarks.real_data import ship
from benchmarks.real_data.model_card import describe_settings
from benchmarks.real_data.sources import LICENCE, SOURCES
from equivar_jax import load
from equivar_jax.config.files import load_config
from equivar_jax.datasets import demonstration_set
from equivar_jax.hygiene.fingerprints import composition
from equivar_jax.io import read_structures, write_structures
from equivar_jax.structures import labels_of
from equivar_jax.weights import shipped_checkpoint

MEMBERS = 2

pytestmark = pytest.mark.filterwarnings(
    "ignore::equivar_jax.uncertainty.domain.DomainWarning",  # on few structures
)


def sets():
    """Small sets with the names of the real ones, whose structures have dielectric tensors but in the last."""
    crystals = [*demonstration_set(perovskites=60, li3po4=0, zro2=0, seed=1)]
    for k, atoms in enumerate(crystals):
        atoms.info["epsilon_inf"] = (3.0 + 0.05 * k) * np.eye(3)
    tested = {composition(atoms) for atoms in crystals[:6]}
    first = [atoms for atoms in crystals[:44] if composition(atoms) not in tested or atoms in crystals[:6]]
    for atoms in first:
        atoms.info["split"] = "test" if composition(atoms) in tested else "train"
    last = crystals[:3] + crystals[54:]
    for atoms in last:
        atoms.info.pop("epsilon_inf", None) if atoms not in first else None
    return {"phonondb": first, "phonon-dfpt": crystals[30:56], "mp-dielectric": last}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory, cache_folder):
    """The folder in which the command has worked, once from nothing."""
    folder = tmp_path_factory.mktemp("ship")
    for name, part in sets().items():
        write_structures(folder / f"{name}.extxyz.gz", part)
    make(folder, "--epochs", "2", "--", "--model.interactions", "1")
    return folder


def make(folder, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIVAR_DATA", str(folder))
        patch.setattr(ship, "CONFIG", "test.py")
        patch.setattr(ship, "WEIGHTS", folder / "weights")
        patch.setattr("sys.argv", ["ship", "--members", str(MEMBERS), "--runs", str(folder / "runs"), *words])
        (folder / "weights").mkdir(exist_ok=True)
        ship.main()
