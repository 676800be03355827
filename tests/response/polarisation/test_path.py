"""Polarisation along paths, against what is known of it."""

import csv

import numpy as np
import pytest
from ase import Atoms
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax import load
from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.polarisation.path import (
    nearest_branch,
    polarisation_along,
    polarisation_quanta,
    polarisation_step,
)
from equivar_jax.response.units import MICROCOULOMB_PER_CM2
from equivar_jax.structures import with_born_effective_charges


def crystal(seed=0, atoms=4):
    """A triclinic cell and charges without any symmetry, but for the sum rule."""
    rng = np.random.default_rng(seed)
    cell = np.diag([4.0, 4.5, 5.2]) + rng.normal(scale=0.3, size=(3, 3))
    structure = Atoms("BaTiOMg"[: 2 * atoms], cell=cell, scaled_positions=rng.random((4, 3)), pbc=True)
    tensors = rng.normal(size=(4, 3, 3))
    return structure, tensors - tensors.mean(axis=0)


def path(start, frames=6, scale=0.08, seed=1):
    """Frames along a random walk, and their displacements from the first one."""
    steps = np.random.default_rng(seed).normal(scale=scale, size=(frames, len(start), 3))
    steps[0] = 0
    moved = np.cumsum(steps, axis=0)
    found = [start.copy() for _ in moved]
    for atoms, displacement in zip(found, moved, strict=True):
        atoms.positions += displacement
    return found, moved


def test_fixed_charges_give_the_dipole_of_the_displacements():
    start, charges = crystal()
    frames, moved = path(start)
    expected = np.einsum("iab,kib->ka", charges, moved) / start.get_volume()
    assert np.abs(polarisation_along(frames, charges).change - expected).max() < 1e-14


def test_charges_that_are_linear_in_the_positions_are_integrated_exactly():
    """Z_xx = 1 + g q and -1 - g q on two atoms at distance q: V dP = dq + g (q1² - q0²)/2."""
    first = Atoms("NaCl", cell=[6, 6, 6], positions=[[0, 0, 0], [2.5, 3, 3]], pbc=True)
    frames = [first.copy() for _ in range(4)]
    for atoms, q in zip(frames, (2.5, 2.9, 3.1, 2.2), strict=True):
        atoms.positions[1, 0] = q

    def charges(atoms):
        tensors = np.zeros((2, 3, 3))
        tensors[:, 0, 0] = np.array([1, -1]) * -(1 + 0.7 * atoms.positions[1, 0])
        return tensors

    expected = [(q - 2.5) + 0.35 * (q**2 - 2.5**2) for q in (2.5, 2.9, 3.1, 2.2)]
    change = polarisation_along(frames, charges).change
    assert change[:, 0] * 216 == pytest.approx(expected, abs=1e-12)


@given(seed=st.integers(0, 1000))
@examples(20)
def test_wrapping_and_rigid_translations_change_nothing(seed):
    start, charges = crystal(seed % 7)
    frames, _ = path(start)
    expected = polarisation_along(frames, charges).change
    rng = np.random.default_rng(seed)
    for atoms in frames:
        atoms.translate(rng.normal(scale=20.0, size=3))
        atoms.wrap()
    assert np.abs(polarisation_along(frames, charges).change - expected).max() < 1e-12
    # A violated sum rule is put right, not integrated.
    assert np.abs(polarisation_along(frames, charges + 0.3).change - expected).max() < 1e-12


def test_rotation_turns_the_polarisation():
    start, charges = crystal()
    frames, _ = path(start)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turned = [atoms.copy() for atoms in frames]
    for atoms in turned:
        atoms.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)
    change = polarisation_along(turned, np.einsum("ac,icd,bd->iab", rotation, charges, rotation)).change
    assert np.abs(change - polarisation_along(frames, charges).change @ rotation.T).max() < 1e-14


def test_a_supercell_has_the_same_polarisation_and_smaller_quanta():
    start, charges = crystal()
    frames, _ = path(start)
    small = polarisation_along(frames, charges)
    large = polarisation_along([atoms.repeat((2, 1, 3)) for atoms in frames], np.tile(charges, (6, 1, 1)))
    assert np.abs(small.change - large.change).max() < 1e-14
    assert np.allclose(large.quanta, small.quanta * np.array([1 / 3, 1 / 6, 1 / 2])[None, :, None])


def test_order_of_atoms_does_not_matter_and_reversal_changes_the_sign():
    start, charges = crystal()
    frames, _ = path(start)
    change = polarisation_along(frames, charges).change
    order = [2, 0, 3, 1]
    assert np.allclose(polarisation_along([a[order] for a in frames], charges[order]).change, change)
    assert np.allclose(polarisation_along(frames[::-1], charges).change[-1], -change[-1])


def test_a_homogeneous_strain_is_no_proper_change():
    start, charges = crystal()
    strained = start.copy()
    strained.set_cell(start.cell.array @ (np.eye(3) + 0.05), scale_atoms=True)
    assert np.abs(polarisation_step(start, strained, charges)).max() < 1e-14
    strained.positions[0] += 0.1 * strained.cell.array[1]
    cell = (start.cell.array + strained.cell.array) / 2
    volume = (start.get_volume() + strained.get_volume()) / 2
    expected = charges[0] @ (0.1 * cell[1]) / volume
    assert polarisation_step(start, strained, charges) == pytest.approx(expected, abs=1e-14)


