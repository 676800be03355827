"""Periodic sums over point charges and point dipoles with Gaussian short-range damping (Ewald, tin-foil).

Every ion carries its charge and dipole as a Gaussian of width s_i, so that two ions interact through
`G(r) = erf(r / s_ij) / r` with `s_ij² = s_i² + s_j²`. This is the Coulomb law at long range, is finite at
contact, and damps charges and dipoles equally. Lengths are in Å, charges in e, dipoles in e Å, fields in e/Å²
(Gaussian units, so that polarisabilities are volumes). The k = 0 term is left out: the macroscopic field is
zero ("tin-foil" boundary), the condition under which Born effective charges are defined.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matscipy.neighbours import neighbour_list
from scipy.special import erfc

# Both halves of the sum are cut where their Gaussians have fallen to exp(-5.2²) = 2e-12, which leaves less
# than 1e-10 of the effective charges after the polynomial prefactors of the third derivative (measured).
CUTOFF_EXPONENT = 5.2
# Real-space reach in units of the cube root of the cell volume. It is the fastest for the 20 to 48 atoms of
# the demonstration cells; the minimum is broad.
REACH_PER_CELL_LENGTH = 1.05


@dataclass(frozen=True)
class LatticeSums:
    """A structure prepared for Ewald sums: its near pairs with radial functions, and its plane waves.

    Attributes:
        first: near pairs, first ion; every pair of periodic images is listed once.
        second: near pairs, second ion.
        vector: from the image of the second ion to the first, Å.
        radial: B1, B2, B3 of the real-space kernel, `B_{n+1} = -(1/r) dB_n/dr`, one row each.
        wavevector: half of reciprocal space without k = 0, 1/Å.
        weight: `(8 pi / V) exp(-k² / 4 eta²) / k²` of each wavevector.
        cosine: `cos(k . r_i)` of each ion and wavevector.
        sine: `sin(k . r_i)` of each ion and wavevector.
        self_term: contribution of an ion's own screening Gaussian to the reciprocal dipole tensor, to be
            subtracted from it.
    """

    first: Int[np.ndarray, " pairs"]
    second: Int[np.ndarray, " pairs"]
    vector: Float[np.ndarray, "pairs 3"]
    radial: Float[np.ndarray, "3 pairs"]
    wavevector: Float[np.ndarray, "waves 3"]
    weight: Float[np.ndarray, " waves"]
    cosine: Float[np.ndarray, "atoms waves"]
    sine: Float[np.ndarray, "atoms waves"]
    self_term: float


def lattice_sums(
    positions: Float[np.ndarray, "atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    damping_length: Float[np.ndarray, " atoms"],
    reach: float | None = None,
) -> LatticeSums:
    """Prepare a fully periodic structure for Ewald sums.

    Args:
        positions: Cartesian positions, Å.
        cell: lattice vectors in rows, Å.
        damping_length: Gaussian width s_i of each ion, Å.
        reach: real-space cutoff, Å; it sets the splitting parameter `eta = 5.2 / reach`. The result does not
            depend on it, the cost does. The default balances the cost of both halves.

    Returns:
        The near pairs and plane waves of the structure.
    """
    volume = abs(float(np.linalg.det(cell)))
    cutoff = REACH_PER_CELL_LENGTH * volume ** (1 / 3) if reach is None else reach
    # The damping is a real-space term, so it must have decayed at the cutoff as well.
    cutoff = max(cutoff, CUTOFF_EXPONENT * float(np.sqrt(2.0)) * float(damping_length.max()))
    eta = CUTOFF_EXPONENT / cutoff
    first, second, vector = near_pairs(positions, cell, cutoff)
    widths = np.hypot(damping_length[first], damping_length[second])
    distance = np.sqrt(np.einsum("pc,pc->p", vector, vector))
    radial = _screened_derivatives(distance, eta) - _screened_derivatives(distance, 1.0 / widths)
    wavevector = _half_reciprocal_sphere(cell, 2.0 * eta * CUTOFF_EXPONENT)
    squared = np.einsum("kc,kc->k", wavevector, wavevector)
    phase = positions @ wavevector.T
    return LatticeSums(
        first=first,
        second=second,
        vector=vector,
        radial=radial,
        wavevector=wavevector,
        weight=8.0 * np.pi / volume * np.exp(-squared / (4.0 * eta**2)) / squared,
        cosine=np.cos(phase),
        sine=np.sin(phase),
        self_term=4.0 * eta**3 / (3.0 * np.sqrt(np.pi)),
    )


def near_pairs(
    positions: Float[np.ndarray, "atoms 3"], cell: Float[np.ndarray, "3 3"], reach: float
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"], Float[np.ndarray, "pairs 3"]]:
    """Find every pair of ions (periodic images and self-images included) within `reach`, once.

    Args:
        positions: Cartesian positions, Å.
        cell: lattice vectors in rows, Å.
        reach: largest distance, Å.

    Returns:
        First ion, second ion, and the vector from the image of the second ion to the first, Å.
    """
    first, second, offset, shift = neighbour_list(
        "ijDS", positions=positions, cell=cell, pbc=np.ones(3, dtype=bool), cutoff=reach
    )
    # An ion and its own image appear with the shifts S and -S: keep the one that is lexicographically
    # positive.
    positive = (shift @ np.array([1_000_000, 1_000, 1])) > 0
    once = (first < second) | ((first == second) & positive)
    return first[once].astype(np.int64), second[once].astype(np.int64), -offset[once]


def _screened_derivatives(
    distance: Float[np.ndarray, " pairs"], inverse_width: float | Float[np.ndarray, " pairs"]
) -> Float[np.ndarray, "3 pairs"]:
    """Return B1, B2, B3, the radial derivatives of `B0 = erfc(x r) / r`; x is the inverse width.

    `B_n = ((2n - 1) B_{n-1} + (2 x²)^n exp(-x² r²) / (x sqrt(pi))) / r²`.
    """
    squared = distance**2
    power = 2.0 * inverse_width**2
    gaussian = np.exp(-(inverse_width**2) * squared) / (inverse_width * np.sqrt(np.pi))
    derivative = erfc(inverse_width * distance) / distance
    rows = []
    for order in (1, 2, 3):
        gaussian = gaussian * power
        derivative = ((2 * order - 1) * derivative + gaussian) / squared
        rows.append(derivative)
    return np.stack(rows)


def _half_reciprocal_sphere(cell: Float[np.ndarray, "3 3"], radius: float) -> Float[np.ndarray, "waves 3"]:
    """Return the wavevectors up to `radius` (1/Å), one of each pair k, -k, without k = 0."""
    reciprocal = 2.0 * np.pi * np.linalg.inv(cell).T
    # |n_c| <= |k| |a_c| / 2 pi, since n_c = k . a_c / 2 pi.
    bound = np.floor(radius * np.linalg.norm(cell, axis=1) / (2.0 * np.pi)).astype(int)
    axes = [np.arange(0, bound[0] + 1), *(np.arange(-limit, limit + 1) for limit in bound[1:])]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    half = (index @ np.array([1_000_000, 1_000, 1])) > 0
    wavevector = index[half] @ reciprocal
    return wavevector[np.einsum("kc,kc->k", wavevector, wavevector) <= radius**2]
