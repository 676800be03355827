"""The files of a crystal's response: for people, for programs, and for phonopy."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from equivar_jax.io.files import open_for_writing
from equivar_jax.response.crystal.pictures import plot_dos, plot_infrared, plot_thermal
from equivar_jax.response.crystal.report import write_report
from equivar_jax.response.crystal.results import Crystal
from equivar_jax.response.optics.dielectric_picture import AXES, plot_dielectric_function
from equivar_jax.response.optics.permittivity import active_lines
from equivar_jax.response.splitting.bands import plot_bands
from equivar_jax.response.splitting.born_outputs import write_output


def write_outputs(crystal: Crystal, results: dict[str, Any], folder: Path) -> list[str]:
    """Write every file, and return their names.

    Args:
        crystal: The crystal.
        results: What `results.collect` returns, with what the command adds.
        folder: Where to write; it is there.
    """
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    with open_for_writing(folder / "results.json") as handle:
        handle.write(json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_output(folder / "phonopy_params.yaml", ".yaml", crystal.phonon, force_constants=True)
    write_output(folder / "BORN", ".born", crystal.phonon, force_constants=False)
    _write_tables(results, folder)
    plot_bands(crystal.phonon, folder / "bands.png")
    plot_dos(results, folder / "dos.png")
    if results["thermal"] is not None:
        plot_thermal(results, folder / "thermal.png")
    if results["dielectric_function"] is not None:
        plot_infrared(results, folder / "infrared.png")
        _plot_dielectric(crystal, results, folder / "dielectric.png")
    write_report(results, folder / "report.html")
    return sorted(
        path.name
        for path in folder.iterdir()
        if before.get(path.name) != path.stat().st_mtime_ns and path.is_file()
    )


def _plot_dielectric(crystal: Crystal, results: dict[str, Any], path: Path) -> None:
    """Draw the dielectric function along the axes."""
    found, charges = results["dielectric_function"], crystal.tensors.charges
    grid = np.asarray(found["wavenumber_per_cm"])
    function = np.zeros((len(grid), 3, 3), dtype=np.complex128)
    for number, axis in enumerate(AXES):
        function[:, number, number] = np.asarray(found["real"][axis]) + 1j * np.asarray(
            found["imaginary"][axis]
        )
    transverse = [active_lines(crystal.modes, charges, direction) for direction in np.eye(3)]
    longitudinal = [np.asarray(found["lines_per_cm"]) for found in results["longitudinal"]]
    plot_dielectric_function(grid, function, transverse, longitudinal, path)


def _write_tables(results: dict[str, Any], folder: Path) -> None:
    """Write CSV files of everything that has columns; the first line has names with units."""
    modes = results["modes"]
    plain = ("wavenumber_per_cm", "frequency_THz", "irrep", "infrared_active", "intensity_km_per_mol")
    _write(
        folder / "modes.csv",
        [
            *plain,
            "intensity_std_km_per_mol",
            *(f"mode_effective_charge_{axis}_e_per_sqrt_u" for axis in AXES),
        ],
        (
            [
                *(mode[name] for name in plain),
                mode["intensity_std_km_per_mol"],
                *mode["mode_effective_charge_e_per_sqrt_u"],
            ]
            for mode in modes
        ),
    )
    segments = results["bands"]["segments"]
    bands = len(segments[0]["wavenumbers_per_cm"][0])
    _write(
        folder / "bands.csv",
        ["segment", "distance_per_A", *(f"band_{number}_per_cm" for number in range(1, bands + 1))],
        (
            [f"{segment['from']}-{segment['to']}", distance, *row]
            for segment in segments
            for distance, row in zip(segment["distance_per_A"], segment["wavenumbers_per_cm"], strict=True)
        ),
    )
    dos = results["dos"]
    columns = {"wavenumber_per_cm": dos["wavenumber_per_cm"], "total": dos["total"], **dos["elements"]}
    _write_columns(folder / "dos.csv", columns)
    if results["thermal"] is not None:
        _write_columns(folder / "thermal.csv", results["thermal"])
    if results["dielectric_function"] is not None:
        function = results["dielectric_function"]
        columns = {"wavenumber_per_cm": function["wavenumber_per_cm"]}
        for part in ("real", "imaginary", "reflectivity"):
            columns |= {f"{part}_{axis}": function[part][axis] for axis in AXES}
        columns["infrared_absorption_per_cm"] = results["infrared"]["absorption_per_cm"]
        _write_columns(folder / "spectra.csv", columns)


def _write_columns(path: Path, columns: dict[str, Sequence[float]]) -> None:
    """Write a table of columns of one length."""
    _write(path, list(columns), zip(*columns.values(), strict=True))


def _write(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, numbers with eight digits."""
    with open_for_writing(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: Any) -> Any:
    """Format a number; None is an empty cell."""
    return f"{value:.8g}" if isinstance(value, float) else value
