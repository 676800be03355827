"""A model of ferroelectric BaTiO3 whose polarisation and homogeneous switching are known analytically.

In the spirit of Zhong, Vanderbilt and Rabe (Phys. Rev. B 52, 6301 (1995)), the soft mode of every cell has a
double well, and all other motions of the atoms have springs. The parameters are chosen to give the measured
polarisation; they are not fitted to first-principles energies. The model is for examples and tests, not for
predictions.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.spacegroup import crystal
from jaxtyping import Float
from matscipy.neighbours import neighbour_list
from scipy.sparse import csr_array

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.model_potential import ModelPotential
from equivar_jax.response.units import MICROCOULOMB_PER_CM2

LATTICE_CONSTANT = 4.00
"""Lattice constant of cubic BaTiO3 in Å, rounded."""
SPONTANEOUS_POLARISATION = 26.0 / MICROCOULOMB_PER_CM2
"""In e/Å²: tetragonal BaTiO3 at room temperature has 26 µC/cm² (Merz, Phys. Rev. 91, 513 (1953))."""
BARIUM, TITANIUM, OXYGEN_ALONG, OXYGEN_ACROSS = 2.7, 7.2, -5.7, -2.1
"""Born charges of cubic BaTiO3 in e, near those of Ghosez, Michenaud and Gonze (Phys. Rev. B 58, 6224
(1998)), rounded to 0.1 so that they sum to zero. Oxygen: along and across the line of its Ti neighbours."""


def barium_titanate(repeat: Sequence[int] = (1, 1, 1)) -> Atoms:
    """Make cubic BaTiO3 with its axes along x, y and z and Ba in the corners.

    Args:
        repeat: Number of cells along each axis.
    """
    atoms = crystal(
        ["Ba", "Ti", "O"],
        [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)],
        spacegroup=221,
        cellpar=[LATTICE_CONSTANT] * 3 + [90] * 3,
    ).repeat(tuple(repeat))
    return Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)


class SoftModeCrystal(ModelPotential):
    """A calculator with a double well for the soft mode of each cell and springs for everything else.

    The mode of cell n is `s_n = sum_i A_ni u_i` (Å), where u is the displacement from the cubic crystal. A is
    the pattern in which a field pushes the atoms, `xi_i = Z_i / |Z|` with `|Z|² = sum over a cell of Z_i²`:
    Ba and Ti against O. An atom shared by m cells counts 1/m in each. The remaining displacement is
    `r = u - A^T s`. The energy is

        E = sum_n [ W (s_n^4 - 2 s0² s_n²) / s0^4 + K/s0^4 sum_{a<b} s_na² s_nb² ]
            + J/2 sum_<nm> (s_n - s_m)² + k/2 sum_<ij> (r_i - r_j)²

    with neighbouring cells <nm> and neighbouring atoms <ij> (Ti-O, Ba-O, O-O). In the first term `s^4` and
    `s²` are the sums of `s_a^4` and `s_a²` over the three components. For K > 2 W the six states with s0
    along an axis are the stable ones (tetragonal); for K > 6 W homogeneous switching along an axis goes
    through zero and does not turn sideways. Translations and the cubic group do not change the energy.

    For a homogeneous displacement along an axis the energy has Landau's form in P with alpha, beta > 0
    (derived): `E/cell = W (x^4 - 2 x²)`, `x = s/s0 = P/P_s`, `P_s = |Z| s0 / V`. The well vanishes in the
    field

        E_c = 8 W / (3 sqrt(3) V P_s),

    at which all cells switch at once. Real crystals switch by domain walls, in fields orders of magnitude
    lower.

    Args:
        reference: The crystal of `barium_titanate`, possibly translated.
        well_depth: W in eV per cell.
        anisotropy: K in eV.
        coupling: J between neighbouring modes in eV/Å².
        stiffness: k of the springs in eV/Å².
        polarisation: P_s in e/Å², which sets s0.

    Raises:
        InputError: A parameter is not positive, or K <= 2 W.
    """

    implemented_properties = ["energy", "free_energy", "forces", "born_effective_charges"]  # noqa: RUF012 (as ASE has it)

    def __init__(
        self,
        reference: Atoms,
        *,
        well_depth: float = 0.02,
        anisotropy: float = 0.16,
        coupling: float = 3.0,
        stiffness: float = 4.0,
        polarisation: float = SPONTANEOUS_POLARISATION,
    ):
        super().__init__()
        given = (well_depth, anisotropy, coupling, stiffness, polarisation)
        if not all(math.isfinite(value) and value > 0 for value in given) or anisotropy <= 2 * well_depth:
            raise InputError(
                f"parameters {given} of a soft-mode crystal; give positive numbers, and an anisotropy above "
                "twice the depth of the well"
            )
        self.rest = reference.positions.copy()
        self.well_depth, self.anisotropy = well_depth, anisotropy
        titanium = np.flatnonzero(reference.symbols == "Ti")
        self.volume = reference.get_volume() / len(titanium)
        self.spontaneous_polarisation = polarisation
        self.charges = cubic_charges(reference)
        self.mode_charge = math.sqrt(float(np.sum(self.charges**2)) / 3 / len(titanium))
        """|Z| in e, with which P = |Z| s / V."""
        self.amplitude = polarisation * self.volume / self.mode_charge
        """s0 in Å."""
        bonds = neighbour_list("ij", atoms=reference, cutoff=0.75 * LATTICE_CONSTANT)
        self._springs = stiffness * _laplacian(bonds, len(reference))
        cells = neighbour_list("ij", atoms=reference[titanium], cutoff=1.1 * LATTICE_CONSTANT)
        self._coupling = coupling * _laplacian(cells, len(titanium))
        self._modes = _local_modes(reference, self.charges / self.mode_charge)
        self._modes_transposed = self._modes.T.tocsr()

    def coercive_field(self, charges: Float[np.ndarray, "atoms 3 3"] | None = None) -> float:
        """Compute E_c, the field along z in V/Å at which all cells switch at once.

        Args:
            charges: Z in e, [atom, field, displacement], by default those of the model. E_c is
                `8 W / (3 sqrt(3) s0 Z_s)`, `Z_s = sum over a cell of xi_iz Z_i,zz`, which is exact if Z does
                not depend on the positions and pushes the soft mode alone.

        Raises:
            InputError: The charges do not act on the soft mode.
        """
        given = self.charges if charges is None else charges
        mode_charge = abs(float(self._project(given[:, 2])[:, 2].mean()))
        if mode_charge < 1e-3:
            raise InputError(
                "the charges do not act on the soft mode of BaTiO3, so there is no coercive field; give the "
                "amplitude of the field"
            )
        return 8 * self.well_depth / (3 * math.sqrt(3) * self.amplitude * mode_charge)

    def landau_field(self, polarisation: Float[np.ndarray, "*points"]) -> Float[np.ndarray, "*points"]:
        """Compute the field in which a polarisation along an axis is stationary.

        It is `E = 4 W / (V P_s) (x³ - x)` with x = P/P_s.

        Args:
            polarisation: P in e/Å².

        Returns:
            E in V/Å. The polarisation is stable where E rises with P.
        """
        x = polarisation / self.spontaneous_polarisation
        return 4 * self.well_depth / (self.volume * self.spontaneous_polarisation) * (x**3 - x)

    def modes(self, atoms: Atoms) -> Float[np.ndarray, "cells 3"]:
        """Compute the amplitude of the mode of every cell in Å, in the order of the Ti atoms."""
        return self._project(atoms.positions - self.rest)

    def compute(self, atoms: Atoms) -> dict[str, Any]:
        """Compute energy, forces and Born effective charges."""
        moved = atoms.positions - self.rest
        s = self._project(moved)
        rest = moved - self._spread(s)
        squares, scale = s**2, self.amplitude**4
        others = squares.sum(axis=1, keepdims=True) - squares
        wells = self.well_depth * (squares**2 - 2 * self.amplitude**2 * squares).sum() / scale
        tilted = self.anisotropy * (squares * others).sum() / 2 / scale
        coupled, pulled = self._coupling @ s, self._springs @ rest
        energy = float(wells + tilted + np.sum(s * coupled) / 2 + np.sum(rest * pulled) / 2)
        gradient = 4 * self.well_depth * (squares - self.amplitude**2) * s / scale
        gradient += 2 * self.anisotropy * s * others / scale + coupled
        # The chain rule through s = A u and r = (1 - A^T A) u.
        forces = -(pulled + self._spread(gradient - self._project(pulled)))
        return {
            "energy": energy,
            "free_energy": energy,
            "forces": forces,
            "born_effective_charges": self.charges.copy(),
        }

    def _project(self, vectors: Float[np.ndarray, "atoms 3"]) -> Float[np.ndarray, "cells 3"]:
        """Compute A v, the mode amplitudes of displacements v."""
        return (self._modes @ vectors.ravel()).reshape(-1, 3)

    def _spread(self, amplitudes: Float[np.ndarray, "cells 3"]) -> Float[np.ndarray, "atoms 3"]:
        """Compute A^T s, the displacements of mode amplitudes s."""
        return (self._modes_transposed @ amplitudes.ravel()).reshape(-1, 3)


def cubic_charges(atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
    """Return Z of cubic BaTiO3 in e, [atom, field, displacement], for a crystal of `barium_titanate`."""
    charges = np.zeros((len(atoms), 3, 3))
    for element, charge in (("Ba", BARIUM), ("Ti", TITANIUM), ("O", OXYGEN_ACROSS)):
        charges[atoms.symbols == element] = charge * np.eye(3)
    along = OXYGEN_ALONG - OXYGEN_ACROSS
    i, j, bonds = neighbour_list("ijD", atoms=atoms, cutoff=0.55 * LATTICE_CONSTANT)
    for oxygen, titanium, bond in zip(i, j, bonds, strict=True):
        if atoms.symbols[oxygen] == "O" and atoms.symbols[titanium] == "Ti":
            # Each oxygen has two Ti neighbours, on one line.
            charges[oxygen] += along / 2 * np.outer(bond, bond) / (bond @ bond)
    return charges


def _local_modes(reference: Atoms, pattern: Float[np.ndarray, "atoms 3 3"]) -> csr_array:
    """Build A from displacements to modes: (3 cells, 3 atoms), with the direction as the faster index."""
    i, j = neighbour_list("ij", atoms=reference, cutoff=0.9 * LATTICE_CONSTANT)
    titanium = np.flatnonzero(reference.symbols == "Ti")
    around = np.isin(i, titanium) & ~np.isin(j, titanium)
    members = np.concatenate([j[around], titanium])
    cells = np.concatenate([np.searchsorted(titanium, i[around]), np.arange(len(titanium))])
    share = 1.0 / np.bincount(members, minlength=len(reference))
    weights = share[members, None] * np.einsum("iaa->ia", pattern)[members]
    axes = np.arange(3)
    places = (3 * cells[:, None] + axes).ravel(), (3 * members[:, None] + axes).ravel()
    return csr_array((weights.ravel(), places), shape=(3 * len(titanium), 3 * len(reference)))


def _laplacian(bonds: tuple[np.ndarray, np.ndarray], nodes: int) -> csr_array:
    """Build L with `x L x = sum over bonds of (x_i - x_j)²`; each bond is listed in both directions."""
    degrees = np.bincount(bonds[0], minlength=nodes).astype(np.float64)
    diagonal = np.arange(nodes)
    places = np.concatenate([diagonal, bonds[0]]), np.concatenate([diagonal, bonds[1]])
    return csr_array((np.concatenate([degrees, -np.ones(len(bonds[0]))]), places), shape=(nodes, nodes))


def switching_path(calculator: SoftModeCrystal, reference: Atoms, frames: int = 41) -> list[Atoms]:
    """Make a path that reverses the polarisation along z homogeneously, from -P_s to P_s in equal steps."""
    pattern = calculator._spread(np.ones((len(calculator.modes(reference)), 3)))
    path = []
    for x in np.linspace(-1.0, 1.0, frames):
        atoms = reference.copy()
        atoms.positions[:, 2] += x * calculator.amplitude * pattern[:, 2]
        path.append(atoms)
    return path
