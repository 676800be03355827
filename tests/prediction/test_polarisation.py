"""The dipole of a cell: what it is the integral of, what changes it and what does not, what is refused."""

import dataclasses
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from helpers.networks import random_params

from equivar_jax.config import Config, ModelConfig
from equivar_jax.errors import InputError
from equivar_jax.prediction import CellDipole, IsolatedAtomWarning, Predictor, in_cpp, in_xla, join_members
from equivar_jax.prediction.in_cpp import NetworksInCpp
from equivar_jax.prediction.polarisation import atomic_charges
from equivar_jax.weights.checkpoint import Metadata

CONFIG = ModelConfig(
    radial_functions=6,
    envelope=True,
    embedding=4,
    channels=8,
    interactions=1,
    mean_neighbours=9.0,
    form="polarisation",
)
ELEMENTS = (1, 6, 8, 12, 13)


def network(seed=0, **changed):
    config = dataclasses.replace(CONFIG, **changed)
    params = random_params(config, np.float64, seed)
    return Predictor(params, Metadata(Config(model=config), ELEMENTS))


@pytest.fixture
def model(float64):
    return network()


def crystal():
    """Rock salt with 8 atoms, and the same with every atom displaced."""
    rest = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    moved = rest.copy()
    moved.rattle(0.05, seed=1)
    return rest, moved


def test_it_is_the_integral_of_the_tensors_from_the_reference(model):
    """By Gauss and Legendre on a straight path."""
    rest, moved = crystal()
    steps = moved.positions - rest.positions
    nodes, weights = np.polynomial.legendre.leggauss(6)
    frames = []
    for node in nodes:
        frames.append(rest.copy())
        frames[-1].positions += (1 + node) / 2 * steps
    work = sum(
        weight / 2 * np.einsum("iab,ib->a", tensors, steps)
        for weight, tensors in zip(weights, model.predict(frames), strict=True)
    )
    found = model.polarisation(moved, reference=rest)
    assert np.abs(work).max() > 1e-3
    np.testing.assert_allclose(found.dipole, work, atol=1e-6 * np.abs(work).max())
    np.testing.assert_array_equal(found.quantum, rest.cell.array)
    assert found.spread is None


def test_wrapping_and_moving_all_atoms_together_change_nothing(model):
    rest, moved = crystal()
    expected = model.polarisation(moved, rest).dipole
    wrapped = moved.copy()
    wrapped.positions += [1.9, -2.0, 7.3]
    wrapped.wrap()
    images = moved.copy()
    images.positions += np.random.default_rng(0).integers(-2, 3, (8, 3)) @ rest.cell.array
    for atoms in (wrapped, images):
        np.testing.assert_allclose(model.polarisation(atoms, rest).dipole, expected, atol=1e-12)


def test_a_list_gives_a_list_and_the_reference_has_none(model):
    rest, moved = crystal()
    found = model.polarisation([rest, moved], rest)
    assert [type(one) for one in found] == [CellDipole, CellDipole]
    np.testing.assert_array_equal(found[0].dipole, np.zeros(3))
    np.testing.assert_allclose(found[1].dipole, model.polarisation(moved, rest).dipole, atol=1e-12)
    assert model.polarisation([], rest) == []


def test_a_supercell_has_as_many_dipoles_as_cells(model):
    rest, moved = crystal()
    repeat = (2, 1, 2)
    one, many = model.polarisation(moved, rest), model.polarisation(moved * repeat, rest * repeat)
    np.testing.assert_allclose(many.dipole, 4 * one.dipole, atol=1e-10)
    np.testing.assert_allclose(many.quantum, np.array(repeat)[:, None] * one.quantum)


def test_an_atom_that_leaves_by_a_lattice_vector_takes_its_charge_along(model):
    rest, _ = crystal()
    path, movers = [], rest.numbers == rest.numbers[0]
    for share in np.arange(0.0, 1.001, 0.125):
        path.append(rest.copy())
        around = 0.8 * np.sin(np.pi * share)  # past the atoms of the other element
        path[-1].positions[movers] += [share * rest.cell[0, 0], around, around]
    charge = atomic_charges(model, rest)[0, movers].sum()
    assert abs(charge) > 0.05
    expected = charge * rest.cell.array[0]
    for atoms in path:
        atoms.wrap()
    followed = model.polarisation(path, rest, images="path")
    np.testing.assert_allclose(followed[-1].dipole, expected, atol=1e-10)
    np.testing.assert_allclose(model.polarisation(path[-1], rest).dipole, np.zeros(3), atol=1e-10)
    with pytest.raises(InputError, match=r"atom \d is 0\.\d\d of a cell vector away .* in the reference"):
        model.polarisation(path[4], rest)
    with pytest.raises(InputError, match="in the structure before it"):
        model.polarisation(path[::4], rest, images="path")


def test_positions_that_were_never_wrapped_are_taken_as_they_stand(model):
    rest, moved = crystal()
    away = moved.copy()
    away.positions[2] += rest.cell.array[1]
    found, near = (
        model.polarisation(away, rest, images=images).dipole for images in ("unwrapped", "nearest")
    )
    charge = atomic_charges(model, rest)[0, 2]
    np.testing.assert_allclose(found - near, charge * rest.cell.array[1], atol=1e-10)


