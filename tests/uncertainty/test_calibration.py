"""Uncertainties: what is fitted to errors that are known, and what is said of it."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from equivar_jax.errors import InputError
from equivar_jax.reports import calibration_picture
from equivar_jax.uncertainty.calibration import (
    Calibration,
    calibrate,
    summarise_coverage,
    two_fold_ratios,
)
from equivar_jax.uncertainty.fits import (
    ENOUGH,
    UNSEEN,
    WITHIN_ONE,
    WITHIN_TWO,
    coverage,
    errors_in_sigmas,
    fit,
)
from equivar_jax.uncertainty.residuals import BY_SYMMETRY, Residuals, pool_spread

ATOMS, STRUCTURES = 4000, 200


def residuals(errors, spread, counted=None, tensors=None, species=None, distances=None):
    counted = np.ones(errors.shape, bool) if counted is None else counted
    tensors = np.zeros_like(errors) if tensors is None else tensors
    structures = np.repeat(np.arange(STRUCTURES), ATOMS // STRUCTURES)
    return Residuals(errors, spread, counted, structures, tensors, species, distances)


def just_covers(within_one, within_two, slack=1e-4):
    """Both shares are reached, and one of them exactly."""
    excess = within_one - WITHIN_ONE, within_two - WITHIN_TWO
    return min(excess) == pytest.approx(0.0, abs=slack)


def true_sigma(rng):
    """Of very different size from atom to atom, in e."""
    return np.repeat(10 ** rng.uniform(-3, -1, (ATOMS, 1, 1)), 9, axis=1).reshape(ATOMS, 3, 3)


def normal(factor=2.0, floor=0.0, seed=0):
    """Errors whose standard deviation is `factor * (spread + floor)`."""
    rng = np.random.default_rng(seed)
    spread = true_sigma(rng)
    return residuals(rng.normal(size=spread.shape) * factor * (spread + floor), spread)


def test_the_fractions_are_those_of_a_normal_distribution():
    assert pytest.approx((0.6827, 0.9545), abs=5e-5) == (WITHIN_ONE, WITHIN_TWO)


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_spread_that_is_right_but_for_a_factor_gets_that_factor(factor):
    found = calibrate(normal(factor))
    assert found.scale == pytest.approx(factor, rel=0.03)
    assert found.floor < 2e-3
    assert just_covers(found.within_one, found.within_two)
    assert found.within_one == pytest.approx(WITHIN_ONE, abs=0.01)
    for fraction in (found.within_two, found.two_fold_two):
        assert fraction == pytest.approx(WITHIN_TWO, abs=0.01)
    assert found.two_fold_one == pytest.approx(WITHIN_ONE, abs=0.01)
    assert found.spearman > 0.9
    assert found.components == 9 * ATOMS


def test_errors_that_all_members_share_are_found_as_a_floor():
    found = calibrate(normal(1.5, floor=0.02))
    assert found.floor == pytest.approx(0.02, rel=0.3)
    assert found.scale == pytest.approx(1.5, rel=0.1)
    assert found.within_two == pytest.approx(WITHIN_TWO, abs=0.01)


def test_a_few_members_alone_say_too_little_and_the_floor_mends_it():
    rng = np.random.default_rng(1)
    sigma = 0.01
    spread = (sigma * rng.normal(size=(3, ATOMS, 3, 3))).std(axis=0, ddof=1)
    errors = sigma * rng.normal(size=spread.shape)
    ratios = errors_in_sigmas(errors.ravel(), spread.ravel())
    alone = coverage(ratios, 2 * np.quantile(ratios, WITHIN_ONE))
    assert alone < WITHIN_TWO - 0.04
    assert calibrate(residuals(errors, spread)).within_two == pytest.approx(WITHIN_TWO, abs=0.01)


def test_with_heavy_tails_two_sigma_holds_and_one_is_generous():
    rng = np.random.default_rng(2)
    spread = true_sigma(rng)
    found = calibrate(residuals(spread * rng.standard_t(2, size=spread.shape), spread))
    assert found.within_two == pytest.approx(WITHIN_TWO, abs=1e-4)
    assert WITHIN_ONE + 0.05 < found.within_one < 0.9
    assert found.two_fold_two == pytest.approx(WITHIN_TWO, abs=0.02)


def test_members_that_all_agree_leave_one_sigma_for_all():
    rng = np.random.default_rng(3)
    errors = 0.05 * rng.normal(size=(ATOMS, 3, 3))
    found = calibrate(residuals(errors, np.zeros_like(errors)))
    assert found.floor > 0
    assert found.fit.base(np.zeros(1), np.ones(1))[0] == pytest.approx(0.05, rel=0.02)
    assert (found.within_one, found.within_two) == pytest.approx((WITHIN_ONE, WITHIN_TWO), abs=0.01)
    assert found.spearman == 0.0


def test_some_spreads_of_zero_are_no_certainty():
    known = normal()
    known.spread[::2] = 0.0
    assert calibrate(known).floor > 0


def test_no_errors_at_all_are_no_trouble():
    assert calibrate(residuals(np.zeros((ATOMS, 3, 3)), np.zeros((ATOMS, 3, 3)))).scale == 0.0


def few(members, seed=4):
    """Standard deviations of a few members that are all wrong by as much in every component of an atom."""
    rng = np.random.default_rng(seed)
    sigma = true_sigma(rng)
    return sigma, (sigma * rng.normal(size=(members, ATOMS, 3, 3))).std(axis=0, ddof=1)


def test_pooling_steadies_what_few_members_say():
    sigma, spread = few(3)
    before, after = (np.std(np.log(x / sigma)) for x in (spread, pool_spread(spread)))
    assert after < 0.6 * before
    np.testing.assert_allclose(np.mean((pool_spread(spread) / sigma) ** 2), 1.0, atol=0.02)


def test_pooling_leaves_what_is_zero_by_symmetry_and_is_continuous_there():
    spread = np.diag([0.1, 0.2, 0.3])[None]
    found = pool_spread(spread)
    assert not found[0][~np.eye(3, dtype=bool)].any()
    rounding = pool_spread(spread + 1e-7 * (spread == 0))
    assert rounding.max(where=spread == 0, initial=0) < BY_SYMMETRY
    assert (pool_spread(np.zeros((2, 3, 3))) == 0).all()


def test_pooling_changes_nothing_where_all_components_have_one_spread():
    spread = np.full((2, 3, 3), 0.2)
    np.testing.assert_allclose(pool_spread(spread), 0.2)


def test_large_charges_are_less_certain_where_the_errors_say_so():
    rng = np.random.default_rng(6)
    spread, tensors = np.full((ATOMS, 3, 3), 0.03), rng.choice([0.1, 2.0, -7.0], (ATOMS, 3, 3))
    errors = rng.normal(size=spread.shape) * np.hypot(spread, 0.02 * tensors)
    found = calibrate(residuals(errors, spread, tensors=tensors))
    assert found.relative == 0.02
    sigma = found.fit.base(np.full(2, 0.03), np.array([2.0, -7.0]))
    np.testing.assert_allclose(sigma, (0.05, (0.03**2 + 0.14**2) ** 0.5), rtol=0.05)
    assert "the spread with 2 % of the component" in found.table()


def test_large_charges_do_not_hide_a_spread_that_is_right():
    """Of an accurate network for one material a part of the charge would be more than any error."""
    known = normal(1.0)
    found = calibrate(known._replace(tensors=np.full_like(known.errors, 3.3)))
    assert found.relative == 0.0
    assert found.spearman > 0.9
    assert not found.is_worthless


def test_what_earlier_versions_calibrated_has_their_relative_part():
    old = Calibration(0.5, 0.01, 0.68, 0.95, 0.5, 9)
    sigma = old.sigma(np.full((1, 3, 3), 0.03), np.full((1, 3, 3), 2.0), np.array([8]), np.array([1.5]))
    np.testing.assert_allclose(sigma, 0.5 * (0.05 + 0.01))


def test_a_sigma_that_says_nothing_is_called_worthless():
    rng = np.random.default_rng(7)
    found = calibrate(residuals(0.05 * rng.normal(size=(ATOMS, 3, 3)), true_sigma(rng)))
    assert found.is_worthless
    assert "THIS UNCERTAINTY IS WORTHLESS" in found.table()
    assert "WORTHLESS" not in calibrate(normal()).table()


def test_two_fold_shows_what_the_fit_hides():
    """Where the halves differ, the coverage of the fit is right and that of the other half is not."""
    known = normal()
    odd = np.random.default_rng(0).permutation(STRUCTURES)[::2]
    known.errors[np.isin(known.structure, odd)] *= 10
    assert coverage(two_fold_ratios(known), 1) == pytest.approx((erf_of(0.1) + 1.0) / 2, abs=0.03)


def erf_of(k):
    return coverage(np.abs(np.random.default_rng(0).normal(size=100_000)), k)


def test_two_fold_needs_two_structures():
    errors = np.ones((3, 3, 3))
    one = Residuals(errors, errors, errors > 0, np.zeros(3, int), errors)
    assert two_fold_ratios(one) is None
    assert "-" in calibrate(one).table()


def test_components_that_are_zero_by_symmetry_are_left_out_of_the_fit():
    known = normal()
    errors, spread = (np.where(np.eye(3, dtype=bool), x, 0.0) for x in (known.errors, known.spread))
    counted = np.broadcast_to(np.eye(3, dtype=bool), errors.shape)
    found = calibrate(residuals(errors, spread, counted))
    assert just_covers(found.within_one, found.within_two, 1e-3)
    with pytest.raises(InputError, match="zero by symmetry"):
        calibrate(residuals(errors, spread, np.zeros_like(counted)))


def test_fit_takes_the_sign_of_errors_as_nothing():
    errors, spread = np.array([-1.0, 2.0, -3.0]), np.ones(3)
    assert fit(errors, spread) == fit(-errors, spread)


def test_other_data_are_counted_with_the_calibration_as_it_is():
    calibration = calibrate(normal(2.0))
    found = summarise_coverage(normal(2.0, seed=5), calibration)
    assert found.within_one == pytest.approx(WITHIN_ONE, abs=0.01)
    assert summarise_coverage(normal(4.0, seed=5), calibration).within_one < 0.45
    assert "68." in str(found)
    assert summarise_coverage(known := normal(), calibration) is not None
    assert summarise_coverage(known._replace(counted=np.zeros_like(known.counted)), calibration) is None


def grown(growth, seed=0, factors=(1.0, 1.0)):
    """Errors that grow with the distance of an atom, and differ in two elements by a factor."""
    rng = np.random.default_rng(seed)
    spread, distances = true_sigma(rng), rng.uniform(0.2, 1.2, ATOMS)
    species = rng.choice([8, 22], ATOMS)
    by_atom = (1 + growth * distances) * np.where(species == 8, *factors)
    errors = rng.normal(size=spread.shape) * spread * by_atom[:, None, None]
    return residuals(errors, spread, species=species, distances=distances)


@pytest.mark.parametrize("growth", [0.0, 1.0])
def test_a_growth_with_the_distance_is_found_where_there_is_one(growth):
    found = calibrate(grown(growth))
    assert found.growth == growth
    assert found.scale == pytest.approx(1.0, rel=0.1)
    assert just_covers(found.within_one, found.within_two, 0.005)
    assert found.two_fold_two == pytest.approx(WITHIN_TWO, abs=0.01)
    far = found.sigma(np.ones((2, 3, 3)), np.ones((2, 3, 3)), np.array([8, 8]), np.array([0.0, 3.0]))
    np.testing.assert_allclose(far[1], (1 + 3 * growth) * far[0])
    assert ("distance from the training data)" in found.table()) == (growth > 0)


def test_without_distances_there_is_no_growth():
    known = grown(4.0)
    found = calibrate(known._replace(distances=None))
    assert found.growth == 0.0
    sigma = found.sigma(known.spread, known.tensors, known.species)
    np.testing.assert_array_equal(
        sigma, found.sigma(known.spread, known.tensors, known.species, known.distances)
    )


def test_an_element_that_training_did_not_have_counts_as_far_but_not_as_infinitely_far():
    known = grown(4.0)
    found = calibrate(known)
    sigma = [
        found.sigma(np.ones((1, 3, 3)), np.ones((1, 3, 3)), np.array([31]), np.array([distance]))
        for distance in (UNSEEN, np.inf)
    ]
    np.testing.assert_array_equal(*sigma)
    some = known._replace(distances=np.where(np.arange(ATOMS) % 100, known.distances, np.inf))
    assert np.isfinite(calibrate(some).scale)


def test_an_element_that_is_harder_than_its_spread_has_a_larger_sigma():
    known = grown(1.0, factors=(1.0, 2.5))
    found = calibrate(known)
    assert found.elements["Ti"] / found.elements["O"] == pytest.approx(2.5, rel=0.03)
    sigma = found.sigma_of(known)
    for element in (8, 22):
        ratios = (np.abs(known.errors) / sigma)[known.species == element]
        assert just_covers(coverage(ratios, 1), coverage(ratios, 2))
    assert "times the factor of the element: O " in found.table()


def test_few_components_give_an_element_no_factor():
    known = grown(0.0)
    rare = np.where(np.arange(ATOMS) < (ENOUGH - 1) // 9, 56, known.species)
    assert set(calibrate(known._replace(species=rare)).elements) == {"O", "Ti"}
    alone = Residuals(*(None if array is None else array[:30] for array in known))
    found = calibrate(alone)
    assert found.elements == {}
    assert just_covers(found.within_one, found.within_two, 1 / 270)


def test_the_table_has_the_numbers():
    table = Calibration(0.8, 0.01, 0.683, 0.951, 0.7, 900, 0.66, 0.94).table()
    assert "within 1 sigma   68.3 %    66.0 %    68.3 %" in table
    assert "within 2 sigma   95.1 %    94.0 %    95.4 %" in table
    assert "sigma = 0.8 (spread + 0.01 e), 900 components" in table


@pytest.mark.parametrize("known", [normal(), residuals(np.zeros((ATOMS, 3, 3)), np.zeros((ATOMS, 3, 3)))])
def test_the_picture_is_drawn(known, tmp_path, monkeypatch):
    figures: list[Figure] = []
    original = calibration_picture.save_figure
    monkeypatch.setattr(
        calibration_picture,
        "save_figure",
        lambda figure, path: (figures.append(figure), original(figure, path)),
    )
    path = tmp_path / "calibration.png"
    calibration_picture.plot_calibration(known, calibrate(known), path)
    assert path.read_bytes().startswith(b"\x89PNG")
    left, right = figures[0].axes
    expected = left.lines[0].get_ydata()
    if known.errors.any():
        np.testing.assert_allclose(left.lines[1].get_ydata(), expected, atol=2.0)  # %
        points, line = right.lines[0].get_xydata(), right.lines[1].get_xydata()
        np.testing.assert_allclose(points[:, 1], points[:, 0] * line[0, 1] / line[0, 0], rtol=0.1)
