"""Which crystals are likely metallic, and who is told."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.crystals import titanate

from equivar_jax import load, predict
from equivar_jax.prediction.sweep import run
from equivar_jax.uncertainty import DomainWarning, LikelyMetalWarning, metal_probability
from equivar_jax.uncertainty.domain import MANY_ELEMENTS, Domain
from equivar_jax.uncertainty.metals import LIKELY

METALS = "TiN SrRuO3 NiAl Cu Na RuO2 NbS2 TiC ZrN Nb3Sn LaB6"
INSULATORS = "NaCl BaTiO3 GaN ZnO KTaO3 PbTe LiFePO4 HfO2 Si C GaAs Fe2O3 InN CsSnI3"


@pytest.mark.parametrize("name", METALS.split())
def test_well_known_metals_are_likely_metals(name):
    assert metal_probability(Atoms(name)) >= LIKELY


@pytest.mark.parametrize("name", INSULATORS.split())
def test_well_known_insulators_are_not(name):
    assert metal_probability(Atoms(name)) < LIKELY


def test_it_is_a_property_of_the_composition():
    atoms = bulk("TiN", "rocksalt", a=4.24)
    expected = metal_probability(atoms)
    assert metal_probability(atoms.repeat((2, 1, 3))) == expected
    assert metal_probability(atoms[[1, 0]]) == expected
    assert 0 < metal_probability(Atoms("Og2Ts3")) < 1  # of elements that nobody has seen in a crystal


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.DomainWarning")
def test_the_weights_of_the_package_say_so():
    crystals = [bulk("TiN", "rocksalt", a=4.24), bulk("NiAl", "cesiumchloride", a=2.89)]
    with pytest.warns(LikelyMetalWarning, match="NiAl is likely metallic") as shown:
        predict(crystals)
    said = [str(one.message) for one in shown if one.category is LikelyMetalWarning]
    assert len(said) == 1  # one for both
    assert "1 more of 2" in said[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error", LikelyMetalWarning)
        predict(bulk("GaN", "wurtzite", a=3.19, c=5.19))


def test_a_network_of_one_material_does_not(trained):
    predictor = load(trained.folder)
    domain = predictor.metadata.domain
    assert len(domain.structures) < MANY_ELEMENTS
    metal = Atoms("TiN", cell=np.eye(3) * 3, pbc=True)
    assert domain._metal_warnings(metal) == []
    wide = Domain({f"X{k}": 9 for k in range(MANY_ELEMENTS)}, {}, {})
    assert [type(one) for one in wide._metal_warnings(metal)] == [LikelyMetalWarning]
    assert wide._metal_warnings(Atoms("TiN")) == []  # a molecule
    assert wide._metal_warnings(titanate(1)) == []


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.DomainWarning")
def test_a_sweep_counts_them(tmp_path, capsys):
    bulk("TiN", "rocksalt", a=4.24).write(tmp_path / "TiN.cif")
    predict.main([str(tmp_path / "TiN.cif"), "-o", str(tmp_path / "found.csv")])
    assert "1 with a composition that is likely metallic" in capsys.readouterr().err


def test_a_sweep_has_words_for_every_warning():
    assert {kind.__name__ for kind in DomainWarning.__subclasses__()} <= run._REMARKS.keys()
