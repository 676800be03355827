"""A driver of i-PI 3: it serves Born effective charges, and the dipole, as extras of each configuration.

The extras are one JSON object. `driven_dynamics` of i-PI, which moves atoms in a field, reads two keys:

- `BEC`: (3N, 3) in e; for each atom three rows, **first index the displacement**, second the field. i-PI
  computes forces `BEC @ E`, which is `F_ib = e sum_a E_a Z[i, a, b]` (`EDAIntegrator.EDAforces`, i-PI 3.3).
- `dipole`: three numbers in e bohr, V P up to a constant, where the network has the form of a polarisation.
"""

import contextlib
import json
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.symbols import Symbols
from jaxtyping import Float

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.ipi_socket import Answer, Configuration, Link, LostConnectionError
from equivar_jax.errors import InputError
from equivar_jax.structures import BEC, source

DECIMALS = 10
"""Of tensors in the extras."""
SUM_RULE = 1e-8
"""Default of i-PI's `asr_threshold`, in e an atom squared: it bounds |sum of the tensors| / N²."""


class TurnedCellWarning(UserWarning):
    """The cell of i-PI has another orientation than that of the structure."""


class Served(NamedTuple):
    """How a service ended."""

    configurations: int
    """Number of configurations that were answered."""
    is_finished: bool
    """Whether i-PI said so; otherwise it is gone."""


