"""The infrared spectrum of tetragonal BaTiO3: dynamics with a published potential, and the shipped charges.

    python -m benchmarks.real_data.infrared --folder FOLDER

`equivar response infrared` runs in FOLDER, with a cell as measured near 300 K, which is held, and goes on
there after an interruption. What is kept: bands of the mean spectrum, how sure they are, and whether the
crystal stayed as polar as it was, beside resonances fitted to measured reflectivity. The trajectories are
short: this shows what a user gets in an hour or two of one core, not what a potential can do.
"""

import argparse
import contextlib
import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from ase.io.trajectory import Trajectory
from jaxtyping import Float
from scipy.signal import find_peaks

from benchmarks.common.machine import describe_machine
from benchmarks.common.timing import RESULTS
from equivar_jax.__main__ import main as equivar
from equivar_jax.errors import plain_messages

OUTPUT = RESULTS / "infrared_barium_titanate.json"
MEASURED = {"resonances_per_cm": [12, 182, 491], "source": "J. M. Ballantyne, Phys. Rev. 136, A429 (1964)"}
"""Of one domain at room temperature; the first is damped so strongly that it is hardly one."""
CELL = (3.9909, 3.9909, 4.0352)
"""In Å; tetragonal, with c/a = 1.011. It and the places of the atoms are near those measured at 300 K (G. H.
Kwei and others, J. Phys. Chem. 97, 2368 (1993))."""
PLACES = [[0, 0, 0], [0.5, 0.5, 0.5224], [0.5, 0.5, -0.0244], [0.5, 0, 0.4895], [0, 0.5, 0.4895]]
WORDS = (
    "response infrared BaTiO3.extxyz --potential {potential} --temperature 300 --supercell 2 --timestep 4 "
    "--trajectories {trajectories} --equilibration 0.24 --window hann --resolution 40 --every 2 "
    "-o barium_titanate.png"
)
VISIBLE = 0.05
"""Bands that rise less above their surroundings, as a share of the strongest, are not named."""


def barium_titanate() -> Atoms:
    """Make one cell."""
    return Atoms("BaTiO3", scaled_positions=PLACES, cell=CELL, pbc=True)


def bands(
    wavenumbers: Float[np.ndarray, " points"], values: Float[np.ndarray, " points"]
) -> list[dict[str, float]]:
    """Find the bands of a spectrum: where their maxima are, and how high as a share of the highest."""
    top = values.max()
    found, _ = find_peaks(values, prominence=VISIBLE * top)
    return [{"per_cm": float(wavenumbers[k]), "share": float(values[k] / top)} for k in found]


def titanium_offset(frames: list[Atoms]) -> Float[np.ndarray, "3"]:
    """Compute the mean offset of titanium from the middle of its six oxygens in Å, over cells and time."""
    first = frames[0]
    titanium = np.flatnonzero(first.numbers == 22)
    oxygen = np.flatnonzero(first.numbers == 8)
    near = [oxygen[np.argsort(first.get_distances(i, oxygen, mic=True))[:6]] for i in titanium]
    offsets = [
        -atoms.get_distances(i, around, mic=True, vector=True).mean(axis=0)
        for atoms in frames
        for i, around in zip(titanium, near, strict=True)
    ]
    return np.mean(offsets, axis=0)


def measure(folder: Path, potential: str, trajectories: int) -> dict[str, Any]:
    """Run the command in a folder, and take its bands from the table that it writes."""
    words = WORDS.format(potential=potential, trajectories=trajectories)
    with _working_in(folder):
        write("BaTiO3.extxyz", barium_titanate())
        equivar(words.split())
        numbers = json.loads(Path("barium_titanate.json").read_text())
        with Path("barium_titanate.csv").open() as file:
            header, *rows = csv.reader(file)
        spectrum = np.array([[float(value or "nan") for value in row[1:]] for row in rows])
        files = [row["file"] for one in numbers["spectra"] for row in one["trajectories"]]
        offsets = [titanium_offset(_after_equilibration(file, numbers)) for file in files]
    found: dict[str, Any] = {
        "command": f"equivar {words}",
        "cell_A": list(CELL),
        "numbers": numbers,
        "columns": header[1:],
        "spectrum": spectrum.T.tolist(),
        "bands": bands(spectrum[:, 0], spectrum[:, 1]),
        "titanium_offset_A": [offset.tolist() for offset in offsets],
        "titanium_offset_at_start_A": titanium_offset([barium_titanate().repeat(2)]).tolist(),
        "measured": MEASURED,
    }
    if spectrum.shape[1] > 2:
        highest = int(spectrum[:, 1].argmax())
        found["error_of_highest"] = float(spectrum[highest, 2] / spectrum[highest, 1])
    return found


def _after_equilibration(file: str, numbers: dict[str, Any]) -> list[Atoms]:
    """Read the frames without a thermostat."""
    thermostat = round(numbers["equilibration_fs"] / numbers["between_frames_fs"])
    with Trajectory(file) as frames:
        return [frames[k] for k in range(thermostat, len(frames))]


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Make a folder the current one inside the block."""
    before = Path.cwd()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main() -> None:
    """Read the command line, run, and keep numbers and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--folder", type=Path, required=True, help="of the trajectories")
    add("--potential", default="sevenn", help="as `equivar response infrared` takes it (%(default)s)")
    add("--trajectories", type=int, default=2, help="(%(default)s)")
    add("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    with plain_messages():
        found = measure(options.folder, options.potential, options.trajectories)
    result = {"program": "python -m benchmarks.real_data.infrared", **describe_machine(), **found}
    options.output.write_text(json.dumps(result, indent=1) + "\n")
    print(", ".join(f"{band['per_cm']:.0f} cm-1 ({band['share']:.0%})" for band in found["bands"]))
    print(options.output)


if __name__ == "__main__":
    main()
