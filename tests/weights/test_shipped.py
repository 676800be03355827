"""The weights of the package: what they must get right, and that they say when they may be wrong."""

import json
import math
import warnings

import numpy as np
import pytest
from ase.build import bulk
from helpers.crystals import assert_no_absolute_path

import equivar_jax
from equivar_jax import load
from equivar_jax.datasets.textbook import compare, component, textbook_crystals
from equivar_jax.uncertainty.domain import DomainWarning
from equivar_jax.weights import shipped_checkpoint

CRYSTALS = {crystal.name: crystal for crystal in textbook_crystals()}
NOMINAL = {"Ti": 4.0, "O parallel": -2.0}
ANOMALOUS = ["cubic BaTiO3", "cubic SrTiO3", "cubic PbTiO3"]
"""Far above the nominal charges, by transfer of charge along the bonds: Ti near 7, O near -5.7."""

OFF = 0.06
"""Of the published value, at most. Such charges stand alone in the training data; the card says so."""


@pytest.fixture(scope="module")
def model():
    return load()


def value(model, name, site):
    """The model's value of the first reference whose label begins so, with its uncertainty."""
    crystal = CRYSTALS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        tensors, sigma = model.predict(crystal.build(), uncertainty=True)
    reference, found = next(pair for pair in compare(crystal, tensors) if pair[0].site.startswith(site))
    return found, component(sigma[reference.atom], reference.component), reference.value


def test_the_function_needs_no_argument():
    Z = equivar_jax.predict(bulk("MgO", "rocksalt", a=4.21))
    assert Z.shape == (2, 3, 3)
    np.testing.assert_allclose(Z[0], 1.98 * np.eye(3), atol=0.1)


@pytest.mark.parametrize("name", ANOMALOUS)
@pytest.mark.parametrize("site", NOMINAL)
def test_anomalous_charges_are_anomalous(model, name, site):
    found, _, published = value(model, name, site)
    assert abs(found) > 1.5 * abs(NOMINAL[site])
    assert found == pytest.approx(published, rel=OFF)


@pytest.mark.xfail(reason="these weights are 4 and 5 % off; the card says so", strict=True)
@pytest.mark.parametrize("site", NOMINAL)
def test_those_of_barium_titanate_are_within_two_sigma_and_three_per_cent(model, site):
    """What weights should reach: PBEsol, the functional of the data, agrees with LDA within a per cent."""
    found, sigma, published = value(model, "cubic BaTiO3", site)
    assert abs(found - published) < 2 * sigma
    assert found == pytest.approx(published, rel=0.03)


def test_tungsten_in_cubic_tungsten_trioxide_is_most_anomalous(model):
    found, sigma, published = value(model, "cubic WO3", "W")
    assert found > 11.5
    assert abs(found - published) < 2 * sigma


def test_the_card_says_how_far_off_they_are(model):
    card = (shipped_checkpoint().parent / "README.md").read_text().replace("\n", " ")
    found = [value(model, name, site) for name in ANOMALOUS for site in NOMINAL]
    off = math.ceil(100 * max(abs(1 - charge / published) for charge, _, published in found))
    sigmas = max(abs(charge - published) / sigma for charge, sigma, published in found)
    assert f"in cubic titanates by up to {off} % or {sigmas:.1f} sigma" in card


@pytest.mark.slow  # fifty crystals
def test_ordinary_charges_stay_ordinary(model):
    for name, site in (("MgO", "Mg"), ("NaCl", "Na"), ("CaF2", "Ca"), ("corundum Al2O3", "Al")):
        found, sigma, published = value(model, name, site)
        assert abs(found - published) < max(2 * sigma, 0.1), name


def test_what_is_hardly_known_brings_a_warning(model):
    atoms = CRYSTALS["cubic BaTiO3"].build()
    squeezed = atoms.copy()
    squeezed.set_cell(0.7 * atoms.cell.array, scale_atoms=True)
    with pytest.warns(DomainWarning):
        model.predict(squeezed)


def test_one_member_is_near_the_committee(model):
    atoms = CRYSTALS["MgO"].build()
    one = load(member=0).predict(atoms)
    np.testing.assert_allclose(one, model.predict(atoms), atol=0.3)
    assert 2 <= model.members <= 4


def test_the_dielectric_tensor_comes_with_them(model):
    (_, (epsilon, sigma)) = model.predict(CRYSTALS["MgO"].build(), uncertainty=True, dielectric=True)
    np.testing.assert_allclose(epsilon, 3.2 * np.eye(3), atol=0.4)  # DFPT: 3.1 to 3.3
    assert 0 < sigma[0, 0] < 0.5
    assert len(model.metadata.features) == model.members


def test_the_card_has_the_numbers_of_the_checkpoint(model):
    card = (shipped_checkpoint().parent / "README.md").read_text()
    assert f"MAE {model.metadata.validation_mae:.4f} e" in card
    assert f"{model.metadata.statistics['structures']:,}" in card.replace("\n", " ")
    for symbol, count in model.metadata.domain.structures.items():
        assert f"| {symbol} | {count} |" in card
    stated = json.loads((shipped_checkpoint() / "calibration.json").read_text())
    assert stated["mae"] == model.metadata.validation_mae


def test_the_checkpoint_says_nothing_of_where_it_was_made(model):
    """Data are named relative to EQUIVAR_DATA; no text in the folder has an absolute path."""
    assert model.metadata.config.data.path.startswith("$EQUIVAR_DATA/")
    assert_no_absolute_path(shipped_checkpoint())
