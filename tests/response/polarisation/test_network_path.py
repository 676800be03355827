"""Changes of polarisation from a network that gives it, beside the integral of its tensors; closed paths."""

import csv
import itertools
import json

import numpy as np
import pytest
from helpers.polarised import molecule, predictor

from equivar_jax.calculators import EquivarCalculator
from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.prediction.polarisation import atomic_charges
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.phonons.harmonic import HarmonicCrystal, nearest_neighbour_springs, rock_salt
from equivar_jax.response.polarisation import path as path_module
from equivar_jax.response.polarisation.closure import integrate_loop
from equivar_jax.response.polarisation.hysteresis import quasi_static_loop, thermal_loop
from equivar_jax.response.polarisation.path import polarisation_along
from equivar_jax.response.polarisation.protocols import constant

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def model():
    return predictor()


def crystal():
    """Five ions in a skew cell, with some room."""
    atoms = molecule()
    atoms.set_cell([[6.0, 0, 1.0], [0.5, 6.5, 0], [0, 0, 6.2]])
    atoms.pbc = True
    return atoms


def walk(frames=5, scale=0.05):
    """Frames along a random walk in one cell."""
    rng, atoms, found = np.random.default_rng(1), crystal(), []
    for _ in range(frames):
        found.append(atoms.copy())
        atoms.positions += rng.normal(scale=scale, size=atoms.positions.shape)
    return found


def between(frames, parts):
    """The same path with more frames on its straight lines."""
    found = []
    for first, second in itertools.pairwise(frames):
        for share in np.arange(parts) / parts:
            atoms = first.copy()
            atoms.positions += share * (second.positions - first.positions)
            found.append(atoms)
    return [*found, frames[-1]]


def test_it_is_what_the_integral_of_the_tensors_comes_to_with_many_frames(model):
    frames = walk(3)
    found = polarisation_along(frames, model)
    assert found.method == "network"
    assert np.abs(found.change[-1]).max() > 1e-4
    errors = []
    for parts in (2, 4):
        many = between(frames, parts)
        integral = polarisation_along(many, [model.predict(atoms) for atoms in many])
        assert integral.method == "integral"
        errors.append(np.abs(integral.change[-1] - found.change[-1]).max())
    assert 3 < errors[0] / errors[1] < 5  # the trapezoid rule's own, of second order
    assert errors[1] < 0.02 * np.abs(found.change[-1]).max()


@pytest.mark.parametrize("given", ["predictor", "method", "calculator"])
def test_wrapped_frames_and_translations_change_nothing(model, given):
    frames = walk()
    expected = polarisation_along(frames, model).change
    charges = {"predictor": model, "method": model.predict, "calculator": EquivarCalculator(model)}[given]
    for k, atoms in enumerate(frames):
        atoms.translate([0.3 * k, 11.0, -5.0])
        atoms.wrap()
    found = polarisation_along(frames, charges)
    assert found.method == "network"
    assert np.abs(found.change - expected).max() < 1e-12


def test_one_frame_has_no_change(model):
    found = polarisation_along(walk(1), model)
    assert found.change.tolist() == [[0, 0, 0]]


def test_where_the_cell_changes_the_integral_is_taken_with_the_reason(model):
    frames = walk(3)
    frames[2].info["source"] = "path.traj, frame 2"
    frames[2].set_cell(frames[2].cell * 1.01, scale_atoms=True)
    found = polarisation_along(frames, model)
    assert found.method == "integral"
    assert found.reason == "path.traj, frame 2 has another cell than the first frame"
    expected = polarisation_along(frames, [model.predict(atoms) for atoms in frames])
    assert np.abs(found.change - expected.change).max() < 1e-12
    assert expected.reason is None


def test_an_atom_that_goes_round_the_crystal_carries_its_charge(model):
    """P changes by q R / V, though the structure is the same again; wrapped or not."""
    atoms, frames = crystal(), []
    lattice = atoms.cell.array[1]
    for k in range(13):
        frames.append(atoms.copy())
        frames[-1].positions[0] += k / 12 * lattice + [0, 0, -1.8 * np.sin(np.pi * k / 12)]
        frames[-1].wrap()
    charges = atomic_charges(model, atoms)
    found = polarisation_along(frames, model).change[-1] * atoms.get_volume()
    assert abs(charges[0, 0]) > 1
    assert found == pytest.approx(charges[0, 0] * lattice, abs=1e-9)
    with pytest.raises(InputError, match=r"atom 0 ends \[0, 1, 0\] cells away"):
        integrate_loop(frames, model.predict)


def curling(structures):
    """Make tensors that are no derivatives: around a loop in the plane (x0, y0) they leave k times its area.

    Z_0,zx = -k y0 and Z_0,zy = 0 have `integral = -k integral y dx = k area`, counter-clockwise.
    """
    found = np.zeros((len(structures), 5, 3, 3))
    for tensors, atoms in zip(found, structures, strict=True):
        tensors[0, 2, 0] = -0.7 * atoms.positions[0, 1]
    return found


