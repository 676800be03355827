"""LO and TO modes of `equivar response born` with standard deviations through a committee."""

import re

import numpy as np
import pytest
from helpers.checkpoints import saved
from helpers.committees import joined, network
from helpers.random_crystals import random_crystal

from equivar_jax.response.__main__ import main as response
from equivar_jax.response.optics.permittivity import longitudinal_modes
from equivar_jax.response.phonons.gamma import gamma_modes
from equivar_jax.response.phonons.phonopy_crystal import phonon_of
from equivar_jax.response.phonons.propagation import members_of
from equivar_jax.response.splitting.bands import band_path

EPSILON = 6 * np.eye(3)


@pytest.fixture
def crystal(tmp_path):
    """Atoms, force constants, a phonopy object, and its file."""
    atoms, constants, _ = random_crystal(seed=3, symbols="CaOTi")
    phonon = phonon_of(atoms, primitive="P")
    phonon.force_constants = constants
    path = tmp_path / "phonopy_params.yaml"
    phonon.save(path, settings={"force_constants": True})
    return atoms, constants, phonon, path


def printed(path, predictor, folder, capsys):
    words = ["--checkpoint", saved(predictor, folder / "run"), "--epsilon-inf", "6"]
    response(["born", str(path), *words, "-o", str(folder / "bands.png")])
    return capsys.readouterr().out


def test_lo_modes_have_the_spread_of_the_members(crystal, tmp_path, capsys):
    """The same frequencies without phonopy, for each member."""
    atoms, constants, phonon, path = crystal
    committee = joined()
    text = printed(path, committee, tmp_path, capsys)
    modes, members = gamma_modes(atoms, constants), members_of(committee, atoms, EPSILON)
    reciprocal = np.linalg.inv(phonon.primitive.cell)
    directions = band_path(phonon).directions_at_gamma()
    assert directions
    for name, point in directions.items():
        each = [
            longitudinal_modes(modes, charges, atoms.get_volume(), EPSILON, reciprocal @ point).wavenumbers
            for charges in (committee.predict(atoms), *members.charges)
        ]
        (line,) = re.findall(rf"Gamma to {name}: LO .* \(([\d.]+) ± ([\d.]+) 1/cm\), TO .* ± ", text)
        value, sigma = map(float, line)
        place = int(np.argmin(np.abs(each[0] - value)))
        assert value == pytest.approx(each[0][place], abs=0.06)
        assert sigma == pytest.approx(np.std([one[place] for one in each[1:]], ddof=1), abs=0.06)


def test_of_a_single_network_nothing_changes(crystal, tmp_path, capsys):
    text = printed(crystal[3], network(0), tmp_path, capsys)
    assert "Gamma to" in text
    assert "±" not in text
