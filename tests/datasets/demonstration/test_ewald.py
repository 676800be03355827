import itertools

import numpy as np
import pytest
from scipy.special import erf, erfc

from equivar_jax.datasets.demonstration.ewald import adjoint_gradient, dipole_tensor, field_of_charges
from equivar_jax.datasets.demonstration.ewald_setup import lattice_sums, near_pairs

CHARGES = np.array([2.9, -1.7, -1.2])
WIDTHS = np.array([0.7, 0.4, 0.6])


@pytest.fixture(scope="module")
def triclinic() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    cell = 3.3 * np.eye(3) + 0.2 * rng.normal(size=(3, 3))
    fractions = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.1], [0.5, 0.0, 0.5]])
    return fractions @ cell + 0.1 * rng.normal(size=(3, 3)), cell


def real_space_sums(positions: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Field and dipole tensor by direct summation of explicit derivatives of erf(r/s)/r, in a soft sphere.

    A sphere whose edge is smoother than the shortest reciprocal vector resolves leaves only the k = 0 term.
    For charges it vanishes by symmetry; for dipoles it is the depolarising field of the sphere, which the
    Lorentz term 4 pi / 3V takes away.
    """
    radius, edge = 30.0, 6.0
    limit = int(np.ceil((radius + 5.5 * edge) / np.linalg.svd(cell)[1].min()))
    steps = np.arange(-limit, limit + 1)
    shifts = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3) @ cell
    shifts = shifts[np.linalg.norm(shifts, axis=1) < radius + 5.5 * edge]
    atoms = len(positions)
    field, tensor = np.zeros((atoms, 3)), np.zeros((atoms, 3, atoms, 3))
    for i, j in itertools.combinations_with_replacement(range(atoms), 2):
        vector = positions[i] - positions[j] + shifts
        distance = np.linalg.norm(vector, axis=1)
        vector, distance = vector[distance > 1e-9], distance[distance > 1e-9]
        x = 1.0 / np.hypot(WIDTHS[i], WIDTHS[j])
        gaussian = 2.0 * x / np.sqrt(np.pi) * np.exp(-((x * distance) ** 2))
        coulomb = erf(x * distance) / distance
        slope = (gaussian - coulomb) / distance
        curvature = -2.0 * x**2 * gaussian - 2.0 * slope / distance
        window = 0.5 * erfc((distance - radius) / edge)
        unit = vector / distance[:, None]
        push = -(window * slope) @ unit
        block = np.einsum("n,na,nb->ab", window * (curvature - slope / distance), unit, unit)
        lorentz = 4.0 * np.pi / (3.0 * abs(np.linalg.det(cell)))
        block += (np.sum(window * slope / distance) + lorentz) * np.eye(3)
        tensor[i, :, j] = tensor[j, :, i] = block
        if i != j:
            field[i] += CHARGES[j] * push
            field[j] -= CHARGES[i] * push
    return field, tensor.reshape(3 * atoms, 3 * atoms)


def test_field_and_tensor_agree_with_a_converged_real_space_sum(triclinic):
    positions, cell = triclinic
    sums = lattice_sums(positions, cell, WIDTHS)
    field, tensor = real_space_sums(positions, cell)
    np.testing.assert_allclose(field_of_charges(sums, CHARGES), field, atol=1e-9 * np.abs(field).max())
    np.testing.assert_allclose(dipole_tensor(sums), tensor, atol=1e-9 * np.abs(tensor).max())


@pytest.mark.parametrize("reach", [5.3, 8.0, 11.0])
def test_nothing_depends_on_the_splitting(triclinic, reach):
    rng = np.random.default_rng(0)
    response, dipoles = rng.normal(size=(3, 3, 3)), rng.normal(size=(3, 3))
    default, other = lattice_sums(*triclinic, WIDTHS), lattice_sums(*triclinic, WIDTHS, reach)
    assert len(default.weight) != len(other.weight)
    for quantity in (
        lambda sums: field_of_charges(sums, CHARGES),
        dipole_tensor,
        lambda sums: adjoint_gradient(sums, response, CHARGES, dipoles),
    ):
        expected = quantity(default)
        np.testing.assert_allclose(quantity(other), expected, atol=1e-10 * np.abs(expected).max())


def test_gradient_agrees_with_finite_differences(triclinic):
    positions, cell = triclinic
    rng = np.random.default_rng(1)
    response, dipoles = rng.normal(size=(3, 3, 3)), rng.normal(size=(3, 3))

    def value(moved: np.ndarray) -> np.ndarray:
        sums = lattice_sums(moved, cell, WIDTHS)
        field = field_of_charges(sums, CHARGES) + (dipole_tensor(sums) @ dipoles.reshape(-1)).reshape(-1, 3)
        return np.einsum("iad,id->a", response, field)

    gradient = adjoint_gradient(lattice_sums(positions, cell, WIDTHS), response, CHARGES, dipoles)
    step = 1e-3
    for atom, direction in itertools.product(range(3), repeat=2):
        slopes = []
        for size in (step, 2 * step):
            shift = np.zeros((3, 3))
            shift[atom, direction] = size
            slopes.append((value(positions + shift) - value(positions - shift)) / (2 * size))
        numerical = (4 * slopes[0] - slopes[1]) / 3
        np.testing.assert_allclose(
            gradient[atom, :, direction], numerical, atol=1e-7 * np.abs(gradient).max()
        )


def test_dipole_tensor_is_symmetric_with_the_trace_of_the_neutralising_background(triclinic):
    positions, cell = triclinic
    tensor = dipole_tensor(lattice_sums(positions, cell, np.full(3, 0.2)))
    np.testing.assert_allclose(tensor, tensor.T, atol=1e-13)
    # Away from the charge itself the potential of a point source obeys Laplace's equation up to the uniform
    # background, 4 pi / V, that zero macroscopic field implies.
    trace = np.einsum("iaja->ij", tensor.reshape(3, 3, 3, 3))
    np.testing.assert_allclose(trace, 4.0 * np.pi / abs(np.linalg.det(cell)), rtol=1e-9)


def test_each_pair_of_images_is_listed_once(triclinic):
    positions, cell = triclinic
    first, second, vector = near_pairs(positions, cell, 7.0)
    steps = np.arange(-4, 5)
    shifts = np.array(list(itertools.product(steps, steps, steps))) @ cell
    distance = np.linalg.norm(positions[:, None, None] - positions[None, :, None] + shifts, axis=-1)
    assert len(first) == np.count_nonzero((distance < 7.0) & (distance > 1e-9)) / 2
    remainder = (vector - positions[first] + positions[second]) @ np.linalg.inv(cell)
    np.testing.assert_allclose(remainder, np.rint(remainder), atol=1e-10)
