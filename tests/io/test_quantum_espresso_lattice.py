import numpy as np
import pytest
from ase.cell import Cell
from ase.geometry import cell_to_cellpar

from equivar_jax.errors import InputError
from equivar_jax.io.quantum_espresso_lattice import lattice_vectors

CELLDM = [10.2, 1.2, 1.5, 0.11, -0.17, 0.23]
# Bravais lattice in ASE's abbreviations, and points in the conventional cell.
LATTICES = {
    1: ("CUB", 1),
    2: ("FCC", 4),
    3: ("BCC", 2),
    -3: ("BCC", 2),
    4: ("HEX", 1),
    5: ("RHL", 1),
    -5: ("RHL", 1),
    6: ("TET", 1),
    7: ("BCT", 2),
    8: ("ORC", 1),
    9: ("ORCC", 2),
    -9: ("ORCC", 2),
    91: ("ORCC", 2),
    10: ("ORCF", 4),
    11: ("ORCI", 2),
    12: ("MCL", 1),
    -12: ("MCL", 1),
    13: ("MCLC", 2),
    -13: ("MCLC", 2),
    14: ("TRI", 1),
}


def edges(ibrav: int) -> np.ndarray:
    _, b, c, *_ = CELLDM
    if abs(ibrav) <= 3 or abs(ibrav) == 5:
        return np.ones(3)
    return np.array([1.0, 1.0 if ibrav in (4, 6, 7) else b, c])


@pytest.mark.parametrize("ibrav", LATTICES)
def test_a_lattice_has_its_symmetry(ibrav):
    found = Cell(lattice_vectors(ibrav, CELLDM, "file")).get_bravais_lattice()
    assert found.name == LATTICES[ibrav][0]


@pytest.mark.parametrize(
    "ibrav", [ibrav for ibrav in LATTICES if ibrav not in (4, 5, -5, 12, -12, 13, -13, 14)]
)
def test_conventional_edges_lie_along_x_y_and_z(ibrav):
    cell = lattice_vectors(ibrav, CELLDM, "file")
    steps = np.diag(edges(ibrav)) @ np.linalg.inv(cell)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-12)
    assert np.linalg.det(steps) == pytest.approx(LATTICES[ibrav][1])


def test_oblique_lattices_have_their_angles_and_directions():
    triclinic = lattice_vectors(14, CELLDM, "file")
    cosines = np.cos(np.radians(cell_to_cellpar(triclinic)[3:]))
    np.testing.assert_allclose(cosines, CELLDM[3:], atol=1e-12)
    np.testing.assert_allclose(cell_to_cellpar(triclinic)[:3], edges(14))
    np.testing.assert_allclose(triclinic[0], [1, 0, 0], atol=1e-12)
    assert abs(triclinic[1, 2]) < 1e-12
    unique_c, unique_b = lattice_vectors(12, CELLDM, "file"), lattice_vectors(-12, CELLDM, "file")
    np.testing.assert_allclose(unique_c[2], [0, 0, 1.5], atol=1e-12)
    np.testing.assert_allclose(unique_c[1], 1.2 * np.array([0.11, np.sqrt(1 - 0.11**2), 0]), atol=1e-12)
    np.testing.assert_allclose(unique_b[1], [0, 1.2, 0], atol=1e-12)
    np.testing.assert_allclose(unique_b[2], 1.5 * np.array([-0.17, 0, np.sqrt(1 - 0.17**2)]), atol=1e-12)


def test_hexagonal_and_rhombohedral_axes_lie_along_z():
    hexagonal = lattice_vectors(4, CELLDM, "file")
    np.testing.assert_allclose(hexagonal[2], [0, 0, 1.5], atol=1e-12)
    np.testing.assert_allclose(cell_to_cellpar(hexagonal)[[0, 1, 5]], [1, 1, 120])
    rhombohedral = lattice_vectors(5, CELLDM, "file")
    np.testing.assert_allclose(rhombohedral @ rhombohedral.T, 0.11 + 0.89 * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rhombohedral.sum(axis=0)[:2], 0, atol=1e-12)
    # The second vector lies in the plane of y and z.
    assert abs(rhombohedral[1, 0]) < 1e-12 < rhombohedral[1, 1]


def test_base_centred_monoclinic_lattices_hold_the_conventional_vectors_of_12_and_minus_12():
    for ibrav, primitive in ((13, 12), (-13, -12)):
        conventional = lattice_vectors(primitive, CELLDM, "file")
        steps = conventional @ np.linalg.inv(lattice_vectors(ibrav, CELLDM, "file"))
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-12)
        assert np.linalg.det(steps) == pytest.approx(2)
    # Which face is centred: between a and c for unique axis c, between a and b for unique axis b.
    np.testing.assert_allclose(lattice_vectors(13, CELLDM, "file")[2], [0.5, 0, 0.75], atol=1e-12)
    np.testing.assert_allclose(lattice_vectors(-13, CELLDM, "file")[0], [0.5, 0.6, 0], atol=1e-12)
    np.testing.assert_allclose(lattice_vectors(91, CELLDM, "file")[1:], [[0, 0.6, -0.75], [0, 0.6, 0.75]])


def test_the_other_rhombohedral_lattice_lies_around_xyz():
    cell = lattice_vectors(-5, CELLDM, "file")
    np.testing.assert_allclose(cell @ cell.T, 0.11 + 0.89 * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(cell, np.roll(np.roll(cell, 1, axis=0), 1, axis=1), atol=1e-12)
    assert cell[0, 0] < cell[0, 1] == pytest.approx(cell[0, 2])


@pytest.mark.parametrize("ibrav", LATTICES)
def test_lattices_are_right_handed(ibrav):
    assert np.linalg.det(lattice_vectors(ibrav, CELLDM, "file")) > 0


@pytest.mark.parametrize("ibrav", [0, -4, 15, 92, 99])
def test_other_numbers_are_refused(ibrav):
    with pytest.raises(InputError, match=f"file: there is no lattice ibrav {ibrav} in"):
        lattice_vectors(ibrav, CELLDM, "file")


@pytest.mark.parametrize(
    ("ibrav", "celldm"),
    [
        (1, [0.0] * 6),
        (8, [10.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        (4, [10.0, 1.0, -1.0, 0.0, 0.0, 0.0]),
        (5, [10.0, 0.0, 0.0, -0.5, 0.0, 0.0]),
        (12, [10.0, 1.0, 1.0, 1.0, 0.0, 0.0]),
        (14, [10.0, 1.0, 1.0, 1e200, 0.0, 0.0]),
        (-13, [10.0, 1.0, 1.0, 0.0, -1.5, 0.0]),
        (91, [10.0, 1.0, -1.0, 0.0, 0.0, 0.0]),
        (14, [10.0, 1.0, 1.0, 0.9, 0.9, -0.9]),
    ],
)
def test_parameters_that_make_no_lattice_are_refused(ibrav, celldm):
    with pytest.raises(InputError, match="is not a lattice"):
        lattice_vectors(ibrav, celldm, "file")
