"""The network as an ASE calculator: the numbers of `predict`, compiled once, in ASE's loops."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.lj import LennardJones
from ase.md.verlet import VelocityVerlet
from helpers.committees import with_kernel

from equivar_jax import load, predict
from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.errors import InputError
from equivar_jax.predict import IsolatedAtomWarning, UnseenElementWarning

BEC = "born_effective_charges"


@pytest.fixture(scope="module")
def model(trained):
    return load(trained.folder)


def titanate(x=1, y=1):
    """Cubic CaTiO3, rattled, x by y cells; its elements are all trained on."""
    cell = Atoms(
        "CaTiO3",
        cell=[3.9] * 3,
        pbc=True,
        scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)],
    )
    atoms = cell.repeat((x, y, 1))
    atoms.rattle(0.05, seed=0)
    return atoms


def assert_predicted(found, model, atoms, **options):
    expected = model.predict(atoms, **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6 * np.abs(expected).max())


@pytest.mark.parametrize("shape", [(1, 1), (2, 1)])
def test_the_property_is_what_predict_says(model, shape):
    atoms = titanate(*shape)
    atoms.calc = EquivarCalculator(model)
    found = atoms.calc.get_property(BEC, atoms)
    assert found.dtype == np.float64
    assert np.abs(found.sum(axis=0)).max() < 1e-8
    assert_predicted(found, model, atoms)
    np.testing.assert_array_equal(atoms.get_properties([BEC])[BEC], found)


def test_a_run_directory_will_do(trained, model):
    atoms = titanate()
    found = EquivarCalculator(str(trained.folder)).get_property(BEC, atoms)
    assert_predicted(found, model, atoms)


def test_a_trajectory_compiles_once_and_agrees_with_predict_at_every_step(model):
    atoms = titanate(3, 3)
    charges = EquivarCalculator(with_kernel(model, "chunked"), skin=0.5)
    # Argon-like spheres hold the crystal together well enough for fifty steps.
    base = LennardJones(sigma=1.8, epsilon=0.2, rc=4.0, smooth=True)
    atoms.calc = FieldCalculator(base, charges, [0.0, 0.05, 0.1])
    atoms.set_velocities(np.random.default_rng(1).normal(scale=0.04, size=atoms.positions.shape))
    dynamics = VelocityVerlet(atoms, 2.0 * units.fs)
    frames, before = [], predict.apply._cache_size()

    def keep():
        frames.append((atoms.copy(), charges.get_property(BEC, atoms)))

    dynamics.attach(keep)
    dynamics.run(50)
    assert predict.apply._cache_size() - before == 1
    assert 1 < charges.neighbours.searches < 25
    assert len({int(charges.neighbours.graph(frame).n_edge[0]) for frame, _ in frames}) > 10
    for frame, found in frames[::7]:
        assert_predicted(found, model, frame)


def test_a_crystal_that_is_compressed_and_released_compiles_two_shapes_at_most(model):
    atoms, charges = titanate(7), EquivarCalculator(with_kernel(model, "chunked"))
    atoms.calc = charges
    compiled = []
    for scale in (1.0, 0.8, 0.79, 0.9, 1.0, 0.8):
        squeezed = atoms.copy()
        squeezed.set_cell(atoms.cell * scale, scale_atoms=True)
        before = predict.apply._cache_size()
        found = charges.get_property(BEC, squeezed)
        compiled.append(predict.apply._cache_size() - before)
        assert_predicted(found, model, squeezed)
    assert sum(compiled) <= 2


def test_other_structures_may_come_in_between(model):
    charges = EquivarCalculator(model)
    for atoms in (titanate(2), titanate(), titanate(2)):
        assert_predicted(charges.get_property(BEC, atoms), model, atoms)


def test_nothing_is_calculated_twice_and_a_copy_comes_back(model, monkeypatch):
    atoms, charges = titanate(), EquivarCalculator(model)
    first = charges.get_property(BEC, atoms)
    kept = first.copy()
    first[:] = 0.0
    monkeypatch.setattr(charges, "calculate", None)
    np.testing.assert_array_equal(charges.get_property(BEC, atoms), kept)
    atoms.positions[0, 0] += 1e-3
    assert charges.calculation_required(atoms, [BEC])


def test_the_net_charge_of_the_cell_is_followed_without_any_movement(model):
    atoms, charges = titanate(), EquivarCalculator(model)
    neutral = charges.get_property(BEC, atoms)
    atoms.info["charge"] = 2
    charged = charges.get_property(BEC, atoms)
    np.testing.assert_allclose(charged.sum(axis=0), 2 * np.eye(3), atol=1e-8)
    np.testing.assert_allclose(charged - neutral, np.tile(0.4 * np.eye(3), (5, 1, 1)), atol=1e-6)


def test_it_refuses_what_predict_refuses(model, tmp_path):
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    with pytest.raises(InputError, match="the model has never seen Na, Cl; it knows"):
        EquivarCalculator(model).get_property(BEC, salt)
    with pytest.raises(InputError, match="no atoms"):
        EquivarCalculator(model).get_property(BEC, Atoms())
    with pytest.raises(InputError, match=str(tmp_path)):
        EquivarCalculator(tmp_path)
    with pytest.raises(PropertyNotImplementedError):
        EquivarCalculator(model).get_property("energy", titanate())
    with pytest.raises(InputError, match="no structure to calculate; give the atoms"):
        EquivarCalculator(model).get_property(BEC)


def test_it_warns_where_predict_warns(model):
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    with pytest.warns(UnseenElementWarning, match="never seen Na, Cl"):
        found = EquivarCalculator(model, allow_unseen=True).get_property(BEC, salt)
    with pytest.warns(UnseenElementWarning):
        assert_predicted(found, model, salt, allow_unseen=True)
    with pytest.warns(IsolatedAtomWarning, match="structure O: 1 atoms have no neighbour within 3.0 Å"):
        assert EquivarCalculator(model).get_property(BEC, Atoms("O")).tolist() == np.zeros((1, 3, 3)).tolist()
