"""Phonons at Gamma, and how strongly each of them couples to light.

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
"""Å per ASE's unit of time, Å sqrt(u/eV)."""

KILOMETRE_PER_MOL = units.mol / (1e3 * units.m) / (12 * VACUUM_PERMITTIVITY * SPEED_OF_LIGHT**2)
"""Of a squared mode effective charge in e²/u: its integrated absorption `N_A Z² / (12 epsilon_0 c²)`."""

# cm⁻¹; a smaller vibration is a zero of the force constants, and its response has no meaning.
_SOFTEST = 1.0
# Of the longest rigid motion; the rotation of a linear molecule about its axis moves nothing.
_NO_MOTION = 1e-4


@dataclasses.dataclass(frozen=True)
class GammaModes:
    """Vibrations at Gamma, without the rigid motions of the structure."""

    squares: Float[np.ndarray, " modes"]
    """Omega² in eV/(Å² u), in ascending order; negative for unstable modes."""
    eigenvectors: Float[np.ndarray, "modes atoms 3"]
    """Orthonormal eigenvectors of the dynamical matrix; mode m moves atom i along `e[m, i] / sqrt(M_i)`."""
    masses: Float[np.ndarray, " atoms"]
    """In u."""
    rigid: Float[np.ndarray, " motions"]
    """Omega² of the translations (of a molecule, the rotations too) in eV/(Å² u): zero but for errors of the
    force constants."""

    @property
    def frequencies(self) -> Float[np.ndarray, " modes"]:
        """Angular, in sqrt(eV/(Å² u)); negative where imaginary."""
        return _signed_root(self.squares)

    @property
    def wavenumbers(self) -> Float[np.ndarray, " modes"]:
        """In cm⁻¹; negative where imaginary."""
        return self.frequencies * INVERSE_CM

    @property
    def rigid_wavenumbers(self) -> Float[np.ndarray, " motions"]:
        """Of the motions left out, in cm⁻¹; negative where imaginary."""
        return _signed_root(self.rigid) * INVERSE_CM

    def require_stable(self, where: str) -> None:
        """Refuse modes to which the structure gives way.

        Args:
            where: Names the structure in the message.

        Raises:
            InputError: an imaginary frequency, or one below 1 cm⁻¹.
        """
        lowest = float(self.wavenumbers[0])
        if not lowest > _SOFTEST:
            value = f"{-lowest:.1f}i" if lowest < 0 else f"{lowest:.2f}"
            raise InputError(
                f"{where}: its softest mode has {value} cm^-1, so that its response to a field is not "
                "defined; relax the structure into its minimum"
            )