def test_quanta_in_the_unit_of_the_measurement():
    """A cube of 4 Å: e/a² is 1602.18/16 = 100.1 µC/cm² (e = 1.602177e-19 C)."""
    quanta = polarisation_quanta(Atoms("H", cell=[4, 4, 4], pbc=True)) * MICROCOULOMB_PER_CM2
    assert quanta == pytest.approx(100.13604 * np.eye(3), abs=1e-4)


@given(st.lists(st.integers(-5, 5), min_size=3, max_size=3))
def test_the_nearest_branch_takes_off_every_quantum(numbers):
    quanta = np.array([[1.0, 0, 0], [0.4, 1.1, 0], [0.3, -0.2, 0.9]])
    near = np.array([0.1, -0.2, 0.15])
    found = nearest_branch(near + np.array(numbers) @ quanta, np.zeros(3), quanta)
    assert np.abs(found - near).max() < 1e-12


def test_moving_an_atom_by_a_lattice_vector_gives_its_charge_in_quanta():
    """A rigid ion of charge 2 e that goes round the cell: 2 e R / V, and zero on the nearest branch."""
    start = Atoms("MgO", cell=[4, 4, 4], positions=[[0, 0, 0], [2, 2, 2]], pbc=True)
    frames = [start.copy() for _ in range(11)]
    for k, atoms in enumerate(frames):
        atoms.positions[0, 0] += 0.4 * k
        atoms.wrap()
    charges = np.array([2.0, -2.0])[:, None, None] * np.eye(3)
    found = polarisation_along(frames, charges)
    assert found.change[-1] == pytest.approx(2 * found.quanta[-1][0])
    assert np.abs(nearest_branch(found.change[-1], np.zeros(3), found.quanta[-1])).max() < 1e-12


def test_a_network_predicts_all_frames_at_once(trained):
    start = Atoms(
        "CaTiO3",
        cell=[3.9] * 3,
        scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
        pbc=True,
    )
    frames, _ = path(start, frames=4, scale=0.03)
    model = load(trained.folder)
    expected = polarisation_along(frames, [model.predict(atoms) for atoms in frames])
    assert np.abs(polarisation_along(frames, model).change - expected.change).max() < 1e-7
    assert np.abs(polarisation_along(frames, model.predict).change - expected.change).max() < 1e-7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda frames: frames[1].positions.__setitem__((0, 2), frames[0].positions[0, 2] + 1.9),
            "more frames",
        ),
        (lambda frames: frames[1].set_pbc([True, True, False]), "periodic along 2"),
        (lambda frames: frames[1].info.update(charge=1), "net charge"),
        (lambda frames: frames[1].set_chemical_symbols(["Ba"] * 4), "other atoms"),
        (lambda frames: frames.clear(), "without frames"),
        (lambda frames: frames.pop(), "for a path of 1"),
    ],
)
def test_paths_that_cannot_be_followed_are_refused(change, message):
    start, charges = crystal()
    frames = [start, start.copy()]
    change(frames)
    with pytest.raises(InputError, match=message):
        polarisation_along(frames, [charges, charges])


def test_charges_of_a_wrong_shape_are_refused():
    start, charges = crystal()
    with pytest.raises(InputError, match="shape"):
        polarisation_along([start], charges[:2])
    with pytest.raises(InputError, match="no Born effective charges"):
        polarisation_along([start])


def test_command_on_frames_that_carry_charges(tmp_path, capsys):
    start, charges = crystal()
    frames, moved = path(start)
    source, table = tmp_path / "path.extxyz", tmp_path / "out.csv"
    write_structures(source, [with_born_effective_charges(atoms, charges) for atoms in frames])
    response(["polarisation", str(source), "-o", str(table)])
    expected = np.einsum("iab,kib->ka", charges, moved) / start.get_volume()
    with table.open() as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["dPy_e/A2"]) for row in rows] == pytest.approx(expected[:, 1].tolist(), abs=1e-7)
    last = expected[-1] * MICROCOULOMB_PER_CM2
    assert float(rows[-1]["dPz_uC/cm2"]) == pytest.approx(last[2], abs=1e-4)
    assert "quantum e a / V" in capsys.readouterr().out
    assert table.with_suffix(".png").stat().st_size > 5000


def test_the_example_reverses_the_polarisation(tmp_path, capsys):
    response(["polarisation", "--example", "-o", str(tmp_path / "out.csv")])
    assert "0.000 0.000 52.000" in capsys.readouterr().out


def test_command_refuses_in_one_line(tmp_path, complaint):
    molecule = tmp_path / "molecule.xyz"
    molecule.write_text('1\npbc="F F F"\nH 0 0 0\n')
    assert "either a trajectory or --example" in complaint(response, "polarisation")
    assert ".csv" in complaint(response, "polarisation", "--example", "-o", tmp_path / "out.txt")
    assert "none.traj" in complaint(
        response, "polarisation", tmp_path / "none.traj", "-o", tmp_path / "out.csv"
    )
    assert "periodic along" in complaint(response, "polarisation", molecule, "-o", tmp_path / "out.csv")