def square(side=0.2):
    """Four corners of a loop of the first atom; the others stay."""
    frames = [crystal() for _ in range(4)]
    for atoms, corner in zip(frames, ([0, 0], [1, 0], [1, 1], [0, 1]), strict=True):
        atoms.positions[0, :2] += side * np.array(corner)
    return frames


def test_a_loop_of_tensors_that_are_derivatives_of_nothing_leaves_their_curl():
    found = integrate_loop(square(), curling)
    # Displacements are relative to the mean of five atoms, of which one moves.
    assert found.area == pytest.approx(0.2**2 * 0.8, rel=1e-9)
    assert found.length == pytest.approx(0.8 * np.sqrt(0.8), rel=1e-9)
    assert found.dipole == pytest.approx([0, 0, 0.7 * (0.2 * 0.8) ** 2], abs=1e-12)
    assert found.rule_error < 1e-12
    assert not found.is_flat


def test_derivatives_of_a_polarisation_leave_nothing(model):
    found = integrate_loop(walk(4, scale=0.15), model.predict)
    assert found.area > 0.05
    assert np.abs(found.dipole).max() < 1e-7
    assert np.abs(found.dipole).max() < 10 * found.rule_error + 1e-9


def test_there_and_back_encloses_nothing():
    assert integrate_loop(between(square()[:2], 4), curling).is_flat
    assert integrate_loop(square()[:1], curling).is_flat


def test_a_loop_through_other_cells_is_refused(model):
    frames = walk(3)
    frames[1].set_cell(frames[1].cell * 1.01)
    with pytest.raises(InputError, match="another cell than that of"):
        integrate_loop(frames, model.predict)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms.info.update(charge=1), "a net charge of 1 e"),
        (lambda atoms: atoms.set_pbc(False), "a molecule has ASE's property dipole"),
    ],
)
def test_what_has_no_polarisation_is_refused(model, change, message):
    frames = walk(2)
    change(frames[1])
    with pytest.raises(InputError, match=message):
        polarisation_along(frames, model)


def test_the_command_says_where_the_change_is_from_and_whether_the_loop_closes(
    model, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(path_module, "load", lambda _: model)
    frames, source = walk(4, scale=0.15), tmp_path / "path.extxyz"
    write_structures(source, frames)
    output = tmp_path / "out.csv"
    response(["polarisation", str(source), "--checkpoint", "RUN", "--closure", "-o", str(output)])
    told = capsys.readouterr().out
    assert "from: the polarisation that the network itself gives" in told
    assert "integral of Z around the closed path: " in told
    numbers = json.loads(output.with_suffix(".json").read_text())
    assert numbers["method"] == "network"
    assert np.abs(numbers["closure"]["integral_e_A"]).max() < 1e-6
    with output.open() as handle:
        last = list(csv.DictReader(handle))[-1]
    assert numbers["change_uC_per_cm2"][1] == pytest.approx(float(last["dPy_uC/cm2"]), abs=1e-12)


def test_the_command_refuses_a_loop_of_labels_and_says_when_there_is_none(tmp_path, complaint, capsys):
    output = str(tmp_path / "out.csv")
    assert "--closure needs tensors between the frames" in complaint(
        response, "polarisation", "path.traj", "--closure", "-o", output
    )
    response(["polarisation", "--example", "--closure", "-o", output])
    assert "encloses no area" in capsys.readouterr().out


def ions():
    """Rock salt of springs whose frequencies do not matter."""
    atoms = rock_salt(cubic=False)
    return atoms, HarmonicCrystal(atoms, nearest_neighbour_springs(atoms, 8.0, 1.5), np.zeros((2, 3, 3)))


def test_a_relaxed_loop_takes_the_networks_polarisation(model):
    atoms, base = ions()
    fields = 0.3 * np.array([[0, 0, 1.0], [0, 1, 0]])
    loop = quasi_static_loop(atoms, base, EquivarCalculator(model), fields, fmax=1e-3)
    assert loop.method == "network"
    integral = quasi_static_loop(atoms, base, lambda structure: model.predict(structure), fields, fmax=1e-3)
    assert integral.method == "integral"
    assert np.abs(loop.polarisation).max() > 1e-3
    assert np.abs(loop.polarisation - integral.polarisation).max() < 0.02 * np.abs(loop.polarisation).max()
    assert np.abs(loop.polarisation - integral.polarisation).max() > 1e-12


def test_a_thermal_loop_does_too(model):
    atoms, base = ions()
    settings = {"timestep": 2.0, "friction": 0.02, "points": 4}
    found = [
        thermal_loop(atoms, base, charges, constant(0.4), 40.0, 20.0, **settings)
        for charges in (EquivarCalculator(model), lambda structure: model.predict(structure))
    ]
    assert [loop.method for loop in found] == ["network", "integral"]
    network, integral = (loop.polarisation for loop in found)
    assert np.abs(network - integral).max() < 0.02 * np.abs(network).max()
