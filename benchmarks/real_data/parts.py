"""The parts of the real DFPT data: one to train on, and one to test on that was never tuned on.

    python -m benchmarks.real_data.parts runs/parts

reads the folder that EQUIVAR_DATA names and writes, for each set, `NAME-train.extxyz` and `NAME-test.extxyz`.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from ase import Atoms

from equivar_jax.config.schema import DataConfig
from equivar_jax.datasets.load import read_labelled
from equivar_jax.datasets.set_aside import drop_refused
from equivar_jax.datasets.splits import split
from equivar_jax.io import write_structures

TEST_FRAMES = {"BaTiO3-300K": 12, "SiO2-300K": 32}
"""Frames of one material, and how many of the last frames of the file are the test part.

Both parts are of the same states. The order in time is not known of BaTiO3, whose first frame is the ideal
crystal; it may be that frames of the two parts are neighbours. SiO2 has 101 frames at 300 K, then 59 at
600 K, each in shuffled order, so that the test part is at 600 K, and 27 frames at 600 K are trained on. What
networks do away from the state of training is measured by `benchmarks.real_data.states`.
"""
TEST_FRACTION = {"phonon-dfpt": 0.1, "mp-dielectric": 0.1}
"""Sets of many compositions, and which share of the compositions, after hygiene, is the test part."""
FILES = {name: f"{name}.extxyz.gz" for name in (*TEST_FRAMES, *TEST_FRACTION)}


def data_folder() -> Path:
    """Return the folder of the real data, which EQUIVAR_DATA names.

    Raises:
        SystemExit: EQUIVAR_DATA does not name a folder.
    """
    folder = os.environ.get("EQUIVAR_DATA", "")
    if not folder or not Path(folder).is_dir():
        raise SystemExit("EQUIVAR_DATA does not name a folder; set it to the folder of the DFPT data")
    return Path(folder)


def divide_set(name: str, folder: Path) -> tuple[list[Atoms], list[Atoms], int]:
    """Return training and test part of a set, and how many structures hygiene refused before."""
    data = DataConfig(
        path=str(folder / FILES[name]), split="composition", validation_fraction=TEST_FRACTION.get(name, 0.5)
    )
    found = read_labelled(data, data.path)
    if name in TEST_FRAMES:
        frames = list(found.structures)
        return frames[: -TEST_FRAMES[name]], frames[-TEST_FRAMES[name] :], 0
    checked = drop_refused(found.structures, found.unreadable, data.hygiene).kept
    divided = split(checked, data)
    refused = len(found.structures) + len(found.unreadable) - len(checked)
    return [checked[k] for k in divided.training], [checked[k] for k in divided.validation], refused


def write_parts(target: Path, folder: Path, names: Iterable[str] = FILES) -> dict[str, dict[str, int]]:
    """Write the parts of the named sets to files and return their sizes."""
    target.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name in names:
        training, test, refused = divide_set(name, folder)
        for part, structures in (("train", training), ("test", test)):
            write_structures(target / f"{name}-{part}.extxyz", structures)
        sizes[name] = {"train": len(training), "test": len(test), "set aside": refused}
    return sizes


def main() -> None:
    """Write the parts of all sets and print their sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    for name, counts in write_parts(parser.parse_args().target, data_folder()).items():
        print(name, ", ".join(f"{count} {part}" for part, count in counts.items()))


if __name__ == "__main__":
    main()
