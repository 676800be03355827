"""Picture of a trajectory in an electric field."""

import os

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.response.dynamics.verlet import Observables
from equivar_jax.response.units import KILOVOLT_PER_CM, MICROCOULOMB_PER_CM2


def draw_dynamics(
    path: str | os.PathLike[str], records: Observables, at_rest: Observables, atoms: int, label: str
) -> None:
    """Draw field, polarisation, temperature and conservation of energy against time.

    Args:
        path: File of the picture; the suffix chooses the format.
        records: Records of the trajectory.
        at_rest: Records of the same crystal at 0 K, for comparison.
        atoms: Number of atoms in the trajectory of `records`.
        label: Name of the trajectory in the legend.

    Raises:
        InputError: The picture cannot be written.
    """
    time = np.asarray(records.time)
    total = np.asarray(records.kinetic + records.potential - records.work) / atoms * 1e3
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 6.4), layout="constrained")
        field, polarisation, temperature, energy = figure.subplots(
            4, 1, sharex=True, height_ratios=(1.0, 1.8, 1.0, 1.0)
        )
        field.plot(time, np.asarray(records.field[:, 2]) * KILOVOLT_PER_CM * 1e-3, color=COLOURS[3])
        field.set_ylabel("$E_z$ (MV/cm)")
        for observed, name, style in (
            (records, label, {"color": COLOURS[0], "linewidth": 1.4}),
            (at_rest, "0 K", {"color": "black", "linewidth": 0.9, "linestyle": "--"}),
        ):
            change = np.asarray(observed.polarisation[:, 2]) * MICROCOULOMB_PER_CM2
            polarisation.plot(np.asarray(observed.time), change, label=name, **style)
        polarisation.set_ylabel("$\\Delta P_z$ (µC/cm²)")
        _legend(polarisation, 0.2)
        temperature.plot(time, np.asarray(records.temperature), color=COLOURS[2])
        temperature.set_ylabel("$T$ (K)")
        energy.plot(
            time, total - total[0], color=COLOURS[5], label="kinetic + potential $-$ work of the field"
        )
        energy.set_ylabel("$\\Delta H$ (meV/atom)")
        _legend(energy, 0.35)
        energy.set_xlabel("Time (fs)")
        for axes in (field, polarisation, temperature, energy):
            axes.yaxis.set_major_locator(MaxNLocator(4))
        energy.set_xlim(0, time[-1])
        figure.align_ylabels()
        save_figure(figure, path)


def _legend(axes: Axes, share: float) -> None:
    """Add a legend above the lines; `share` is the free space for it as a fraction of their height."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + share * (high - low))
    axes.legend(loc="upper right", ncols=2)
