"""P-E loops of any crystal with any potential, with error bars from several runs.

    equivar response hysteresis BaTiO3.cif --potential sevenn --amplitude 5000 -o loop.png

Every run has a file of its own, `loop-1.traj` and so on, from which an interrupted run goes on. What is
written: `loop.png`, the numbers as `loop.json`, and the points as `loop.csv`. Signs: a positive field pushes
ions of positive charge along `--direction`; P is the component along it, relative to the structure that was
given.
"""

import argparse
import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from jaxtyping import Float

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.calculators.potentials import check_potential, load_potential
from equivar_jax.errors import InputError
from equivar_jax.figures import check_picture
from equivar_jax.io import read_structures
from equivar_jax.io.files import open_for_writing
from equivar_jax.prediction.loading import load
from equivar_jax.progress import ProgressBar
from equivar_jax.response.options import POINTS, RELAXATION_STEPS
from equivar_jax.response.polarisation.displacements import check_frames
from equivar_jax.response.polarisation.driving import Driven, Driving, drive
from equivar_jax.response.polarisation.loop_report import (
    LoopFigures,
    describe_loops,
    draw_loops,
    loop_numbers,
    measure_loop,
)
from equivar_jax.response.polarisation.path_report import describe_method
from equivar_jax.response.polarisation.protocols import unit_vector
from equivar_jax.response.units import KILOVOLT_PER_CM, MICROCOULOMB_PER_CM2
from equivar_jax.structures import BEC, source


def run_with_potential(options: argparse.Namespace) -> None:
    """Drive a crystal through loops with a potential; write picture, numbers and table."""
    _check(options)
    picture = Path(options.output)
    check_picture(picture)
    structures = read_structures(options.structure)
    if len(structures) != 1:
        raise InputError(f"{options.structure}: {len(structures)} structures; give a file with exactly one")
    check_frames(structures)
    calculator = load_potential(options.potential)
    atoms, cell = _prepare(structures[0], calculator, options)
    charges, of = _charges_of(calculator, options)
    runs = [_driving(atoms, options, of, number) for number in range(1, options.runs + 1)]
    print(
        f"{source(structures[0])}: {len(atoms)} atoms, {options.runs} runs of {runs[0].total} points at "
        f"{options.temperature:g} K; Born charges of {of}"
    )
    with ProgressBar(total=options.runs * (runs[0].total + 1), desc="loops", unit="point") as bar:
        driven = [drive(atoms, calculator, charges, one, _file_of(picture, one), bar.update) for one in runs]
    along = unit_vector(options.direction)
    fields = np.array([one.field @ along for one in driven])
    polarisations = np.array([one.polarisation @ along for one in driven])
    lag = 0.0 if options.temperature else _lag(make_charge_function(charges)(atoms), along, options)
    figures = [
        _figures(field[runs[0].last_cycle], polarisation[runs[0].last_cycle], lag)
        for field, polarisation in zip(fields, polarisations, strict=True)
    ]
    numbers = {
        "structure": source(structures[0]),
        "potential": options.potential,
        "born_charges": of,
        "atoms": len(atoms),
        "cell": options.cell,
        "cell_vectors_A": cell.tolist(),
        "temperature_K": options.temperature,
        "wave_form": options.wave_form,
        "amplitude_kV_per_cm": options.amplitude,
        "direction": along.tolist(),
        "period_ps": options.period if options.temperature else None,
        "cycles": options.cycles,
        "friction_per_ps": options.friction if options.temperature else None,
        "timestep_fs": runs[0].timestep if options.temperature else None,
        "seed": options.seed,
        "polarisation_from": describe_method(driven[0].method),
        **loop_numbers(figures),
        "field_kV_per_cm": (fields.mean(axis=0) * KILOVOLT_PER_CM).tolist(),
        "polarisation_uC_per_cm2": (polarisations * MICROCOULOMB_PER_CM2).tolist(),
    }
    table = picture.with_suffix(".csv")
    _write_points(table, driven, along)
    with open_for_writing(picture.with_suffix(".json")) as handle:
        handle.write(json.dumps(numbers, indent=1) + "\n")
    draw_loops(picture, fields, polarisations, figures, runs[0].last_cycle.start)
    print(describe_loops(figures))
    print(f"polarisation: {describe_method(driven[0].method)}")
    print("a small cell switches homogeneously; real crystals by domain walls, in far lower fields")
    print(f"{picture}, {picture.with_suffix('.json')} and {table}: {runs[0].total + 1} points of each run")


def _check(options: argparse.Namespace) -> None:
    """Refuse options that cannot be used."""
    if options.structure is None or options.potential is None:
        raise InputError("a loop with a potential needs both: give STRUCTURE and --potential NAME")
    if options.example:
        raise InputError("--example is of a model crystal; leave it out, or STRUCTURE and --potential")
    if options.amplitude is None:
        raise InputError("give the --amplitude of the field in kV/cm; a few thousand switch small cells")
    options.points = POINTS if options.points is None else options.points
    for name, least in (("points", 4), ("cycles", 1), ("runs", 1), ("repeat", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise InputError(f"--{name} {getattr(options, name)}: give {least} or more")
    for name in ("amplitude", "period", "friction", "largest_force", "timestep"):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"--{name.replace('_', '-')} {value}: give a positive number")
    for name in ("temperature", "rattle"):
        value = getattr(options, name)
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"--{name} {value}: give 0 or more")
    unit_vector(options.direction)


