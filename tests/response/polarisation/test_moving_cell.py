"""Loops of a crystal whose cell moves: `equivar response hysteresis --cell move`."""

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.io.trajectory import Trajectory
from scipy.optimize import fsolve

from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.response.polarisation.driving import Driving, drive
from equivar_jax.response.polarisation.moving_cell import STEPS_BETWEEN, MovingCellCalculator, relax_cell

CELL = np.diag([4.0, 4.0, 4.2])
VOLUME = float(np.linalg.det(CELL))
SPRING, ELASTIC, PIEZO = 5.0, 1.0, 4.0
"""In eV/Å², eV/Å³ and eV/Å."""
CHARGES = np.array([[[1.0, 0.3, 0], [0, 1.0, 0], [0, 0, 1.4]]]) * np.array([-1, 1])[:, None, None]
FIELD, FORCE = 0.1, 1e-4
"""Largest field in V/Å; force in eV/Å at which a relaxation ends."""
SHEARS = [np.outer(*np.eye(3)[[a, b]]) for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]


def energy(cell, fractional):
    """`k u² / 2 + C V strain² / 2 - g u_z strain_zz`, u being the displacement of the second sublattice."""
    moved = (fractional[1] - fractional[0] - 0.5) @ cell
    strain = np.linalg.inv(CELL) @ cell
    strain = (strain + strain.T) / 2 - np.eye(3)
    elastic = ELASTIC * VOLUME / 2 * np.sum(strain**2)
    return SPRING / 2 * moved @ moved + elastic - PIEZO * moved[2] * strain[2, 2]


class Piezoelectric(Calculator):
    """Two sublattices on a spring in an elastic cell; the stress by finite differences of the energy."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 (as ASE has it)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        cell, fractional = self.atoms.cell.array, self.atoms.get_scaled_positions(wrap=False)
        moved = (fractional[1] - fractional[0] - 0.5) @ cell
        strain = (np.linalg.inv(CELL) @ cell)[2, 2] - 1
        pull = -SPRING * moved + np.array([0, 0, PIEZO * strain])
        step, stress = 1e-5, []
        for shear in SHEARS:
            symmetric = (shear + shear.T) / 2
            ends = [energy(cell @ (np.eye(3) + sign * step * symmetric), fractional) for sign in (-1, 1)]
            stress.append((ends[1] - ends[0]) / (2 * step) / self.atoms.get_volume())
        self.results = {
            "energy": energy(cell, fractional),
            "forces": np.array([-pull, pull]),
            "stress": np.array(stress),
        }


@pytest.fixture
def crystal():
    return Atoms("MgO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=CELL, pbc=True)


def driving(**others):
    given = {
        "potential": "model",
        "charges": "",
        "wave_form": "triangle",
        "amplitude": FIELD,
        "direction": (0.0, 0.0, 1.0),
        "points": 1,
        "cycles": 1,
        "temperature": 0.0,
        "period": 1600.0,
        "timestep": 5.0,
        "friction": 0.01,
        "largest_force": FORCE,
        "rattle": 0.0,
        "seed": 0,
        "repeat": 1,
        "cell_moves": True,
    }
    return Driving(**{**given, **others})


def frames_of(path):
    with Trajectory(str(path)) as file:
        return [file[k] for k in range(len(file))]


def balance(values):
    """Of forces, and of stress times volume, in the largest field."""
    moved, strain = values
    force = SPRING * moved - PIEZO * strain - 1.4 * FIELD
    stress = SPRING * moved**2 + ELASTIC * VOLUME * strain * (1 + strain)
    return force, stress - PIEZO * moved * (1 + 2 * strain)


@pytest.mark.slow
def test_displacement_and_strain_in_a_field_are_those_of_theory(crystal, tmp_path):
    """The field strains the crystal through its ions; P is without what a strain does to the electrons."""
    found = drive(crystal, Piezoelectric(), lambda _: CHARGES, driving(), tmp_path / "loop-1.traj")
    assert found.method == "integral"
    moved, strain = fsolve(balance, [0.03, 0.001])
    assert strain > 1e-3
    strained = frames_of(tmp_path / "loop-1.traj")[1]
    np.testing.assert_allclose(found.field[1], [0, 0, FIELD])
    np.testing.assert_allclose(strained.cell.array[2, 2] / CELL[2, 2] - 1, strain, atol=0.02 * strain)
    between = strained.get_scaled_positions(wrap=False)
    step = (between[1] - between[0] - 0.5) @ strained.cell.array
    np.testing.assert_allclose(step, [0, 0, moved], atol=2 * FORCE / SPRING)
    np.testing.assert_allclose(found.polarisation[1], [0, 0, 1.4 * moved / VOLUME], rtol=0.01, atol=1e-9)


def test_a_fixed_cell_keeps_its_vectors(crystal, tmp_path):
    path = tmp_path / "loop-1.traj"
    drive(crystal, Piezoelectric(), lambda _: CHARGES, driving(cell_moves=False), path)
    assert all((frame.cell.array == CELL).all() for frame in frames_of(path))


def test_dynamics_brings_a_compressed_cell_to_no_stress_and_goes_on_after_an_interruption(crystal, tmp_path):
    crystal.set_cell(0.98 * CELL, scale_atoms=True)
    cold = driving(temperature=5.0)
    whole = drive(crystal, Piezoelectric(), lambda _: CHARGES, cold, tmp_path / "whole-1.traj")
    last = frames_of(tmp_path / "whole-1.traj")[-1]
    assert last.get_volume() == pytest.approx(VOLUME, rel=0.01)

    def stop(_):
        if path.exists() and len(frames_of(path)) == 3:
            raise KeyboardInterrupt

    path = tmp_path / "broken-1.traj"
    with pytest.raises(KeyboardInterrupt):
        drive(crystal, Piezoelectric(), lambda _: CHARGES, cold, path, stop)
    again = drive(crystal, Piezoelectric(), lambda _: CHARGES, cold, path)
    np.testing.assert_array_equal(again.polarisation, whole.polarisation)


def test_a_cell_gives_way_to_its_stress_in_some_steps_only(crystal):
    crystal.set_cell(CELL @ np.diag([1.0, 1.01, 1.0]), scale_atoms=True)
    crystal.calc = Piezoelectric()
    start = crystal.cell.array.copy()
    for step in (0, 1, STEPS_BETWEEN - 1):
        relax_cell(crystal, step, 1.0)
    np.testing.assert_array_equal(crystal.cell.array, start)
    relax_cell(crystal, STEPS_BETWEEN, 1.0)
    assert CELL[1, 1] < crystal.cell.array[1, 1] < start[1, 1]


def test_the_stress_is_that_of_the_potential_and_only_where_it_is_asked_for(crystal):
    crystal.set_cell(0.99 * CELL, scale_atoms=True)
    crystal.calc = Piezoelectric()
    expected = crystal.get_stress()
    crystal.calc = MovingCellCalculator(Piezoelectric(), lambda _: CHARGES, [0, 0, FIELD])
    np.testing.assert_array_equal(crystal.get_stress(), expected)
    assert expected[0] < 0
    crystal.calc = FieldCalculator(Piezoelectric(), lambda _: CHARGES, [0, 0, FIELD])
    with pytest.raises(PropertyNotImplementedError, match="keep the cell fixed"):
        crystal.get_stress()
