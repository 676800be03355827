"""Fields, dipole tensors and their gradients in a periodic crystal of damped point charges and dipoles.

The interaction, its units and the preparation of a structure are described in `ewald_setup`. Every sum has a
near half over pairs of ions and a far half over plane waves; the far half is written as matrix products.
"""

import numpy as np
from jaxtyping import Float, Int

from equivar_jax.datasets.demonstration.ewald_setup import LatticeSums


def field_of_charges(sums: LatticeSums, charges: Float[np.ndarray, " atoms"]) -> Float[np.ndarray, "atoms 3"]:
    """Return the electric field of all charges at each ion, `E_i = -sum_j q_j grad G(r_i - r_j)`.

    Args:
        sums: the prepared structure.
        charges: ionic charges, e.

    Returns:
        Field [atom, direction], e/Å².
    """
    field = np.zeros((len(charges), 3))
    push = sums.radial[0][:, None] * sums.vector
    _scatter(field, sums.first, push * charges[sums.second][:, None])
    _scatter(field, sums.second, -push * charges[sums.first][:, None])
    weighted = sums.weight[:, None] * sums.wavevector
    field += sums.sine @ (weighted * (charges @ sums.cosine)[:, None])
    field -= sums.cosine @ (weighted * (charges @ sums.sine)[:, None])
    return field


def dipole_tensor(sums: LatticeSums) -> Float[np.ndarray, "components components"]:
    """Return the matrix T with `E = T m`, the field at every ion of the dipoles m of all others.

    Its blocks are `T_ij = grad grad G`.

    Args:
        sums: the prepared structure.

    Returns:
        Symmetric matrix over 3 N components (atom-major), 1/Å³.
    """
    atoms = len(sums.cosine)
    root = np.sqrt(sums.weight)[:, None] * sums.wavevector
    waves = np.empty((atoms, 3, 2, len(root)))
    np.multiply(sums.cosine[:, None, :], root.T, out=waves[:, :, 0])
    np.multiply(sums.sine[:, None, :], root.T, out=waves[:, :, 1])
    rows = waves.reshape(3 * atoms, -1)
    tensor = -(rows @ rows.T)
    tensor[np.diag_indices(3 * atoms)] += sums.self_term
    block = sums.radial[1][:, None, None] * sums.vector[:, :, None] * sums.vector[:, None, :]
    block[:, range(3), range(3)] -= sums.radial[0][:, None]
    near = np.zeros((atoms * atoms, 9))
    _scatter(near, sums.first * atoms + sums.second, block.reshape(-1, 9))
    near = near.reshape(atoms, atoms, 3, 3).transpose(0, 2, 1, 3).reshape(3 * atoms, 3 * atoms)
    return tensor + near + near.T


def adjoint_gradient(
    sums: LatticeSums,
    response: Float[np.ndarray, "atoms 3 3"],
    charges: Float[np.ndarray, " atoms"],
    dipoles: Float[np.ndarray, "atoms 3"],
) -> Float[np.ndarray, "atoms 3 3"]:
    """Return the gradient of `S_a = sum_i response[i, a] . (E_i + (T m)_i)` by the positions.

    Args:
        sums: the prepared structure.
        response: vector of each ion for each a, [atom, a, direction]; held constant.
        charges: ionic charges, e; held constant.
        dipoles: ionic dipoles [atom, direction], e Å; held constant.

    Returns:
        `dS_a / dr_{i,b}`, index order [atom, a, b].
    """
    return _near_gradient(sums, response, charges, dipoles) + _far_gradient(sums, response, charges, dipoles)


