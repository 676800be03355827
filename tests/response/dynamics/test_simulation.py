"""The example of dynamics in a field, and its command."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import units

from equivar_jax.response.__main__ import main as response
from equivar_jax.response.dynamics.simulation import (
    Pulse,
    equilibrate_perovskite,
    perovskite,
    perovskite_charges,
    with_thermal_momenta,
)

SHORT = ["--example", "--cells", "2", "--steps", "50"]


def test_pulse():
    """At its centre the amplitude; half a period later minus that, with the envelope's factor."""
    pulse = Pulse(np.array([0.0, 0.0, 0.02]), centre=200.0, width=60.0, frequency=8.0)
    np.testing.assert_allclose(pulse(jnp.asarray(200.0)), [0, 0, 0.02], rtol=1e-6)
    np.testing.assert_allclose(
        pulse(jnp.asarray(262.5)), [0, 0, -0.02 * np.exp(-0.5 * (62.5 / 60.0) ** 2)], rtol=1e-5
    )


def test_charges_obey_sum_rule_and_symmetry():
    """Charges of O are large along its chain: the direction of its nearest Ti."""
    atoms, tensors = perovskite(1), perovskite_charges(1).tensors
    assert np.abs(tensors.sum(axis=0)).max() < 1e-12
    for oxygen in range(2, 5):
        bond = atoms.get_distance(oxygen, 1, mic=True, vector=True)
        along = np.argmax(np.abs(bond))
        assert np.argmin(np.diag(tensors[oxygen])) == along
    assert perovskite_charges(2).tensors.shape == (len(perovskite(2)), 3, 3)


def test_momenta():
    """Kinetic energy 3/2 kT an atom, within four standard errors; no momentum of the whole."""
    atoms = with_thermal_momenta(perovskite(8), 300.0)
    assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-10
    freedom = 3 * len(atoms) - 3
    temperature = 2 * atoms.get_kinetic_energy() / (freedom * units.kB)
    assert temperature == pytest.approx(300.0, rel=4 * np.sqrt(2 / freedom))


def test_equilibrium_has_half_of_the_energy_as_potential_energy(float64):
    """Equipartition: the kinetic temperature falls from 600 K towards 300 K."""
    atoms = equilibrate_perovskite(4, 300.0, 1.0)
    assert atoms.get_temperature() == pytest.approx(300.0, rel=0.15)
    assert np.abs(atoms.positions - perovskite(4).positions).max() > 0.1


def test_command_draws_and_tells(tmp_path, capsys):
    picture = tmp_path / "dynamics.png"
    response(["dynamics", *SHORT, "-o", str(picture)])
    lines = capsys.readouterr().out.splitlines()
    assert picture.stat().st_size > 10_000
    assert [line.partition(":")[0] for line in lines] == [
        "temperature",
        "kinetic + potential energy - work of the field",
        "largest change of polarisation",
        str(picture),
    ]
    assert "50 steps of 40 atoms" in lines[-1]
    assert not jax.config.jax_enable_x64


def test_command_with_a_network(tmp_path, capsys, trained):
    picture = tmp_path / "dynamics.pdf"
    response(
        [
            "dynamics",
            *SHORT,
            "--cells",
            "1",
            "--checkpoint",
            str(trained.folder),
            "--charges-every",
            "10",
            "-o",
            str(picture),
        ]
    )
    assert picture.exists()
    printed = capsys.readouterr()
    assert "list of neighbours: made " in printed.out
    assert "without an envelope" in printed.err


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "--example runs a crystal of springs"),
        (["POSCAR"], "unrecognized arguments: POSCAR"),
        ([*SHORT, "--cells", "0"], "--cells 0"),
        ([*SHORT, "--cells", "few"], "invalid int value: 'few'"),
        ([*SHORT, "--temperature", "-3"], "--temperature -3.0"),
        ([*SHORT, "--field", "nan"], "--field nan"),
        ([*SHORT, "--timestep", "0"], "time step of 0.0 fs"),
        ([*SHORT, "--steps", "7"], "7 steps, a record every 5"),
        ([*SHORT, "--checkpoint", "nowhere"], "nowhere: no such run directory"),
        ([*SHORT, "-o", "dynamics.docx"], "no picture format"),
        ([*SHORT, "-o", "nowhere/dynamics.png"], "cannot be written"),
    ],
)
def test_one_line_says_what_is_wrong(complaint, tmp_path, monkeypatch, arguments, fault):
    monkeypatch.chdir(tmp_path)
    assert fault in complaint(response, "dynamics", *arguments)