def gamma_modes(atoms: Atoms, force_constants: Float[np.ndarray, "atoms atoms 3 3"]) -> GammaModes:
    """Vibrations of a crystal at Gamma, or of a molecule.

    `D[ia, jb] = Phi[i, j, a, b] / sqrt(M_i M_j)` is diagonalised among the motions orthogonal to the three
    translations (and, of a structure without periodic directions, the rotations). So acoustic modes are told
    by what they are, not by being lowest, also beside soft optical modes.

    Args:
        atoms: The structure at rest.
        force_constants: Phi in eV/Å², [atom, atom, direction, direction], periodic images summed. The long
            range field of longitudinal modes must not be included (phonopy's are without, at Gamma).

    Returns:
        Transverse modes: 3 N - 3 of a crystal, 3 N - 6 (3 N - 5 if linear) of a molecule.

    Raises:
        InputError: force constants of another shape or not finite, or a structure that cannot vibrate.
    """
    check_structure(atoms)
    where, size = source(atoms), 3 * len(atoms)
    if force_constants.shape != (len(atoms), len(atoms), 3, 3) or not np.isfinite(force_constants).all():
        raise InputError(
            f"{where}: force constants of shape {force_constants.shape}, expected finite numbers of shape "
            f"({len(atoms)}, {len(atoms)}, 3, 3); take those of this structure"
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
    """Dipole of a mode a unit of its normal coordinate: `Z_m[a] = sum_ib Z[i, a, b] e[m, i, b] / sqrt(M_i)`.

    Degenerate modes are taken along the principal axes of what their level absorbs as a whole, strongest
    first, and no mode's largest component is negative: the numbers do not depend on the eigensolver
    (see `levels`).

    Args:
        modes: Of the structure.
        charges: Born effective charges in e, [atom, field, displacement].

    Returns:
        [mode, field] in e/sqrt(u).
    """
    return principal_dipoles(modes.squares, _dipoles(modes, charges))


def principal_modes(modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"]) -> GammaModes:
    """The modes with degenerate ones turned to have the dipoles that `mode_effective_charges` gives.

    Args:
        modes: Of the structure.
        charges: Born effective charges in e, [atom, field, displacement].
    """
    vectors = modes.eigenvectors.reshape(len(modes.squares), -1)
    turned = turn_degenerate(modes.squares, vectors, _dipoles(modes, charges))
    return dataclasses.replace(modes, eigenvectors=turned.reshape(modes.eigenvectors.shape))


def oscillator_strengths(
    modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"]
) -> Float[np.ndarray, "modes 3 3"]:
    """Mode-oscillator strengths `S_m[a, b] = Z_m[a] Z_m[b]` (Gonze and Lee, PRB 55, 10355 (1997), Eq. 53).

    Args:
        modes: Of the structure.
        charges: Born effective charges in e, [atom, field, displacement].

    Returns:
        [mode, field, field] in e²/u.
    """
    dipoles = mode_effective_charges(modes, charges)
    return dipoles[:, :, None] * dipoles[:, None, :]


def infrared_intensities(
    modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"]
) -> Float[np.ndarray, " modes"]:
    """Integrated absorption of each line, `N_A |Z_m|² / (12 epsilon_0 c²)`, for a mole of cells.

    This is the natural-logarithm intensity, integrated over wavenumbers and averaged over directions, that
    programs for molecules print; 1 (D/Å)²/u is 42.256 km/mol (Kendrick and Burnett, J. Comput. Chem. 37, 1491
    (2016)).

    Args:
        modes: Of the structure.
        charges: Born effective charges in e, [atom, field, displacement]; of a molecule, the derivatives of
            its dipole (atomic polar tensors).

    Returns:
        In km/mol.
    """
    return KILOMETRE_PER_MOL * np.sum(mode_effective_charges(modes, charges) ** 2, axis=1)


def force_constants_by_differences(
    atoms: Atoms, displacement: float = 0.01
) -> Float[np.ndarray, "atoms atoms 3 3"]:
    """Force constants at Gamma from central differences of forces, `Phi[i, j, a, b] = -dF_jb / du_ia`.

    All periodic images of an atom move together, so the cell itself is enough. 6 N calculations.

    Args:
        atoms: The structure at rest, with a calculator.
        displacement: In Å, to either side.

    Returns:
        [atom, atom, direction, direction] in eV/Å², symmetric.

    Raises:
        InputError: no calculator.
    """
    check_structure(atoms)
    if atoms.calc is None:
        raise InputError(f"{source(atoms)}: no calculator for its forces; set atoms.calc")
    moved = atoms.copy()
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
    """Dipoles of the modes by the eigenvectors as they are."""
    return np.einsum("iab,mib->ma", charges, modes.eigenvectors / np.sqrt(modes.masses)[:, None])


def _rigid_motions(atoms: Atoms) -> Float[np.ndarray, "motions coordinates"]:
    """Orthonormal, mass-weighted translations, and rotations of a structure that is not periodic."""
    roots = np.sqrt(atoms.get_masses())[:, None]
    axes = np.eye(3)
    motions = [roots * axis for axis in axes]
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.get_center_of_mass()
        motions += [roots * np.cross(axis, arms) for axis in axes]
    _, lengths, directions = np.linalg.svd(np.reshape(motions, (len(motions), -1)), full_matrices=False)
    return directions[lengths > _NO_MOTION * lengths[0]]


def _signed_root(squares: Float[np.ndarray, " modes"]) -> Float[np.ndarray, " modes"]:
    """Frequencies of squares, negative where imaginary."""
    return np.sign(squares) * np.sqrt(np.abs(squares))