def _near_gradient(
    sums: LatticeSums,
    response: Float[np.ndarray, "atoms 3 3"],
    charges: Float[np.ndarray, " atoms"],
    dipoles: Float[np.ndarray, "atoms 3"],
) -> Float[np.ndarray, "atoms 3 3"]:
    """Return the real-space half of `adjoint_gradient`.

    The second and third derivatives of G are contracted pair by pair.
    """
    first, second, vector = sums.first, sums.second, sums.vector
    b1, b2, b3 = (row[:, None, None] for row in sums.radial)
    along = vector[:, None, :]
    uneven = (
        response[first] * charges[second][:, None, None] - response[second] * charges[first][:, None, None]
    )
    force = b1 * uneven - b2 * np.einsum("pac,pc->pa", uneven, vector)[:, :, None] * along
    for observer, origin in ((first, second), (second, first)):
        probe, source = response[observer], dipoles[origin]
        probe_along = np.einsum("pac,pc->pa", probe, vector)[:, :, None]
        source_along = np.einsum("pc,pc->p", source, vector)[:, None, None]
        overlap = np.einsum("pac,pc->pa", probe, source)[:, :, None]
        force += along * (b2 * overlap - b3 * probe_along * source_along)
        force += b2 * (probe * source_along + source[:, None, :] * probe_along)
    gradient = np.zeros((len(charges), 9))
    _scatter(gradient, first, force.reshape(-1, 9))
    _scatter(gradient, second, -force.reshape(-1, 9))
    return gradient.reshape(-1, 3, 3)


def _far_gradient(
    sums: LatticeSums,
    response: Float[np.ndarray, "atoms 3 3"],
    charges: Float[np.ndarray, " atoms"],
    dipoles: Float[np.ndarray, "atoms 3"],
) -> Float[np.ndarray, "atoms 3 3"]:
    """Return the reciprocal half of `adjoint_gradient`, computed with structure factors.

    With `phi_i = exp(i k . r_i)`, `D = sum_j (k . m_j - i q_j) phi_j` and
    `L_a = sum_i (k . response_ia) phi_i`, `S_a = -sum_k w Re(L_a D*)`. Its gradient is the sum over k of
    `w k_b` times
    `(k . response_ia) Im(phi_i D*) - (k . m_i) Im(L_a phi_i*) - q_i Re(L_a phi_i*)`.
    """
    atoms, waves = sums.cosine.shape
    cosine, sine, wavevector = sums.cosine, sums.sine, sums.wavevector
    dipole_cosine = np.einsum("kc,kc->k", cosine.T @ dipoles, wavevector) + charges @ sine
    dipole_sine = np.einsum("kc,kc->k", sine.T @ dipoles, wavevector) - charges @ cosine
    flat = response.reshape(atoms, 9)
    response_cosine = np.einsum("kad,kd->ka", (cosine.T @ flat).reshape(waves, 3, 3), wavevector)
    response_sine = np.einsum("kad,kd->ka", (sine.T @ flat).reshape(waves, 3, 3), wavevector)

    linear = sums.weight[:, None] * wavevector
    square = (linear[:, :, None] * wavevector[:, None, :]).reshape(waves, 1, 9)

    def project(cosine_part: np.ndarray, sine_part: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """Sum over k: (cosine_part cos(k.r_i) + sine_part sin(k.r_i)) times each column of `moment`."""
        columns = cosine_part.shape[1] * moment.shape[2]
        return cosine @ (cosine_part[:, :, None] * moment).reshape(waves, columns) + sine @ (
            sine_part[:, :, None] * moment
        ).reshape(waves, columns)

    from_sources = project(-dipole_sine[:, None], dipole_cosine[:, None], square).reshape(atoms, 3, 3)
    on_dipoles = project(response_sine, -response_cosine, square).reshape(atoms, 3, 3, 3)
    on_charges = project(response_cosine, response_sine, linear[:, None, :]).reshape(atoms, 3, 3)
    return (
        np.einsum("iad,ibd->iab", response, from_sources)
        - np.einsum("id,iabd->iab", dipoles, on_dipoles)
        - charges[:, None, None] * on_charges
    )


def _scatter(
    target: Float[np.ndarray, "rows columns"],
    index: Int[np.ndarray, " pairs"],
    values: Float[np.ndarray, "pairs columns"],
) -> None:
    """Add `values` to the rows `index` of `target`, in place.

    One `bincount` for each column is faster than `np.add.at`.
    """
    for column in range(target.shape[1]):
        target[:, column] += np.bincount(index, weights=values[:, column], minlength=len(target))
