"""Phonons at Gamma, and how strongly each mode couples to light.

Angular frequencies are in ASE's unit sqrt(eV/(Å² u)); `units.INVERSE_CM` turns them into cm⁻¹. An imaginary
frequency is written as a negative number, as phonopy does.
"""

import dataclasses
import itertools

import numpy as np
import scipy.linalg
from ase import Atoms, units
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.levels import principal_dipoles, turn_degenerate
from equivar_jax.response.units import INVERSE_CM, VACUUM_PERMITTIVITY
from equivar_jax.structures import check_structure, source

SPEED_OF_LIGHT = units._c * units.m / units.second
"""In Å per ASE's unit of time, which is Å sqrt(u/eV)."""

KILOMETRE_PER_MOL = units.mol / (1e3 * units.m) / (12 * VACUUM_PERMITTIVITY * SPEED_OF_LIGHT**2)
"""Converts a squared mode effective charge Z² from e²/u to km/mol of integrated absorption,
`N_A Z² / (12 epsilon_0 c²)`."""

_SOFTEST = 1.0
"""In cm⁻¹. A softer vibration is a zero of the force constants, and its response has no meaning."""
_NO_MOTION = 1e-4
"""A rigid motion shorter than this share of the longest one moves nothing, as the rotation of a linear
molecule about its axis."""


@dataclasses.dataclass(frozen=True)
class GammaModes:
    """Vibrations at Gamma, without the rigid motions of the structure."""

    squares: Float[np.ndarray, " modes"]
    """Omega² in eV/(Å² u), in ascending order; negative for unstable modes."""
    eigenvectors: Float[np.ndarray, "modes atoms 3"]
    """Orthonormal eigenvectors of the dynamical matrix; mode m moves atom i along `e[m, i] / sqrt(M_i)`."""
    masses: Float[np.ndarray, " atoms"]
    """Masses of the atoms in u."""
    rigid: Float[np.ndarray, " motions"]
    """Omega² of the translations, and of the rotations of a molecule, in eV/(Å² u). They would be zero if the
    force constants had no errors."""

    @property
    def frequencies(self) -> Float[np.ndarray, " modes"]:
        """Angular frequencies in sqrt(eV/(Å² u)); negative where imaginary."""
        return _signed_root(self.squares)

    @property
    def wavenumbers(self) -> Float[np.ndarray, " modes"]:
        """Wavenumbers of the modes in cm⁻¹; negative where imaginary."""
        return self.frequencies * INVERSE_CM

    @property
    def rigid_wavenumbers(self) -> Float[np.ndarray, " motions"]:
        """Wavenumbers of the rigid motions (not among the modes) in cm⁻¹; negative where imaginary."""
        return _signed_root(self.rigid) * INVERSE_CM

    @property
    def is_stable(self) -> bool:
        """Whether every mode has a restoring force: the lowest frequency is real and above 1 cm⁻¹."""
        return bool(self.wavenumbers[0] > _SOFTEST)

    def require_stable(self, where: str, fix: str = "relax the structure into its minimum") -> None:
        """Check that every mode has a restoring force.

        Args:
            where: Name of the structure in the message.
            fix: What to do, for the message.

        Raises:
            InputError: The lowest frequency is imaginary or below 1 cm⁻¹.
        """
        lowest = float(self.wavenumbers[0])
        if not self.is_stable:
            value = f"{-lowest:.1f}i" if lowest < 0 else f"{lowest:.2f}"
            raise InputError(
                f"{where}: its softest mode has {value} cm^-1, so that its response to a field is not "
                f"defined; {fix}"
            )


def gamma_modes(atoms: Atoms, force_constants: Float[np.ndarray, "atoms atoms 3 3"]) -> GammaModes:
    """Compute the vibrations of a crystal at Gamma, or of a molecule.

    `D[ia, jb] = Phi[i, j, a, b] / sqrt(M_i M_j)` is diagonalised among the motions orthogonal to the three
    translations and, if the structure has no periodic direction, to the rotations. So acoustic modes are
    recognised by their motion, not by their frequency, and may lie above soft optical modes.

    Args:
        atoms: The structure at rest.
        force_constants: Phi in eV/Å², [atom, atom, direction, direction], periodic images summed. They must
            not include the long-range field of longitudinal modes (at Gamma, those of phonopy do not).

    Returns:
        The transverse modes: 3 N - 3 of a crystal, 3 N - 6 (3 N - 5 if linear) of a molecule.

    Raises:
        InputError: Force constants have another shape or are not finite, or the structure cannot vibrate.
    """
    check_structure(atoms)
    where, size = source(atoms), 3 * len(atoms)
    if force_constants.shape != (len(atoms), len(atoms), 3, 3) or not np.isfinite(force_constants).all():
        raise InputError(
            f"{where}: force constants of shape {force_constants.shape}, expected finite numbers of shape "
            f"({len(atoms)}, {len(atoms)}, 3, 3); give those of this structure"
        )
    if len(atoms) == 1:
        raise InputError(f"{where}: one atom in the cell has no vibrations at Gamma; give a larger structure")
    masses = atoms.get_masses()
    roots = np.sqrt(np.repeat(masses, 3))
    dynamical = force_constants.transpose(0, 2, 1, 3).reshape(size, size) / np.outer(roots, roots)
    dynamical = (dynamical + dynamical.T) / 2
    rigid = _rigid_motions(atoms)
    vibrations = scipy.linalg.null_space(rigid)
    squares, vectors = np.linalg.eigh(vibrations.T @ dynamical @ vibrations)
    return GammaModes(
        squares=squares,
        eigenvectors=(vibrations @ vectors).T.reshape(-1, len(atoms), 3),
        masses=masses,
        rigid=np.linalg.eigvalsh(rigid @ dynamical @ rigid.T),
    )


