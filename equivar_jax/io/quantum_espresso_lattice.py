"""Quantum ESPRESSO's Bravais lattices: primitive vectors from `ibrav` and `celldm`.

The vectors are those of the documentation of pw.x (INPUT_PW, `ibrav`). Positions in the files of ph.x are
Cartesian. Another choice of primitive vectors for the same lattice would therefore give the same crystal
(those of ibrav -13 were others before version 6.4.1), but another orientation of the lattice would not.
"""

import math

import numpy as np
from ase.geometry import cellpar_to_cell
from jaxtyping import Float

from equivar_jax.errors import InputError

# Rows in units of the conventional edges a, b and c along x, y and z.
_CENTRINGS: dict[int, list[list[float]]] = {
    1: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    2: [[-0.5, 0, 0.5], [0, 0.5, 0.5], [-0.5, 0.5, 0]],
    3: [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]],
    -3: [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
    4: [[1, 0, 0], [-0.5, math.sqrt(0.75), 0], [0, 0, 1]],
    6: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    7: [[0.5, -0.5, 0.5], [0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]],
    8: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    9: [[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]],
    -9: [[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]],
    10: [[0.5, 0, 0.5], [0.5, 0.5, 0], [0, 0.5, 0.5]],
    11: [[0.5, 0.5, 0.5], [-0.5, 0.5, 0.5], [-0.5, -0.5, 0.5]],
    91: [[1, 0, 0], [0, 0.5, -0.5], [0, 0.5, 0.5]],
}
# Base-centred monoclinic lattices, by which of the conventional vectors are combined.
_OBLIQUE_CENTRINGS: dict[int, list[list[float]]] = {
    13: [[0.5, 0, -0.5], [0, 1, 0], [0.5, 0, 0.5]],
    -13: [[0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, 1]],
}
_CUBIC = (1, 2, 3, -3)
_TWO_EDGES = (4, 6, 7)
_RHOMBOHEDRAL = (5, -5)
_OBLIQUE = (12, -12, 14, *_OBLIQUE_CENTRINGS)


def lattice_vectors(ibrav: int, celldm: list[float], where: str) -> Float[np.ndarray, "3 3"]:
    """Return the primitive lattice vectors of a Bravais lattice.

    Args:
        ibrav: Quantum ESPRESSO's number of the lattice.
        celldm: its six parameters: a in bohr, b/a, c/a, and three cosines.
        where: file and frame, for messages.

    Returns:
        Lattice vectors as rows, in units of a.

    Raises:
        InputError: the lattice is not known here, or the parameters do not describe one.
    """
    if ibrav not in (*_CENTRINGS, *_RHOMBOHEDRAL, *_OBLIQUE):
        raise InputError(
            f"{where}: there is no lattice ibrav {ibrav} in Quantum ESPRESSO; read the output of ph.x, which "
            "prints the lattice vectors, or repeat the calculation with ibrav = 0"
        )
    edges, cosines = _edges(ibrav, celldm), _cosines(ibrav, celldm)
    bounded = max(map(abs, cosines)) < 1.0
    volume = 1.0 + 2.0 * math.prod(cosines) - sum(cosine**2 for cosine in cosines) if bounded else 0.0
    if min(celldm[0], *edges) <= 0.0 or volume <= 0.0:
        raise InputError(f"{where}: celldm {celldm} is not a lattice with ibrav {ibrav}; repair the file")
    if ibrav in _CENTRINGS:
        return np.array(_CENTRINGS[ibrav]) * edges
    if ibrav in _RHOMBOHEDRAL:
        return _rhombohedral_vectors(cosines[0], along_z=ibrav > 0)
    # a along x, b in the plane of x and y.
    conventional = cellpar_to_cell([*edges, *np.degrees(np.arccos(cosines))])
    return np.array(_OBLIQUE_CENTRINGS.get(ibrav, np.eye(3))) @ conventional


def _edges(ibrav: int, celldm: list[float]) -> list[float]:
    """Return the conventional edges (for ibrav 5 and -5 the primitive ones), in units of a."""
    if ibrav in _CUBIC or ibrav in _RHOMBOHEDRAL:
        return [1.0, 1.0, 1.0]
    return [1.0, 1.0 if ibrav in _TWO_EDGES else celldm[1], celldm[2]]


def _cosines(ibrav: int, celldm: list[float]) -> list[float]:
    """Return the cosines of the angles between b and c, a and c, a and b."""
    if ibrav == 14:
        return celldm[3:]
    if ibrav in _RHOMBOHEDRAL:
        return [celldm[3]] * 3
    # Monoclinic with unique axis c, or b.
    if ibrav in (12, 13):
        return [0.0, 0.0, celldm[3]]
    return [0.0, celldm[4], 0.0] if ibrav in (-12, -13) else [0.0, 0.0, 0.0]


def _rhombohedral_vectors(cosine: float, along_z: bool) -> Float[np.ndarray, "3 3"]:
    """Return three unit vectors around z, or around xyz, with this cosine of the angle between them."""
    x, y = math.sqrt((1.0 - cosine) / 2.0), math.sqrt((1.0 - cosine) / 6.0)
    z = math.sqrt((1.0 + 2.0 * cosine) / 3.0)
    if not along_z:
        u, v = (z - 2.0 * math.sqrt(2.0) * y) / math.sqrt(3.0), (z + math.sqrt(2.0) * y) / math.sqrt(3.0)
        return np.array([[u, v, v], [v, u, v], [v, v, u]])
    return np.array([[x, -y, z], [0.0, 2.0 * y, z], [-x, -y, z]])