def _prepare(
    atoms: Atoms, calculator: BaseCalculator, options: argparse.Namespace
) -> tuple[Atoms, Float[np.ndarray, "3 3"]]:
    """Relax the cell if that is asked for, and repeat it; return the crystal, and the cell before that."""
    plain = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True, masses=atoms.get_masses())
    plain.info["source"] = source(atoms)
    check_potential(calculator, plain, options.potential)
    if options.cell != "fixed":
        if "stress" not in calculator.implemented_properties:
            raise InputError(
                f"--cell {options.cell}: potential {options.potential} has no stress; give --cell fixed"
            )
        plain.calc = calculator
        if not FIRE(FrechetCellFilter(plain), logfile=None).run(
            fmax=options.largest_force, steps=RELAXATION_STEPS
        ):
            raise InputError(
                f"{source(atoms)}: the cell is not relaxed after {RELAXATION_STEPS} steps; raise "
                "--largest-force, or give a relaxed structure and --cell fixed"
            )
        plain.calc = None
    return plain.repeat([options.repeat] * 3), plain.cell.array.copy()


def _charges_of(calculator: BaseCalculator, options: argparse.Namespace) -> tuple[Charges, str]:
    """Choose the charges: of the named model, else of the potential, else of the weights of the package."""
    if options.checkpoint is None and BEC in calculator.implemented_properties:
        return calculator, "the potential"
    model = load(options.checkpoint)
    return EquivarCalculator(model, allow_unseen=options.allow_unseen), options.checkpoint or "the package"


def _driving(atoms: Atoms, options: argparse.Namespace, charges: str, number: int) -> Driving:
    """Make the protocol of a run from the command line."""
    timestep = options.timestep or (0.5 if (atoms.numbers == 1).any() else 1.0)
    driving = Driving(
        potential=options.potential,
        charges=charges,
        wave_form=options.wave_form,
        amplitude=options.amplitude / KILOVOLT_PER_CM,
        direction=tuple(options.direction),
        points=options.points,
        cycles=options.cycles,
        temperature=options.temperature,
        period=1e3 * options.period,
        timestep=timestep,
        friction=1e-3 * options.friction,
        largest_force=options.largest_force,
        rattle=options.rattle,
        seed=options.seed,
        repeat=number,
        cell_moves=options.cell == "move",
    )
    if driving.temperature and driving.interval < timestep:
        raise InputError(
            f"{4 * driving.points} points in a period of {driving.period:g} fs and steps of {timestep:g} fs; "
            "give fewer --points or a longer --period"
        )
    return driving


def _file_of(picture: Path, driving: Driving) -> Path:
    """Return the file of a run, beside the picture."""
    return picture.with_name(f"{picture.stem}-{driving.repeat}.traj")


def _lag(
    tensors: Float[np.ndarray, "atoms 3 3"], along: Float[np.ndarray, "3"], options: argparse.Namespace
) -> float:
    """Return the field in V/Å whose force on every atom is below the one at which a relaxation ends.

    Relaxed atoms may lag behind the field by so much, which opens the loop of any dielectric.
    """
    strongest = np.linalg.norm(np.einsum("a,iab->ib", along, tensors), axis=1).max()
    return float(options.largest_force / strongest) if strongest else 0.0


def _figures(
    field: Float[np.ndarray, " points"], polarisation: Float[np.ndarray, " points"], lag: float
) -> LoopFigures | str:
    """Measure a loop; return the reason if it is none, or opened by no more than `lag` in V/Å."""
    try:
        found = measure_loop(field, polarisation)
    except InputError as error:
        return str(error)
    coercive = (found.coercive_field[1] - found.coercive_field[0]) / 2
    if abs(coercive) > lag:
        return found
    return (
        f"no hysteresis beyond what unfinished relaxations make: it is {abs(coercive) * KILOVOLT_PER_CM:.3g} "
        f"kV/cm wide, and atoms may lag by {lag * KILOVOLT_PER_CM:.3g} kV/cm; lower --largest-force, or "
        "raise the amplitude"
    )


def _write_points(path: Path, driven: Sequence[Driven], along: Float[np.ndarray, "3"]) -> None:
    """Write one line for each point; every column ends in its unit.

    Columns: `point`; `field_kV/cm` along the direction; `P_uC/cm2`, the mean of the runs along the direction,
    and `error_uC/cm2`, its standard error, empty for one run; `Px_uC/cm2` to `Pz_uC/cm2`, the mean; then
    `P1_uC/cm2` and so on, that of each run along the direction.
    """
    every = np.array([one.polarisation for one in driven]) * MICROCOULOMB_PER_CM2
    fields = np.mean([one.field @ along for one in driven], axis=0) * KILOVOLT_PER_CM
    each = every @ along
    error = np.std(each, axis=0, ddof=1) / math.sqrt(len(each)) if len(each) > 1 else None
    rows: list[list[Any]] = []
    for k, field in enumerate(fields.tolist()):
        own = "" if error is None else repr(float(error[k]))
        means = [float(each[:, k].mean()), own, *every[:, k].mean(axis=0).tolist()]
        rows.append([k, field, *means, *each[:, k].tolist()])
    with open_for_writing(path) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(
            ["point", "field_kV/cm", "P_uC/cm2", "error_uC/cm2", *(f"P{axis}_uC/cm2" for axis in "xyz")]
            + [f"P{number}_uC/cm2" for number in range(1, len(driven) + 1)]
        )
        writer.writerows(rows)