def test_a_committee_has_mean_and_spread(float64):
    members = [network(seed) for seed in range(3)]
    committee = pickle.loads(pickle.dumps(join_members(members, ["a", "b", "c"])))
    rest, moved = crystal()
    each = np.array([member.polarisation(moved, rest).dipole for member in members])
    found = committee.polarisation(moved, rest)
    np.testing.assert_allclose(found.dipole, each.mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(found.spread, each.std(axis=0, ddof=1), atol=1e-10)
    assert found.spread.min() > 1e-4


def test_a_molecule_has_no_quantum_and_a_charged_one_an_origin(model):
    rest = molecule("CH3OH")
    moved = rest.copy()
    moved.rattle(0.05, seed=2)
    found = model.polarisation(moved, rest)
    np.testing.assert_array_equal(found.quantum, np.zeros((3, 3)))
    far = moved.copy()
    far.positions += 50.0
    np.testing.assert_allclose(model.polarisation(far, rest).dipole, found.dipole, atol=1e-10)
    for atoms in (rest, moved, far):
        atoms.info["charge"] = 2.0
    change = model.polarisation(far, rest).dipole - model.polarisation(moved, rest).dipole
    np.testing.assert_allclose(change, np.full(3, 2.0 * 50.0), atol=1e-10)


def test_a_slab_has_quanta_in_its_plane_only(model):
    rest = fcc111("Al", (1, 1, 3), a=4.05, vacuum=3.0)
    rest.numbers[1] = 12
    moved = rest.copy()
    moved.rattle(0.05, seed=3)
    found = model.polarisation(moved, rest)
    np.testing.assert_array_equal(found.quantum[:2], rest.cell.array[:2])
    np.testing.assert_array_equal(found.quantum[2], np.zeros(3))
    lifted = moved.copy()
    lifted.positions += [0.3, 0.2, 30.0]
    np.testing.assert_allclose(model.polarisation(lifted, rest).dipole, found.dipole, atol=1e-10)


def test_both_forms_of_the_code_give_the_same(model):
    rest, moved = crystal()
    charged = molecule("CH3OH")
    charged.info["charge"] = 1.0
    ours, others = model, network(kernel="chunked")
    assert isinstance(ours._networks, NetworksInCpp)
    assert isinstance(others._networks, in_xla.NetworksInXla)
    structures = [rest, moved, charged]
    for found, expected in zip(ours.predictions(structures), others.predictions(structures), strict=True):
        for name in ("tensors", "raw"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-10)
    np.testing.assert_allclose(
        ours.polarisation(moved, rest).dipole, others.polarisation(moved, rest).dipole, atol=1e-10
    )


def test_a_large_structure_has_its_members_accumulated(float64, monkeypatch):
    committee = join_members([network(seed) for seed in range(3)], ["a", "b", "c"])
    moved = crystal()[1]
    moved.info["charge"] = 2.0
    (whole,) = committee.predictions([moved])
    monkeypatch.setattr(in_cpp, "LARGE", len(moved) - 1)
    (found,) = committee.predictions([moved])
    for name in ("tensors", "raw", "spread"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), atol=1e-10)


def test_a_large_structure_goes_layer_by_layer(float64, monkeypatch):
    model = network(kernel="chunked")
    rest, moved = crystal()
    expected, tensors = model.polarisation(moved, rest).dipole, model.predict(moved)
    monkeypatch.setattr(in_xla, "LARGE_BACKWARDS", 4)
    monkeypatch.setattr("equivar_jax.prediction.batches.BATCH_NODES", 4)
    monkeypatch.setattr("equivar_jax.prediction.batches.SMALL", 4)
    np.testing.assert_allclose(model.polarisation(moved, rest).dipole, expected, atol=1e-10)
    np.testing.assert_allclose(model.predict(moved), tensors, atol=1e-10)


def test_atoms_without_neighbours_bring_a_warning(model):
    pair = Atoms("HO", positions=[[0, 0, 0], [0, 0, 30]])
    with pytest.warns(IsolatedAtomWarning, match="2 atoms have no neighbour"):
        found = model.polarisation(pair, pair)
    np.testing.assert_array_equal(found.dipole, np.zeros(3))


def changed(atoms, **settings):
    other = atoms.copy()
    for name, value in settings.items():
        if name == "strain":
            other.set_cell(other.cell.array * value, scale_atoms=True)
        elif name == "charge":
            other.info["charge"] = value
        else:
            setattr(other, name, value)
    return other


REST, MOVED = crystal()
REFUSED = {
    "other atoms": (MOVED[::-1], REST, "other atoms than the reference, or in another order"),
    "fewer atoms": (MOVED[:4], REST, "other atoms than the reference"),
    "another cell": (changed(MOVED, strain=1.01), REST, r"the cell differs .* by 0\.0421 Å; what a strain"),
    "not periodic": (changed(MOVED, pbc=False), REST, "periodic along .* in the reference; set pbc"),
    "one is charged": (changed(MOVED, charge=1.0), REST, r"a net charge of 1\.0 e, but 0\.0 e in the refer"),
    "charged": (
        changed(MOVED, charge=1.0),
        changed(REST, charge=1.0),
        "the dipole of a charged cell depends on the origin",
    ),
    "never seen": (
        changed(MOVED, numbers=[26, 8] * 4),
        changed(REST, numbers=[26, 8] * 4),
        "the model has never seen Fe",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_dipole_is_refused_with_the_reason(case):
    atoms, reference, message = REFUSED[case]
    model = Predictor({"params": {}}, Metadata(Config(model=CONFIG), ELEMENTS))
    with pytest.raises(InputError, match=message):  # before anything is computed
        model.polarisation(atoms, reference)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "direct"}, "derivatives of no polarisation: their integral depends on the path"),
        ({"envelope": False}, "its polarisation jumps whenever an atom crosses the cutoff"),
    ],
)
def test_a_network_without_a_continuous_polarisation_is_refused(settings, message):
    config = dataclasses.replace(CONFIG, **settings)
    model = Predictor({"params": {}}, Metadata(Config(model=config), ELEMENTS))
    with pytest.raises(InputError, match=message):
        model.polarisation(MOVED, REST)
