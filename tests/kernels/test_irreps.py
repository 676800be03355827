"""Our irreps, coefficients and harmonics are those of e3nn-jax."""

import itertools
import json

import e3nn_jax as e3nn
import numpy as np
import pytest

from equivar_jax.kernels import HIDDEN, Irrep, clebsch_gordan, irreps, make_clebsch_gordan, parse_irreps

DEGREES = range(irreps.LARGEST_DEGREE + 1)
NAMES = [f"{degree}{parity}" for degree in DEGREES for parity in "eo"]


@pytest.mark.parametrize("name", NAMES)
def test_an_irrep_has_the_name_degree_parity_and_size_of_e3nn(name):
    ours, theirs = Irrep.parse(name), e3nn.Irrep(name)
    assert (str(ours), ours.l, ours.p, ours.dim) == (str(theirs), theirs.l, theirs.p, theirs.dim)
    assert e3nn.Irrep(str(ours)) == theirs
    assert ours == Irrep.parse(name)
    assert hash(ours) == hash(Irrep.parse(name))


@pytest.mark.parametrize(("one", "other"), list(itertools.product(NAMES, repeat=2)))
def test_products_are_those_of_e3nn(one, other):
    theirs = [str(irrep) for irrep in e3nn.Irrep(one) * e3nn.Irrep(other)]
    assert [str(irrep) for irrep in Irrep.parse(one) * Irrep.parse(other)] == theirs


@pytest.mark.parametrize("name", ["", "e", "1", "o1", "1x", "-1e", "1.5e"])
def test_what_names_no_irrep_is_refused(name):
    with pytest.raises(ValueError, match="names no irrep"):
        parse_irreps("0e", name)


def test_irreps_can_be_told_apart():
    assert len(set(HIDDEN)) == len(HIDDEN) == 4


@pytest.mark.parametrize("degrees", list(itertools.product(DEGREES, repeat=3)))
def test_coefficients_are_those_of_e3nn_to_the_last_digit(degrees):
    first, second, out = degrees
    if not abs(first - second) <= out <= first + second:
        with pytest.raises(KeyError):
            clebsch_gordan(*degrees)
        return
    theirs = np.asarray(e3nn.clebsch_gordan(*degrees))
    ours = clebsch_gordan(*degrees)
    np.testing.assert_array_equal(ours != 0, np.abs(theirs) > 1e-12)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=4e-16)
    np.testing.assert_allclose((ours**2).sum(), 1.0, rtol=1e-14)


def test_the_command_makes_the_same_file(tmp_path, monkeypatch):
    kept = irreps.files("equivar_jax.kernels") / irreps.COEFFICIENTS
    monkeypatch.setattr(make_clebsch_gordan, "files", lambda _: tmp_path)
    make_clebsch_gordan.main()
    again, before = json.loads((tmp_path / irreps.COEFFICIENTS).read_text()), json.loads(kept.read_text())
    assert again.keys() == before.keys()
    for degrees, rows in before.items():
        np.testing.assert_allclose(again[degrees], rows, rtol=0, atol=4e-16)


def test_products_of_vectors_are_the_cross_and_the_scalar_product():
    one, two = np.random.default_rng(0).normal(size=(2, 3))
    cross = np.einsum("abc,a,b->c", clebsch_gordan(1, 1, 1), one, two)
    np.testing.assert_allclose(cross * 6**0.5, np.cross(one, two), atol=1e-14)
    scalar = np.einsum("abc,a,b->c", clebsch_gordan(1, 1, 0), one, two)
    np.testing.assert_allclose(scalar * 3**0.5, [one @ two], atol=1e-14)
