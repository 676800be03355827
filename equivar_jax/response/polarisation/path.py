"""Change of polarisation along a path of structures, from a network's polarisation or from Born charges.

    equivar response polarisation --checkpoint RUN path.traj -o polarisation.csv

A network of the form "polarisation" gives V P itself, up to a constant that the difference of two frames does
not have: nothing is integrated, and the frames between do not matter but for telling which way atoms went.
Else, between two frames, `dP = (e/V) sum_i Z_i du_i`, the integral of `dP_a/du_ib = e Z[i, a, b] / V` by the
trapezoid rule.

What is determined: changes in one cell. P itself is defined only up to the quanta e R / V (King-Smith and
Vanderbilt, Phys. Rev. B 47, 1651 (1993)), and tensors, which are all that networks are trained on, leave a
constant open besides, another one in each cell: they know nothing of a strain at fixed fractional
coordinates. So where the cell changes along a path the integral is taken for any network (see
`polarisation_step`). An atom that goes round the crystal once changes V P by q R with the network's charge q,
which in an insulator is a whole number; that it comes out as one is left to the training.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from jaxtyping import Float

from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.calculators.polarised import dipoles_of_cells, make_dipole_function, network_of
from equivar_jax.errors import InputError
from equivar_jax.io import check_output, read_structures
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.polarisation.closure import integrate_loop
from equivar_jax.response.polarisation.displacements import (
    LARGEST_STEP,
    changed_cell,
    check_frames,
    displacements_along,
    fractional_step,
)
from equivar_jax.response.polarisation.ferroelectric import SoftModeCrystal, barium_titanate, switching_path
from equivar_jax.response.polarisation.path_report import (
    describe_closure,
    describe_method,
    describe_polarisation,
    draw_polarisation,
    write_numbers,
    write_polarisation,
)
from equivar_jax.structures import check_tensors, labels_of, source

PathCharges = Charges | Predictor | Sequence[np.ndarray] | np.ndarray
"""Z of every frame: `Charges`; or a network, which gets all frames at once; or tensors in e, [atom, field,
displacement], for each frame (frames, N, 3, 3) or the same for all (N, 3, 3)."""

Method = Literal["network", "integral"]
"""Where a change of polarisation is from: a network that gives P itself, or the integral of Z."""


class PolarisationPath(NamedTuple):
    """Polarisation along a path, relative to its first frame."""

    change: Float[np.ndarray, "frames 3"]
    """P(frame) - P(first frame) in e/Å², Cartesian components."""
    quanta: Float[np.ndarray, "frames 3 3"]
    """`e R / V` of each frame in e/Å², [frame, lattice vector, component]."""
    method: Method = "integral"
    reason: str | None = None
    """Why the integral was taken although the charges have a polarisation; else None."""


def polarisation_along(
    frames: Sequence[Atoms],
    charges: PathCharges = labels_of,
    largest_step: float = LARGEST_STEP,
    *,
    allow_unseen: bool = False,
) -> PolarisationPath:
    """Compute the change of polarisation along a trajectory.

    From a network of the form "polarisation" it is `P_k - P_0` of the frames, in one cell. Else it is
    integrated, `P_k+1 - P_k = (e / V) sum_i (Z_i,k + Z_i,k+1) / 2 du_i`, with an error of second order in the
    length of the steps. See `polarisation_step` for du, wrapped atoms, rigid translations, and cells that
    change.

    Args:
        frames: The path: the same atoms in the same order, periodic in three directions, neutral. One frame
            has no change, zero.
        charges: Z of the frames, see `PathCharges`; by default the labels of the frames. `Predictor`,
            `Predictor.predict` and `EquivarCalculator` give P where their network does.
        largest_step: How far an atom may move between frames, as a fraction of each cell vector.
        allow_unseen: Let a `Predictor` only warn about elements that did not occur in its training data.

    Raises:
        InputError: There are no frames, frames do not belong together, charges are missing or have a wrong
            shape, or a step is too long to be followed.
    """
    if not len(frames):
        raise InputError("a path without frames has no polarisation; give at least one frame")
    check_frames(frames)
    quanta = np.array([polarisation_quanta(atoms) for atoms in frames])
    dipole_of, changed = make_dipole_function(charges), changed_cell(frames)
    if dipole_of is not None and changed is None:
        moved = displacements_along(frames, largest_step)
        if (predictor := network_of(charges)) is not None:
            dipoles = dipoles_of_cells(predictor, frames, list(moved), allow_unseen)
        else:
            dipoles = np.array([dipole_of(*pair) for pair in zip(frames, moved, strict=True)])
        return PolarisationPath((dipoles - dipoles[0]) / frames[0].get_volume(), quanta, "network")
    reason = None
    if dipole_of is not None and changed is not None:
        reason = f"{source(changed)} has another cell than the first frame"
    tensors = _tensors(frames, charges, allow_unseen)
    tracker = PolarisationTracker(frames[0], tensors[0], largest_step)
    change = [tracker.advance(atoms, tensor) for atoms, tensor in zip(frames, tensors, strict=True)]
    return PolarisationPath(np.array(change), quanta, "integral", reason)


class PolarisationTracker:
    """Sums the change of polarisation over frames that come one by one, as from an optimiser or dynamics.

    Args:
        atoms: The first frame.
        charges: Z of the first frame in e, [atom, field, displacement].
        largest_step: As for `polarisation_step`.
    """

    def __init__(
        self, atoms: Atoms, charges: Float[np.ndarray, "atoms 3 3"], largest_step: float = LARGEST_STEP
    ):
        self.change = np.zeros(3)
        """P - P(first frame) in e/Å², Cartesian components."""
        self._last, self._charges, self._largest_step = atoms.copy(), charges.copy(), largest_step

    def advance(self, atoms: Atoms, charges: Float[np.ndarray, "atoms 3 3"]) -> Float[np.ndarray, "3"]:
        """Add the step to the next frame.

        Args:
            atoms: The next frame.
            charges: Its Z in e, [atom, field, displacement].

        Returns:
            `change` at this frame.

        Raises:
            InputError: An atom has moved too far since the frame before.
        """
        mean = (self._charges + charges) / 2
        self.change = self.change + polarisation_step(self._last, atoms, mean, self._largest_step)
        self._last, self._charges = atoms.copy(), charges.copy()
        return self.change


def polarisation_step(
    before: Atoms,
    after: Atoms,
    charges: Float[np.ndarray, "atoms 3 3"],
    largest_step: float = LARGEST_STEP,
) -> Float[np.ndarray, "3"]:
    """Compute the change of polarisation in one short step, `dP = (e/V) sum_i Z_i du_i`, in e/Å².

    Displacements are those of the nearest images, so atoms may be wrapped into the cell in between. They are
    taken relative to the mean of all atoms: a rigid translation does not count, as the acoustic sum rule
    demands, even if the given charges violate it a little.

    If the cell changes, du is the change of the fractional coordinates times the mean of both cells, and V is
    the mean volume. This is the *proper* change of polarisation (Vanderbilt, J. Phys. Chem. Solids 61, 147
    (2000)) without its clamped-ion part: the response of the electrons to a strain at fixed fractional
    coordinates is a piezoelectric constant, which does not follow from Z.

    Args:
        before: Start of the step.
        after: End of the step.
        charges: Mean Z of both ends in e, [atom, field, displacement].
        largest_step: How far an atom may move, as a fraction of each cell vector.

    Raises:
        InputError: An atom moves farther.
    """
    fractional = fractional_step(before, after, largest_step)
    cell = (before.cell.array + after.cell.array) / 2
    volume = (before.get_volume() + after.get_volume()) / 2
    return np.einsum("iab,ib->a", charges, fractional @ cell) / volume


def polarisation_quanta(atoms: Atoms) -> Float[np.ndarray, "3 3"]:
    """Return the quanta `e R / V` of the three lattice vectors R in e/Å², [lattice vector, component].

    Polarisations that differ by integer multiples of the quanta belong to the same crystal. (For electrons
    that are paired in spin, the quanta of King-Smith and Vanderbilt are twice these.)
    """
    return atoms.cell.array / atoms.get_volume()


def nearest_branch(
    polarisation: Float[np.ndarray, "*frames 3"],
    reference: Float[np.ndarray, "3"],
    quanta: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, "*frames 3"]:
    """Add quanta to polarisations so that they are as near as possible to a reference.

    Args:
        polarisation: Polarisations in any unit.
        reference: The reference in the same unit.
        quanta: [lattice vector, component] in the same unit; see `polarisation_quanta`.
    """
    offsets = np.reshape(polarisation - reference, (-1, 3))
    nearest, _ = find_mic(offsets, quanta, pbc=True)
    return reference + nearest.reshape(np.shape(polarisation))


def _tensors(
    frames: Sequence[Atoms], charges: PathCharges, allow_unseen: bool = False
) -> list[Float[np.ndarray, "atoms 3 3"]]:
    """Return Z of every frame, with shapes checked."""
    given: Sequence[Any] | np.ndarray
    if isinstance(charges, Predictor):
        given = charges.predict(frames, allow_unseen=allow_unseen)
    elif not isinstance(charges, np.ndarray | Sequence):
        return list(map(make_charge_function(charges), frames))
    else:
        fixed = len(charges) > 0 and np.ndim(charges[0]) == 2
        given = [charges] * len(frames) if fixed else charges
    if len(given) != len(frames):
        raise InputError(f"charges of {len(given)} frames for a path of {len(frames)}; give those of each")
    return [check_tensors(tensors, atoms) for tensors, atoms in zip(given, frames, strict=True)]


def run(options: argparse.Namespace) -> None:
    """Read a path, find the change of polarisation, and write the tables and the picture."""
    output = Path(options.output)
    if output.suffix.lower() != ".csv":
        raise InputError(f"{output}: the table is written as .csv; name it so")
    check_output(output)
    if options.closure and options.path is not None and not options.checkpoint:
        raise InputError(
            "--closure needs tensors between the frames, which labels do not have; give a model by "
            "--checkpoint"
        )
    frames, charges = _frames(options.path, options.example)
    if options.checkpoint:
        charges = load(options.checkpoint)
    found = polarisation_along(frames, charges, allow_unseen=options.allow_unseen)
    closure = None
    if options.closure:
        closure = integrate_loop(frames, lambda between: _tensors(between, charges, options.allow_unseen))
    write_polarisation(output, found.change, found.quanta)
    numbers = write_numbers(
        output.with_suffix(".json"), found.change[-1], found.method, found.reason, closure
    )
    picture = output.with_suffix(".png")
    draw_polarisation(picture, found.change, found.quanta[0])
    print(describe_polarisation(found.change[-1], found.quanta[-1]))
    print(f"from: {describe_method(found.method, found.reason)}")
    if closure is not None:
        print(describe_closure(closure, frames[0].get_volume()))
    print(f"{output}, {numbers} and {picture}: polarisation of {len(frames)} frames")


def _frames(path: str | None, example: bool) -> tuple[list[Atoms], PathCharges]:
    """Return the frames of a path and their charges: labels of a file, or the example."""
    if example == (path is not None):
        raise InputError("give either a trajectory or --example; --help explains the options")
    if path is not None:
        return read_structures(path), labels_of
    reference = barium_titanate()
    crystal = SoftModeCrystal(reference)
    return switching_path(crystal, reference), crystal.charges
