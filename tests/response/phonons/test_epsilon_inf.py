"""Which electronic dielectric tensor the commands take."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from helpers.committees import calibrated_with_dielectric
from phonopy.file_IO import parse_BORN

from equivar_jax import load, train
from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.prediction import loading
from equivar_jax.prediction.dielectric import electronic_dielectric_tensor
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.phonons.epsilon_inf import choose_epsilon_inf
from equivar_jax.response.phonons.gamma_input import read_phonons
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, phonon_of
from equivar_jax.structures import with_born_effective_charges

EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (3.0, np.diag([3.0, 3.0, 3.0])),
        ([3], np.diag([3.0, 3.0, 3.0])),
        ([2, 3, 4], np.diag([2.0, 3.0, 4.0])),
        ([5.1, 6.2, 7.3, 0.4, -0.3, 0.2], EPSILON),
        (EPSILON, EPSILON),
        (EPSILON.ravel(), EPSILON),
    ],
)
def test_numbers_of_a_dielectric_tensor(given, expected):
    np.testing.assert_array_equal(choose_epsilon_inf(rock_salt(), given), expected)


def test_the_tensor_of_the_structure_counts_where_none_is_given():
    atoms = rock_salt()
    atoms.info["epsilon_inf"] = EPSILON
    np.testing.assert_array_equal(choose_epsilon_inf(atoms, None), EPSILON)
    np.testing.assert_array_equal(choose_epsilon_inf(atoms, 3.0), 3 * np.eye(3))
    with pytest.raises(InputError, match="screens the field of the ions"):
        choose_epsilon_inf(rock_salt(), None)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ([1, 2], "has 2 numbers"),
        ([0.9], "below 1"),
        ([np.nan], "finite"),
        ([2, 0.5, 0, 0, 2, 0, 0, 0, 2], "not symmetric"),
    ],
)
def test_what_is_no_dielectric_tensor(given, complaint):
    with pytest.raises(InputError, match=complaint):
        choose_epsilon_inf(rock_salt(), given)


# Of a network


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Run directory of a network with the readout, trained for an epoch."""
    folder = tmp_path_factory.mktemp("epsilon_inf")
    structures = []
    for k in range(8):
        atoms = bulk("MgO", "rocksalt", a=4.0 + 0.1 * k)
        atoms.info["epsilon_inf"] = (4.0 - 0.2 * k) * np.eye(3)
        atoms.rattle(0.05, seed=k)
        charges = np.array([2.0, -2.0])[:, None, None] * np.eye(3)
        structures.append(with_born_effective_charges(atoms, charges))
    write_structures(folder / "set.extxyz", structures)
    options = "--config test.py --model.dielectric True --train.epochs 1 --data.hygiene.enabled False"
    paths = ["--data.path", str(folder / "set.extxyz"), "--run-dir", str(folder / "run")]
    train.main([*options.split(), *paths])
    return folder / "run"


@pytest.mark.slow  # real training
def test_the_tensor_of_the_network_counts_last(network, capsys):
    predictor, atoms = load(network), rock_salt(cubic=False)
    expected = electronic_dielectric_tensor(predictor, atoms)
    np.testing.assert_array_equal(choose_epsilon_inf(atoms, None, predictor), expected)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("structure MgO: electronic dielectric tensor of the network (xx yy zz yz xz xy): ")
    assert f": {expected[0, 0]:.3f} {expected[1, 1]:.3f} {expected[2, 2]:.3f} 0.000" in line
    atoms.info["epsilon_inf"] = EPSILON
    np.testing.assert_array_equal(choose_epsilon_inf(atoms, None, predictor), EPSILON)
    np.testing.assert_array_equal(choose_epsilon_inf(atoms, 3.0, predictor), 3 * np.eye(3))
    assert not capsys.readouterr().out


def test_both_commands_take_it_and_say_so(network, tmp_path, capsys):
    atoms = rock_salt(cubic=False)
    expected = electronic_dielectric_tensor(load(network), atoms)
    write(tmp_path / "POSCAR", atoms, format="vasp")
    response(["born", str(tmp_path / "POSCAR"), "--checkpoint", str(network), "-o", str(tmp_path / "BORN")])
    assert "electronic dielectric tensor of the network" in capsys.readouterr().out
    found = parse_BORN(phonon_of(atoms).primitive, filename=tmp_path / "BORN")
    np.testing.assert_allclose(found["dielectric"], expected, atol=1e-4)
    phonon = phonon_of(atoms, (2, 2, 2), "P")
    phonon.force_constants = nearest_neighbour_springs(atoms_of(phonon.supercell), 2.4, 0.22)
    (tmp_path / "phonons").mkdir()  # where no BORN is beside the file
    path = tmp_path / "phonons" / "phonopy_params.yaml"
    phonon.save(path, settings={"force_constants": True})
    assert "epsilon_inf" not in read_phonons(path, charges=load(network).predict).atoms.info
    response(["dielectric", str(path), "--checkpoint", str(network), "-o", str(tmp_path / "a.png")])
    assert "electronic dielectric tensor of the network" in capsys.readouterr().out
    report = json.loads((tmp_path / "a.json").read_text())
    np.testing.assert_allclose(report["epsilon_inf"], expected, rtol=1e-5)


def test_a_network_without_the_readout_gives_none(trained):
    with pytest.raises(InputError, match=r"or a network trained with --model\.dielectric True"):
        choose_epsilon_inf(rock_salt(), None, load(trained.folder))


def test_of_a_calibrated_committee_it_comes_with_its_standard_deviations(capsys, tmp_path):
    model, atoms = calibrated_with_dielectric(), bulk("CaO", "rocksalt", a=4.8)
    expected, sigma = electronic_dielectric_tensor(model, atoms, uncertainty=True)
    np.testing.assert_array_equal(choose_epsilon_inf(atoms, None, model), expected)
    (line,) = capsys.readouterr().out.splitlines()
    assert f"{expected[0, 0]:.3f} {expected[1, 1]:.3f} {expected[2, 2]:.3f} 0.000 0.000 0.000; " in line
    assert f"standard deviations: {sigma[0, 0]:.3f} {sigma[1, 1]:.3f} {sigma[2, 2]:.3f} " in line
    assert sigma[0, 0] > 0


def test_the_command_needs_no_tensor_where_the_weights_of_the_package_give_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loading, "_load_shipped", lambda _: calibrated_with_dielectric())
    atoms = bulk("CaO", "rocksalt", a=4.8)
    write(tmp_path / "POSCAR", atoms, format="vasp")
    response(["born", str(tmp_path / "POSCAR"), "-o", str(tmp_path / "BORN")])
    assert "standard deviations: " in capsys.readouterr().out
    found = parse_BORN(phonon_of(atoms).primitive, filename=tmp_path / "BORN")
    expected = electronic_dielectric_tensor(calibrated_with_dielectric(), atoms)
    np.testing.assert_allclose(found["dielectric"], expected, atol=1e-4)
