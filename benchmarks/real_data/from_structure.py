"""From a structure alone to spectra, beside DFPT: the share of the potential and that of the charges.

    python -m benchmarks.real_data.from_structure --potential sevenn

For the first stable crystals of phonondb with forces (below the folder that EQUIVAR_DATA names) with at most
12 atoms in the primitive cell, it computes transverse and longitudinal modes at Gamma and the static
dielectric constant from

- DFPT's forces and the network's tensors,
- the potential's structure and forces, and DFPT's tensors,
- the potential's structure and forces, and the network's tensors, as `equivar response crystal` does,

and compares each with DFPT alone. The potential relaxes atoms and cell from DFPT's structure. The result is a
JSON file, and a table.
"""

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float

from benchmarks.common.machine import describe_machine
from benchmarks.common.tables import markdown_table
from benchmarks.common.timing import RESULTS
from benchmarks.real_data.from_charges.comparison import Tensors, respond
from benchmarks.real_data.from_charges.crystals import FOLDER, Crystal, read_crystals
from benchmarks.real_data.parts import data_folder
from equivar_jax import load
from equivar_jax.calculators.potentials import load_potential
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.prediction.dielectric import electronic_dielectric_tensor
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.crystal import Settings, make_forces
from equivar_jax.response.phonons.gamma import GammaModes, gamma_modes
from equivar_jax.response.phonons.gamma_input import force_constants_at_gamma
from equivar_jax.response.phonons.phonopy_crystal import atoms_of
from equivar_jax.structures import epsilon_inf
from equivar_jax.uncertainty.domain import DomainWarning

PROGRAM = "python -m benchmarks.real_data.from_structure"
OUTPUT = RESULTS / "from_structure.json"
LARGEST, COUNT = 12, 10
"""Atoms of the primitive cell, and crystals."""
SHORTEST = 9.0
"""Shortest lattice vector of the supercells, in Å."""
WAYS = {
    "charges": "DFPT's forces, the network's charges",
    "potential": "the potential's forces, DFPT's charges",
    "both": "the potential's forces, the network's charges",
}


class Answer(NamedTuple):
    """What is compared."""

    transverse: Float[np.ndarray, " modes"]
    """In cm⁻¹, ascending."""
    longitudinal: Float[np.ndarray, "directions modes"]
    """In cm⁻¹, ascending, for each Cartesian direction."""
    static: float
    """A third of the trace of the static dielectric tensor."""


def answer(modes: GammaModes, volume: float, tensors: Tensors) -> Answer:
    """Compute modes and the static constant."""
    found = respond(modes, volume, tensors)
    return Answer(modes.wavenumbers, found.longitudinal, found.static)


def errors(found: Answer, reference: Answer) -> dict[str, float]:
    """Compare with DFPT: mean absolute differences of TO and LO, relative one of the static constant."""
    return {
        "transverse_per_cm": float(np.abs(found.transverse - reference.transverse).mean()),
        "longitudinal_per_cm": float(np.abs(found.longitudinal - reference.longitudinal).mean()),
        "transverse_shift": float(found.transverse.sum() / reference.transverse.sum() - 1),
        "static": abs(found.static / reference.static - 1),
    }


def network_tensors(predictor: Predictor, atoms: Any) -> Tensors:
    """Predict charges and eps_inf."""
    return Tensors(predictor.predict(atoms), electronic_dielectric_tensor(predictor, atoms))


def compare(crystal: Crystal, predictor: Predictor, calculator: BaseCalculator) -> dict[str, Any]:
    """Compare all ways of one crystal with DFPT.

    Raises:
        InputError: a mode of DFPT is unstable, or the potential fails.
    """
    atoms, known = crystal.phonons.atoms, epsilon_inf(crystal.phonons.atoms)
    assert known is not None  # the files have it
    modes = gamma_modes(atoms, crystal.phonons.force_constants)
    modes.require_stable(crystal.name)
    theirs = Tensors(crystal.phonons.charges, known)
    reference = answer(modes, atoms.get_volume(), theirs)
    row: dict[str, Any] = {"name": crystal.name, "formula": atoms.get_chemical_formula()}
    row["atoms"] = len(atoms)
    ways = {"charges": answer(modes, atoms.get_volume(), network_tensors(predictor, atoms))}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        forces = make_forces(atoms, calculator, Settings(shortest=SHORTEST), Path(folder))
    relaxed = atoms_of(forces.phonon.primitive)
    if list(relaxed.symbols) != list(atoms.symbols):
        raise InputError(f"{crystal.name}: phonopy reordered the atoms of the relaxed cell")
    of_potential = gamma_modes(relaxed, force_constants_at_gamma(forces.phonon))
    row["seconds_of_potential"] = time.monotonic() - started
    row["displacements"], row["supercell"] = len(forces.phonon.displacements), len(forces.phonon.supercell)
    row["volume_change"] = relaxed.get_volume() / atoms.get_volume() - 1
    if of_potential.wavenumbers[0] <= 1:
        row["unstable_per_cm"] = float(of_potential.wavenumbers[0])
    else:
        volume = relaxed.get_volume()
        ways["potential"] = answer(of_potential, volume, theirs)
        ways["both"] = answer(of_potential, volume, network_tensors(predictor, relaxed))
    row["dfpt"] = {"static": reference.static, "highest_LO_per_cm": float(reference.longitudinal.max())}
    row["errors"] = {name: errors(found, reference) for name, found in ways.items()}
    return row


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Take medians over the crystals on which every way has an answer."""
    complete = [row for row in rows if len(row["errors"]) == len(WAYS)]
    return {
        way: {
            name: float(np.median([row["errors"][way][name] for row in complete]))
            for name in complete[0]["errors"][way]
        }
        for way in WAYS
    }


def table(result: dict[str, Any]) -> str:
    """Format the medians as a Markdown table."""
    header = [f"median over {result['complete']} crystals", "TO, cm⁻¹", "LO, cm⁻¹", "TO, shift", "static"]
    rows = []
    for way, text in WAYS.items():
        found = result["medians"][way]
        numbers = [f"{found[name]:.1f}" for name in ("transverse_per_cm", "longitudinal_per_cm")]
        shares = [f"{100 * found['transverse_shift']:+.1f} %", f"{100 * found['static']:.1f} %"]
        rows.append([text, *numbers, *shares])
    return markdown_table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the result file, and print the table."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__, formatter_class=layout)
    parser.add_argument("--potential", required=True, help="as of equivar response crystal")
    parser.add_argument("--count", type=int, default=COUNT, help="crystals (default %(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help="default: %(default)s")
    options = parser.parse_args(arguments)
    with plain_messages(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        predictor, calculator = load(), load_potential(options.potential)
        rows: list[dict[str, Any]] = []
        left_out: dict[str, str] = {}
        for crystal in read_crystals(data_folder() / FOLDER):
            if len(crystal.phonons.atoms) > LARGEST or len(rows) == options.count:
                continue
            try:
                predictor.check_elements(crystal.phonons.atoms, allow_unseen=False)
                rows.append(compare(crystal, predictor, calculator))
            except InputError as error:
                left_out[crystal.name] = str(error)
                continue
            print(json.dumps(rows[-1]), flush=True)
        result = {
            "command": f"{PROGRAM} --potential {options.potential}",
            "machine": describe_machine(),
            "complete": sum(len(row["errors"]) == len(WAYS) for row in rows),
            "medians": summarise(rows),
            "by_crystal": rows,
            "left_out": left_out,
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(table(result))


if __name__ == "__main__":
    main()
