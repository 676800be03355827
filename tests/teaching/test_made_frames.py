import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.titanates import IDEAL

from equivar_jax.config.teaching import TeachConfig
from equivar_jax.errors import InputError
from equivar_jax.structures import born_effective_charges
from equivar_jax.teaching.displacements import find_displacements
from equivar_jax.teaching.made_frames import make_frames, mix_frames
from equivar_jax.teaching.walls import LARGEST_OFFSET, across_a_wall, find_inversion, wall_angles


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


def polar_frames(count, repeat=(1, 1, 6), seed=0):
    """A polar perovskite in a long cell, thermally displaced, without drift."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = IDEAL.repeat(repeat)
        moved = rng.normal(scale=0.02, size=(len(atoms), 3))
        atoms.positions += moved - moved.mean(axis=0)
        frames.append(atoms)
    return frames


def only(kind, **changes):
    shares = dict.fromkeys(("mixed", "stronger", "walls", "rattled"), 0.0) | {kind: 1.0}
    return dataclasses.replace(TeachConfig(), frames=20, **(shares | changes))


def pairwise(atoms):
    return np.sort(atoms.get_all_distances(mic=True).ravel())


def test_every_kind_has_its_share():
    how = TeachConfig(frames=30, mixed=1.0, stronger=2.0, walls=0.0, rattled=0.5)
    made = make_frames(trajectory(4), how, 0).frames
    counts = Counter(atoms.info["made"] for atoms in made)
    assert sum(counts.values()) == 30
    for kind, share in (("mixed", 1.0), ("stronger", 2.0), ("rattled", 0.5)):
        assert abs(counts[kind] - 30 * share / 3.5) < 1
    assert counts["walls"] == 0
    again = make_frames(trajectory(4), how, 0).frames
    assert all(np.array_equal(a.positions, b.positions) for a, b in zip(made, again, strict=True))


def test_stronger_frames_are_larger_mixtures():
    frames = trajectory(5)
    mean, moved = find_displacements(frames)
    for kind, lowest, highest in (("mixed", 1.0, 1.0), ("stronger", 1.0, 1.3)):
        factors = []
        for atoms in make_frames(frames, only(kind, amplitude=1.3), 0).frames:
            made = (atoms.positions - mean).ravel()
            for a, b in itertools.combinations(range(5), 2):
                pair = np.stack([moved[a].ravel(), moved[b].ravel()], axis=1)
                found, left, *_ = np.linalg.lstsq(pair, made, rcond=None)
                if left.size and left[0] < 1e-20:
                    factors.append(np.linalg.norm(found))
        assert len(factors) == 20
        assert lowest - 1e-9 < min(factors) <= max(factors) < highest + 1e-9
    assert np.ptp(factors) > 0.1


def test_rattled_frames_are_frames_with_displacements_of_the_stated_size():
    frames = trajectory(5)
    for size, expected in ((0.02, 0.02), (None, find_displacements(frames)[1].std() / 3)):
        made = make_frames(frames, only("rattled", rattle=size), 0)
        away = [
            min((made_one.positions - atoms.positions for atoms in frames), key=lambda d: np.abs(d).max())
            for made_one in made.frames
        ]
        assert np.std(away) == pytest.approx(expected, rel=0.15)
        assert f"rattled by {expected:.3g} Å" in made.remarks[0]


@pytest.mark.parametrize("other", ["cell", "atoms"])
def test_frames_that_differ_in_cell_or_atoms_are_rattled_only(other):
    frames = trajectory(3)
    if other == "cell":
        frames[1].set_cell(frames[1].cell * 1.02, scale_atoms=True)
    else:
        frames[1] = frames[1][1:]
    made = make_frames(frames, TeachConfig(frames=40), 0)
    assert {atoms.info["made"] for atoms in made.frames} == {"rattled"}
    assert len(made.frames) == 40
    assert "all 40 are rattled, by 0.05 Å" in made.remarks[0]
    of_each = [
        [atoms for atoms in made.frames if len(atoms) == len(one) and np.allclose(atoms.cell, one.cell)]
        for one in frames
    ]
    for one, some in zip(frames, of_each, strict=True):
        assert some
        assert min(np.abs(atoms.positions - one.positions).max() for atoms in some) < 0.25


def test_the_inversion_of_a_polar_crystal_is_its_other_domain():
    atoms = IDEAL.repeat((2, 2, 2))
    found = find_inversion(atoms.numbers, atoms.positions, atoms.cell.array)
    assert 0.1 < np.linalg.norm(found.offset, axis=1).max() < LARGEST_OFFSET
    np.testing.assert_allclose(found.offset[:, :2], 0.0, atol=1e-9)
    assert np.ptp(found.offset[atoms.numbers == 22, 2]) < 1e-9
    assert sorted(found.order) == list(range(len(atoms)))
    assert np.array_equal(atoms.numbers[found.order], atoms.numbers)
    moved = np.random.default_rng(0).normal(scale=0.1, size=(len(atoms), 3))
    frame, image = atoms.copy(), atoms.copy()
    frame.positions += moved
    image.positions += found.offset + found.displacements(moved)
    np.testing.assert_allclose(pairwise(image), pairwise(frame), atol=1e-9)
    assert not np.allclose(pairwise(image), pairwise(atoms))


def test_a_crystal_with_a_centre_of_inversion_is_its_own_image():
    atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True)
    found = find_inversion(atoms.numbers, atoms.positions, atoms.cell.array)
    np.testing.assert_allclose(found.offset, 0.0, atol=1e-9)


def test_a_crystal_that_no_inversion_maps_onto_itself_has_no_image():
    """Atoms far from any inverted site: a tetrahedron of four oxygens around one silicon, in a large cell."""
    places = [[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    atoms = Atoms("SiO4", np.array(places) * 0.93, cell=[6.0] * 3, pbc=True)
    assert find_inversion(atoms.numbers, atoms.positions, atoms.cell.array) is None
    frames = [atoms.copy() for _ in range(3)]
    for k, frame in enumerate(frames):
        frame.rattle(0.05, seed=k)
    assert "no inversion" in make_frames(frames, only("walls"), 0).remarks[1]


@pytest.mark.parametrize("inverted", [False, True])
def test_across_a_wall_one_frame_becomes_another(inverted):
    frames = polar_frames(2)
    mean, moved = find_displacements(frames)
    found = find_inversion(frames[0].numbers, mean, frames[0].cell.array) if inverted else None
    ends = [np.zeros(len(mean)), np.full(len(mean), np.pi / 2)]
    first, second = (across_a_wall(angles, moved[0], moved[1], found) for angles in ends)
    np.testing.assert_allclose(first, moved[0], atol=1e-12)
    image = frames[1].copy()
    image.positions = mean + second
    np.testing.assert_allclose(pairwise(image), pairwise(frames[1]), atol=1e-9)
    assert np.allclose(second, moved[1]) != inverted


def test_walls_are_smooth_and_periodic_and_have_both_domains():
    atoms = IDEAL.repeat((1, 1, 24))
    deep = 0
    for seed in range(30):
        angles = wall_angles(atoms.positions, atoms.cell.array, np.random.default_rng(seed))
        shifted = wall_angles(atoms.positions + atoms.cell[2], atoms.cell.array, np.random.default_rng(seed))
        np.testing.assert_allclose(shifted, angles, atol=1e-9)
        assert 0 <= angles.min() <= angles.max() <= np.pi / 2
        near = atoms.get_all_distances(mic=True) < 2.2
        assert np.abs(angles[:, None] - angles[None])[near].max() < np.pi / 4 * 2.3
        deep += angles.min() < 0.05 and angles.max() > np.pi / 2 - 0.05
    assert deep >= 5  # where the third vector was drawn, along which the cell is long


def test_displacements_at_a_wall_are_as_large_as_in_the_frames():
    frames = polar_frames(200, repeat=(1, 1, 2))
    _, moved = find_displacements(frames)
    mean, _ = find_displacements(frames)
    angles = wall_angles(mean, frames[0].cell.array, np.random.default_rng(0))
    made = [across_a_wall(angles, moved[k], moved[k + 1], None) for k in range(0, 200, 2)]
    np.testing.assert_allclose(np.std(made, axis=(0, 2)), moved.std(axis=(0, 2)), rtol=0.25)
