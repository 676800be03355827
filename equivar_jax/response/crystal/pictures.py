"""Pictures of densities of states, thermal properties and infrared spectra."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from equivar_jax.figures import COLOURS, STYLE, save_figure


def plot_dos(results: dict[str, Any], path: Path) -> None:
    """Draw the density of states, and the share of each element.

    Args:
        results: What `results.collect` returns.
        path: File of the picture.
    """
    found = results["dos"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        grid = found["wavenumber_per_cm"]
        axes.fill_between(grid, found["total"], color="0.88", linewidth=0, label="all atoms")
        for (symbol, values), colour in zip(found["elements"].items(), COLOURS, strict=False):
            axes.plot(grid, values, color=colour, linewidth=1.2, label=symbol)
        axes.set(xlabel="Wavenumber (cm$^{-1}$)", ylabel="States per cell and cm$^{-1}$")
        occupied = [wavenumber for wavenumber, states in zip(grid, found["total"], strict=True) if states > 0]
        axes.set_xlim(min(occupied[0], 0.0), grid[-1])
        axes.set_ylim(bottom=0.0)
        figure.legend(loc="outside upper center", ncols=5)
        save_figure(figure, path)


def plot_infrared(results: dict[str, Any], path: Path) -> None:
    """Draw the infrared absorption of the harmonic crystal.

    Args:
        results: What `results.collect` returns, of a crystal that is stable at Gamma.
        path: File of the picture.
    """
    found = results["infrared"]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        grid = np.asarray(found["wavenumber_per_cm"])
        axes.plot(grid, found["absorption_per_cm"], color=COLOURS[0], linewidth=1.4)
        axes.set(xlabel="Wavenumber (cm$^{-1}$)", ylabel=r"$\alpha n$ (cm$^{-1}$)")
        axes.set_xlim(0.0, grid[-1])
        axes.set_ylim(bottom=0.0)
        axes.set_title(
            f"harmonic lines, {found['resolution_per_cm']:g} cm$^{{-1}}$ wide, mean over directions",
            fontsize="small",
        )
        save_figure(figure, path)


def plot_thermal(results: dict[str, Any], path: Path) -> None:
    """Draw heat capacity, entropy and free energy of a mole of primitive cells.

    Args:
        results: What `results.collect` returns, of a stable crystal.
        path: File of the picture.
    """
    found = results["thermal"]
    temperatures = found["temperature_K"]
    panels = (
        ("heat_capacity_J_per_K_per_mol", "$C_V$ (J/(K mol))"),
        ("entropy_J_per_K_per_mol", "$S$ (J/(K mol))"),
        ("free_energy_kJ_per_mol", "$F$ (kJ/mol)"),
    )
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        for axes, (name, label), colour in zip(figure.subplots(1, 3), panels, COLOURS, strict=False):
            axes.plot(temperatures, found[name], color=colour, linewidth=1.4)
            axes.set(xlabel="Temperature (K)", ylabel=label)
            axes.set_xlim(temperatures[0], temperatures[-1])
        save_figure(figure, path)
