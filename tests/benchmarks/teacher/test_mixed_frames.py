import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from equivar_jax.errors import InputError
from equivar_jax.structures import born_effective_charges
from equivar_jax.teaching.displacements import find_displacements
from equivar_jax.teaching.made_frames import mix_frames


def trajectory(frames, seed=0, spread=0.1):
    """Rock salt with normal displacements, without drift; three oxygens more strongly bound than the rest."""
    rng = np.random.default_rng(seed)
    crystal = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    made = []
    for _ in range(frames):
        moved = rng.normal(scale=spread, size=(8, 3))
        moved[:3] *= 0.3
        atoms = crystal.copy()
        atoms.positions += moved - moved.mean(axis=0)
        made.append(atoms)
    return made


def test_every_frame_is_a_mixture_of_two_on_a_circle():
    frames = trajectory(5)
    mean, moved = find_displacements(frames)
    for atoms in mix_frames(frames, 20):
        made = (atoms.positions - mean).ravel()
        shares, *_ = np.linalg.lstsq(moved[:-1].reshape(4, -1).T, made, rcond=None)
        assert np.allclose(moved[:-1].reshape(4, -1).T @ shares, made)  # the five add up to nothing
        pairs = [
            np.linalg.lstsq(np.stack([moved[a].ravel(), moved[b].ravel()], axis=1), made, rcond=None)
            for a in range(5)
            for b in range(a)
        ]
        cosine_sine = next(pair[0] for pair in pairs if pair[1].size and pair[1][0] < 1e-20)
        assert np.square(cosine_sine).sum() == pytest.approx(1.0)
        assert cosine_sine.min() >= 0


def test_the_spread_of_every_atom_is_kept():
    frames = trajectory(200)
    _, moved = find_displacements(frames)
    _, made = find_displacements(mix_frames(frames, 2000))
    np.testing.assert_allclose(made.std(axis=(0, 2)), moved.std(axis=(0, 2)), rtol=0.1)


def test_atoms_are_followed_through_the_boundary_and_drift_is_taken_out():
    frames = trajectory(6)
    wrapped = [atoms.copy() for atoms in frames]
    for k, atoms in enumerate(wrapped):
        atoms.positions += 0.5 * k  # more than half a cell of 4.2 Å in the end
        atoms.wrap()
    assert max(np.ptp([atoms.positions for atoms in wrapped], axis=0).ravel()) > 3.0
    # What is left of the drift is the place of the first frame.
    expected, found = ([atoms.positions for atoms in mix_frames(each, 10)] for each in (frames, wrapped))
    shift = wrapped[0].positions - frames[0].positions
    np.testing.assert_allclose(np.array(found) - shift, expected, atol=1e-9)


def test_the_made_frames_are_crystals_without_labels_and_the_same_for_one_seed():
    frames = trajectory(4)
    once, again, other = (mix_frames(frames, 3, seed) for seed in (1, 1, 2))
    for atoms in once:
        assert born_effective_charges(atoms) is None
        assert atoms.get_chemical_formula() == frames[0].get_chemical_formula()
        assert np.array_equal(atoms.cell, frames[0].cell)
        assert atoms.pbc.all()
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(once, again, strict=True))
    assert not np.allclose(once[0].positions, other[0].positions)


def test_correlations_between_atoms_are_kept():
    """Two atoms that move together, and two that move against each other."""
    frames = trajectory(300, spread=0.1)
    for atoms in frames:
        atoms.positions[1] = atoms.positions[0] + [1.0, 1.1, 1.2]
    _, moved = find_displacements(frames)
    _, made = find_displacements(mix_frames(frames, 2000))
    for each in (moved, made):
        together = np.corrcoef(each[:, 0].ravel(), each[:, 1].ravel())[0, 1]
        apart = np.corrcoef(each[:, 0].ravel(), each[:, 4].ravel())[0, 1]
        assert together > 0.99
        assert abs(apart) < 0.5


def test_frames_that_do_not_belong_together_are_refused():
    stretched = trajectory(1)[0]
    stretched.set_cell(stretched.cell * 1.01)
    for wrong in (stretched, Atoms("MgO", cell=[4.2] * 3, pbc=True)):
        with pytest.raises(InputError, match="other atoms or another cell"):
            mix_frames([*trajectory(2), wrong], 1)
    slab = trajectory(2)
    slab[1].pbc = (True, True, False)
    with pytest.raises(InputError, match="not periodic"):
        mix_frames(slab, 1)
    with pytest.raises(InputError, match="two frames"):
        mix_frames(trajectory(1), 1)