def mode_effective_charges(
    modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"]
) -> Float[np.ndarray, "modes 3"]:
    """Compute the dipole of each mode for one unit of its normal coordinate.

    `Z_m[a] = sum_ib Z[i, a, b] e[m, i, b] / sqrt(M_i)`. Degenerate modes are taken along the principal axes
    of what their level absorbs as a whole, the strongest first, and no mode's largest component is negative,
    so that the numbers do not depend on the eigensolver (see `levels`).

    Args:
        modes: Modes of the structure.
        charges: Born effective charges in e, [atom, field, displacement].

    Returns:
        The dipoles in e/sqrt(u), [mode, field].
    """
    return principal_dipoles(modes.squares, _dipoles(modes, charges))


def principal_modes(modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"]) -> GammaModes:
    """Turn degenerate modes so that they have the dipoles that `mode_effective_charges` returns.

    Args:
        modes: Modes of the structure.
        charges: Born effective charges in e, [atom, field, displacement].
    """
    vectors = modes.eigenvectors.reshape(len(modes.squares), -1)
    turned = turn_degenerate(modes.squares, vectors, _dipoles(modes, charges))
    return dataclasses.replace(modes, eigenvectors=turned.reshape(modes.eigenvectors.shape))


def oscillator_strengths(
    modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"]
) -> Float[np.ndarray, "modes 3 3"]:
    """Compute mode-oscillator strengths, `S_m[a, b] = Z_m[a] Z_m[b]`.

    See Gonze and Lee, PRB 55, 10355 (1997), Eq. 53.

    Args:
        modes: Modes of the structure.
        charges: Born effective charges in e, [atom, field, displacement].

    Returns:
        The strengths in e²/u, [mode, field, field].
    """
    dipoles = mode_effective_charges(modes, charges)
    return dipoles[:, :, None] * dipoles[:, None, :]


def infrared_intensities(
    modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"]
) -> Float[np.ndarray, " modes"]:
    """Compute the integrated absorption of each line, `N_A |Z_m|² / (12 epsilon_0 c²)`, for a mole of cells.

    This is the natural-logarithm intensity, integrated over wavenumbers and averaged over directions, that
    programs for molecules print; 1 (D/Å)²/u is 42.256 km/mol (Kendrick and Burnett, J. Comput. Chem. 37, 1491
    (2016)).

    Args:
        modes: Modes of the structure.
        charges: Born effective charges in e, [atom, field, displacement]. For a molecule these are the
            derivatives of its dipole (atomic polar tensors).

    Returns:
        The intensity of each mode in km/mol.
    """
    return KILOMETRE_PER_MOL * np.sum(mode_effective_charges(modes, charges) ** 2, axis=1)


def force_constants_by_differences(
    atoms: Atoms, displacement: float = 0.01
) -> Float[np.ndarray, "atoms atoms 3 3"]:
    """Compute force constants at Gamma by central differences of forces, `Phi[i, j, a, b] = -dF_jb / du_ia`.

    All periodic images of an atom move together, so the cell itself is enough. This takes 6 N calculations.
    Constraints, as from a POSCAR with selective dynamics, do not count: they would take forces away.

    Args:
        atoms: The structure at rest, with a calculator.
        displacement: How far an atom is moved to either side, in Å.

    Returns:
        Phi in eV/Å², [atom, atom, direction, direction], symmetric.

    Raises:
        InputError: The structure has no calculator.
    """
    check_structure(atoms)
    if atoms.calc is None:
        raise InputError(f"{source(atoms)}: no calculator for its forces; set atoms.calc")
    moved = atoms.copy()
    moved.set_constraint()
    moved.calc = atoms.calc
    constants = np.empty((len(atoms), len(atoms), 3, 3))
    for i, a in itertools.product(range(len(atoms)), range(3)):
        forces = []
        for step in (displacement, -displacement):
            moved.positions[i, a] = atoms.positions[i, a] + step
            forces.append(moved.get_forces())
        moved.positions[i, a] = atoms.positions[i, a]
        constants[i, :, a, :] = (forces[1] - forces[0]) / (2 * displacement)
    return (constants + constants.transpose(1, 0, 3, 2)) / 2


def _dipoles(modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"]) -> Float[np.ndarray, "modes 3"]:
    """Compute the dipoles of the modes from the eigenvectors as they are; degenerate ones are not turned."""
    return np.einsum("iab,mib->ma", charges, modes.eigenvectors / np.sqrt(modes.masses)[:, None])


def _rigid_motions(atoms: Atoms) -> Float[np.ndarray, "motions coordinates"]:
    """Return orthonormal mass-weighted translations, and rotations if no direction is periodic."""
    roots = np.sqrt(atoms.get_masses())[:, None]
    axes = np.eye(3)
    motions = [roots * axis for axis in axes]
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.get_center_of_mass()
        motions += [roots * np.cross(axis, arms) for axis in axes]
    _, lengths, directions = np.linalg.svd(np.reshape(motions, (len(motions), -1)), full_matrices=False)
    return directions[lengths > _NO_MOTION * lengths[0]]


def _signed_root(squares: Float[np.ndarray, " modes"]) -> Float[np.ndarray, " modes"]:
    """Return the frequencies that have these squares, negative where imaginary."""
    return np.sign(squares) * np.sqrt(np.abs(squares))