class Driver:
    """Computes what i-PI asks for, in i-PI's units.

    i-PI sends no species: those of the structure are taken, in its order, and its net charge
    (`info["charge"]`) and `pbc`. Positions are taken as they come. A displacement, for the dipole, is that
    from the structure, so that the dipole depends on the configuration alone, whichever driver computes it.

    Args:
        atoms: The structure.
        charges: The network.
        potential: ASE's calculator of energy and forces; None gives zero for both, for another force
            provider of i-PI to add to. A potential without stress, or a structure that is not periodic in
            all directions, gives a virial that is not a number, so that no barostat runs on it.
    """

    def __init__(self, atoms: Atoms, charges: EquivarCalculator, potential: BaseCalculator | None = None):
        self.atoms = atoms.copy()
        self.charges, self.potential = charges, potential
        self._start = atoms.positions.copy()
        self._is_first = True
        self.has_stress = (
            potential is not None and "stress" in potential.implemented_properties and bool(atoms.pbc.all())
        )

    def answer(self, given: Configuration) -> Answer:
        """Compute the answer to a configuration.

        Raises:
            InputError: the number of atoms is another, the cell is not finite, or the network or the
                potential refuses the structure.
        """
        atoms = self.atoms
        self._check_size(given)
        cell = self._cell(given.h)
        if self._is_first:
            self._warn_of_turned(cell)
        atoms.set_cell(cell)
        atoms.set_positions(given.positions * units.Bohr)
        tensors = self.charges.get_property(BEC, atoms)
        dipole = None
        if self.charges.why_no_polarisation is None:
            dipole = self.charges.cell_dipole(atoms, atoms.positions - self._start)
        energy, forces, virial = 0.0, np.zeros_like(atoms.positions), np.zeros((3, 3))
        if self.potential is not None:
            energy, forces, virial = self._mechanics(self.potential)
        return Answer(
            energy / units.Ha,
            forces * (units.Bohr / units.Ha),
            virial / units.Ha,
            format_extras(tensors, dipole),
        )

    def check_parameters(self, text: str) -> None:
        """Check what i-PI's `<parameters>` of the force field say.

        Args:
            text: As i-PI sends it, "key : value , key : value , ".

        Raises:
            InputError: `symbols` are not those of the structure, or several structures are to come at once.
        """
        given = {
            key.strip(): value.strip() for key, _, value in (part.partition(":") for part in text.split(","))
        }
        if int(given.get("batch_size", 1)) != 1:
            raise InputError(
                f"i-PI sends {given['batch_size']} structures at a time; set <batch_size> 1 in <ffsocket>, "
                "and start several drivers for several at a time"
            )
        if "symbols" not in given:
            return
        try:
            numbers = Symbols.fromsymbols(given["symbols"]).numbers
        except (KeyError, ValueError):
            raise InputError(
                f"i-PI's <parameters> has symbols {given['symbols']!r}, no formula; give {self.atoms.symbols}"
            ) from None
        if not np.array_equal(numbers, self.atoms.numbers):
            raise InputError(
                f"{source(self.atoms)}: its atoms are {self.atoms.symbols}, in this order, but i-PI's "
                f"<parameters> has symbols {given['symbols']}; give the structure of i-PI's input"
            )

    def _check_size(self, given: Configuration) -> None:
        if len(given.positions) != len(self.atoms):
            raise InputError(
                f"{source(self.atoms)}: it has {len(self.atoms)} atoms, but i-PI sends "
                f"{len(given.positions)}; give the structure of i-PI's input, with all of its atoms"
            )

    def _cell(self, h: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
        """Return the cell in Å with the lattice vectors as rows; zero for one that is infinite."""
        if np.isfinite(h).all():
            return h.T * units.Bohr
        if self.atoms.pbc.any():
            raise InputError(
                f"{source(self.atoms)}: it is periodic, but the cell that i-PI sends is infinite; give i-PI "
                "a cell, or a structure whose pbc are off"
            )
        return np.zeros((3, 3))

    def _warn_of_turned(self, cell: Float[np.ndarray, "3 3"]) -> None:
        """Warn if the first cell is that of the structure in another orientation."""
        ours, self._is_first = self.atoms.cell.array, False
        is_same_crystal = np.allclose(ours @ ours.T, cell @ cell.T, atol=1e-3)
        if is_same_crystal and not np.allclose(ours, cell, atol=1e-3):
            warnings.warn(
                f"{source(self.atoms)}: i-PI has its cell in another orientation (a along x, b in the plane "
                "of x and y); a field has the directions of i-PI's cell",
                TurnedCellWarning,
                stacklevel=3,
            )

    def _mechanics(
        self, potential: BaseCalculator
    ) -> tuple[float, Float[np.ndarray, "atoms 3"], Float[np.ndarray, "3 3"]]:
        """Compute energy, forces and virial of the potential in ASE's units."""
        atoms = self.atoms
        energy = float(potential.get_property("energy", atoms))
        forces = np.asarray(potential.get_property("forces", atoms), np.float64)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise InputError(f"{source(atoms)}: the potential gives an energy or forces that are not finite")
        virial = np.full((3, 3), np.nan)
        if self.has_stress:
            xx, yy, zz, yz, xz, xy = np.asarray(potential.get_property("stress", atoms))
            virial = -atoms.get_volume() * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        return energy, forces, virial


def format_extras(
    tensors: Float[np.ndarray, "atoms 3 3"], dipole: Float[np.ndarray, "3"] | None = None
) -> str:
    """Format the extras as JSON.

    Tensors are rounded to 1e-10 e, below what a network in single precision has; written in full they would
    take i-PI twice as long to read.

    Args:
        tensors: Born effective charges [atom, field, displacement] in e.
        dipole: In e Å.
    """
    rows = np.asarray(tensors, np.float64).transpose(0, 2, 1).reshape(-1, 3)
    more = "" if dipole is None else f', "dipole": {json.dumps((dipole / units.Bohr).tolist())}'
    return f'{{"BEC": [{_format_rows(rows)}]{more}}}'


def _format_rows(rows: Float[np.ndarray, "rows 3"]) -> str:
    """Format rows of three numbers as JSON, without the outer brackets.

    All numbers get their digits at once, which takes a tenth of the time of `json.dumps`.
    """
    scaled = np.rint(np.abs(rows) * 10.0**DECIMALS)
    if not scaled.max(initial=0.0) < 10.0 ** (DECIMALS + 1):  # a second digit before the point
        return json.dumps(rows.round(DECIMALS).tolist())[1:-1]
    text = np.empty((len(rows), 3, DECIMALS + 4), np.uint8)  # a sign or a space, digit, point, digits, comma
    text[..., 0] = np.where(rows < 0, ord("-"), ord(" "))
    text[..., 2], text[..., -1] = ord("."), ord(",")
    whole = scaled.astype(np.int64)
    for place in (*range(DECIMALS + 2, 2, -1), 1):
        higher = whole // 10
        text[..., place] = whole - 10 * higher + ord("0")
        whole = higher
    lines = np.empty((len(rows), 3 * (DECIMALS + 4) + 2), np.uint8)
    lines[:, 1:-1] = text.reshape(len(rows), -1)
    lines[:, 0], lines[:, -2], lines[:, -1] = ord("["), ord("]"), ord(",")
    return lines.tobytes()[:-1].decode("ascii")


def needed_threshold(atoms: Atoms) -> float | None:
    """Return the least `asr_threshold` with which i-PI takes the charges of a structure.

    i-PI refuses tensors whose mean over the atoms is above `asr_threshold` times N; their sum is the net
    charge Q, so that it is |Q| / N².

    Returns:
        Slightly more than that, None if the default is enough.
    """
    least = abs(float(atoms.info.get("charge", 0.0))) / len(atoms) ** 2
    return None if least < SUM_RULE else 1.01 * least


def serve(driver: Driver, link: Link) -> Served:
    """Answer i-PI until it ends.

    Args:
        driver: What computes.
        link: The connection; it is closed in the end.

    Raises:
        InputError: i-PI's configuration or parameters cannot be used; i-PI is told, in 12 characters.
    """
    answer, is_ready, answered = None, False, 0
    try:
        word = link.receive_word()
        while word != "EXIT":
            pending = None
            if word == "STATUS":
                link.send_word("HAVEDATA" if answer else "READY" if is_ready else "NEEDINIT")
            elif word == "INIT":
                text = link.receive_parameters()
                pending = link.receive_word()
                with _telling(link, pending, f"WANT {driver.atoms.symbols}", len(driver.atoms)):
                    driver.check_parameters(text)
                is_ready = True
            elif word == "POSDATA":
                given = link.receive_configuration()
                # i-PI sends the next word at once; it is read before the work begins.
                pending = link.receive_word()
                answer = _answer(driver, link, pending, given)
            elif word == "GETFORCE" and answer is not None:
                link.send_answer(answer)
                answer, answered = None, answered + 1
            else:
                raise InputError(
                    f"{link.name}: {word!r} is no message of i-PI here; give the socket of i-PI 3"
                )
            word = pending or link.receive_word()
    except LostConnectionError:
        return Served(answered, is_finished=False)
    finally:
        link.close()
    return Served(answered, is_finished=True)


def _answer(driver: Driver, link: Link, pending: str, given: Configuration) -> Answer:
    """Compute an answer; tell i-PI if there is none."""
    atoms, ours = len(given.positions), len(driver.atoms)
    with _telling(link, pending, "CANNOT SERVE" if atoms == ours else f"WANT {ours} ATOMS", atoms):
        return driver.answer(given)


@contextlib.contextmanager
def _telling(link: Link, pending: str, reason: str, atoms: int) -> Iterator[None]:
    """Tell i-PI, in answer to its pending word, that this driver gives up, before an error goes on."""
    try:
        yield
    except InputError:
        with contextlib.suppress(LostConnectionError):
            link.send_refusal(pending, reason, atoms)
        raise
