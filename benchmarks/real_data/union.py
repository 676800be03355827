"""One training set of phonondb and phonon-dfpt, and the tests of compositions that it never has.

    python -m benchmarks.real_data.union runs/union

reads the folder that EQUIVAR_DATA names and writes `training.extxyz`, `validation.extxyz`, and a file for
each test part. A composition that a test part of one of the two sets has is in no training part of any file.
Both data sets are of crystals of the Materials Project, relaxed and computed anew with PBEsol, so that many
crystals are in both; of such a pair the one of phonondb stays, whose tensors are symmetrised. mp-dielectric,
which nobody may train on, is a test: of it those crystals count whose compositions the others neither train
nor validate on.
"""

import argparse
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from benchmarks.real_data.parts import data_folder, divide_set
from benchmarks.real_data.sources import SOURCES
from equivar_jax.config.schema import DataConfig
from equivar_jax.datasets.load import LabelledStructures, read_labelled
from equivar_jax.datasets.set_aside import drop_refused
from equivar_jax.hygiene.fingerprints import composition, crystal_fingerprint
from equivar_jax.hygiene.surroundings import find_surroundings
from equivar_jax.io import write_structures

PHONONDB, PHONON_DFPT, MP_DIELECTRIC = (source.name for source in SOURCES)
SAME_CRYSTAL = 0.15
"""In Å: crystals of one composition whose neighbour distances all differ by less are the same crystal,
relaxed by two codes."""
VALIDATION_FRACTION = 0.05
"""Share of the compositions of the training set that validates."""


class Union(NamedTuple):
    """The parts of the union, each a list of labelled structures."""

    training: list[Atoms]
    validation: list[Atoms]
    tests: dict[str, list[Atoms]]
    """By data set: compositions that are in neither of the other parts."""
    in_both: int
    """Crystals of phonon-dfpt that were left out since phonondb has them, too."""


def unite(folder: Path) -> Union:
    """Read and divide the sets.

    The test part of phonondb is the one that the file names, whole; of all else hygiene takes its part first.

    Args:
        folder: Where the files of the data sets are.
    """
    found, data = _read(PHONONDB, folder)
    phonondb = list(drop_refused(found.structures, found.unreadable, data.hygiene).kept)
    known, unknown, _ = divide_set(PHONON_DFPT, folder)
    tests = {
        PHONONDB: [atoms for atoms in found.structures if atoms.info["split"] == "test"],
        PHONON_DFPT: unknown,
    }
    tested = {composition(atoms) for part in tests.values() for atoms in part}
    first = [atoms for atoms in phonondb if composition(atoms) not in tested]
    second = [atoms for atoms in known if composition(atoms) not in tested]
    others = without_crystals_of(first, second)
    training, validation = divide_by_composition([*first, *others], VALIDATION_FRACTION)
    tests[MP_DIELECTRIC] = find_unknown(MP_DIELECTRIC, folder, [*training, *validation])
    return Union(training, validation, tests, len(second) - len(others))


def _read(name: str, folder: Path) -> tuple[LabelledStructures, DataConfig]:
    """Read a set, and return the settings that it was read with."""
    data = DataConfig(path=str(folder / f"{name}.extxyz.gz"))
    return read_labelled(data, data.path), data


def find_unknown(name: str, folder: Path, known: Iterable[Atoms]) -> list[Atoms]:
    """Return the structures of a set, after hygiene, whose composition none of those known has."""
    found, data = _read(name, folder)
    compositions = {composition(atoms) for atoms in known}
    kept = drop_refused(found.structures, found.unreadable, data.hygiene).kept
    return [atoms for atoms in kept if composition(atoms) not in compositions]


def without_crystals_of(known: Iterable[Atoms], structures: Sequence[Atoms]) -> list[Atoms]:
    """Return the structures that are not the same crystal as any of those known."""
    prints: dict[Hashable, list[np.ndarray]] = defaultdict(list)
    formulas = {composition(atoms) for atoms in structures}
    for atoms in known:
        if composition(atoms) in formulas:
            prints[composition(atoms)].append(crystal_fingerprint(find_surroundings(atoms)))
    others = []
    for atoms in structures:
        own = crystal_fingerprint(find_surroundings(atoms))
        if not any(np.abs(own - other).max() < SAME_CRYSTAL for other in prints[composition(atoms)]):
            others.append(atoms)
    return others


def divide_by_composition(structures: Sequence[Atoms], fraction: float) -> tuple[list[Atoms], list[Atoms]]:
    """Divide structures at random so that all of one composition are on one side."""
    compositions = [composition(atoms) for atoms in structures]
    names = sorted(set(compositions), key=repr)
    drawn = np.random.default_rng(0).permutation(len(names))[: max(1, round(fraction * len(names)))]
    chosen = {names[k] for k in drawn}
    training = [atoms for atoms, own in zip(structures, compositions, strict=True) if own not in chosen]
    validation = [atoms for atoms, own in zip(structures, compositions, strict=True) if own in chosen]
    return training, validation


def write_union(union: Union, target: Path) -> dict[str, int]:
    """Write the parts to files and return their sizes."""
    target.mkdir(parents=True, exist_ok=True)
    parts = {"training": union.training, "validation": union.validation}
    parts |= {f"test-{name}": part for name, part in union.tests.items()}
    for name, structures in parts.items():
        write_structures(target / f"{name}.extxyz", structures)
    return {name: len(structures) for name, structures in parts.items()}


def main() -> None:
    """Write the parts and print their sizes."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("target", type=Path)
    target, union = parser.parse_args().target, unite(data_folder())
    for name, count in write_union(union, target).items():
        print(f"{name}: {count}")
    print(f"crystals of phonon-dfpt that phonondb has, too: {union.in_both}")


if __name__ == "__main__":
    main()
