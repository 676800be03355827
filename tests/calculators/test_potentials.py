"""Potentials by name, by `module:factory`, and those whose weights are in their packages."""

import sys
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.spacegroup import crystal
from helpers import potentials

from equivar_jax.calculators import POTENTIALS, load_potential
from equivar_jax.calculators.potentials import check_potential
from equivar_jax.errors import InputError
from equivar_jax.response.options import infrared_options


def test_a_factory_a_class_and_a_calculator_are_potentials():
    made = load_potential("helpers.potentials:lennard_jones")
    assert made.parameters.rc == 6.0
    assert made is not load_potential("helpers.potentials:lennard_jones")
    assert load_potential("helpers.potentials:a_calculator") is potentials.a_calculator
    assert isinstance(load_potential("ase.calculators.emt:EMT"), EMT)


def test_a_module_of_the_current_folder_is_found_and_leaves_no_trace(tmp_path, monkeypatch):
    (tmp_path / "potential_of_mine.py").write_text(
        "from ase.calculators.emt import EMT\n\ndef make():\n    import beside_it\n    return EMT()\n"
    )
    (tmp_path / "beside_it.py").write_text("")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert isinstance(load_potential("potential_of_mine:make"), EMT)
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("mase", r"no potential 'mase'; choose one of chgnet, .*, upet, or .*; did you mean 'mace'\?"),
        ("SevenNets", r"did you mean 'sevennet'\?"),
        (":EMT", "give module:factory, as in ase.calculators.emt:EMT"),
        ("ase.calculators.emt:", "give module:factory"),
        ("no_such.module:make", "no module no_such in this folder or installed"),
        ("helpers.no_such:make", "no module helpers.no_such in this folder"),
        ("helpers.potentials:lenard_jones", r"has no 'lenard_jones'; .*; did you mean 'lennard_jones'\?"),
        ("helpers.potentials:a_number", "a_number is of type int; name a function without arguments"),
        ("helpers.potentials:text", "this gives str, no ASE calculator"),
        ("helpers.potentials:Forceless", "Forceless has no forces; name a calculator that has both"),
        (
            "helpers.potentials:raising",
            r"raising\(\) fails: RuntimeError: the weights are not here \(OSError: no network\); it",
        ),
        ("helpers.potentials:needs_an_argument", "missing 1 required positional argument: 'path'"),
    ],
)
def test_what_is_no_potential_is_refused_in_one_line(name, complaint):
    with pytest.raises(InputError, match=complaint) as stop:
        load_potential(name)
    assert "\n" not in str(stop.value)


def test_a_module_that_cannot_be_imported_is_told_from_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "needs_another.py").write_text("import no_such_package.inside\n")
    (tmp_path / "with_a_fault.py").write_text("1 / 0\n")
    with pytest.raises(InputError, match="module needs_another needs no_such_package, which is not"):
        load_potential("needs_another:make")
    with pytest.raises(InputError, match="with_a_fault cannot be imported: ZeroDivisionError"):
        load_potential("with_a_fault:make")


@pytest.mark.parametrize("name", POTENTIALS)
def test_a_package_that_is_not_installed_is_one_line_with_the_command(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"is not installed; pip install \S+$"):
        load_potential(name)
    assert POTENTIALS[name].install in POTENTIALS[name].install


def test_weights_that_cannot_be_downloaded_are_said_to_be_the_reason(monkeypatch, capsys):
    """With a package in the place of the real one, which prints, too."""

    def mace_mp(**options):
        assert options == {"model": "medium-mpa-0", "default_dtype": "float64"}
        print("downloading")
        raise RuntimeError("download failed")

    package, module = ModuleType("mace"), ModuleType("mace.calculators")
    module.mace_mp = mace_mp
    monkeypatch.setattr("importlib.util.find_spec", lambda _: package)
    monkeypatch.setitem(sys.modules, "mace", package)
    monkeypatch.setitem(sys.modules, "mace.calculators", module)
    with pytest.raises(
        InputError, match="RuntimeError: download failed; its weights are downloaded on first use"
    ):
        load_potential("mace")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "downloading\n")


def test_a_potential_is_tried_before_a_long_run():
    atoms = bulk("MgO", "rocksalt", a=4.21)
    check_potential(load_potential("helpers.potentials:lennard_jones"), atoms, "lj")
    assert atoms.calc is None
    with pytest.raises(InputError, match=r"structure MgO: potential emt fails: .*Mg.*; choose a potential"):
        check_potential(EMT(), atoms, "emt")
    with pytest.raises(InputError, match="forces that are not all finite"):
        check_potential(potentials.Broken(), atoms, "broken")
    with pytest.raises(InputError, match=r"forces of shape \(3,\), not \(\) and \(2, 3\)"):
        check_potential(potentials.Flat(), atoms, "flat")


def test_the_help_of_a_command_lists_the_names():
    assert f": {', '.join(POTENTIALS)} (install" in " ".join(infrared_options().format_help().split())


# The real ones, where they are installed: pytest -m potentials

CRYSTALS = {
    "MgO": bulk("MgO", "rocksalt", a=4.21),
    "TiO2": crystal(
        ["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], spacegroup=136, cellpar=[4.6, 4.6, 2.96, 90, 90, 90]
    ),
    "GaN": bulk("GaN", "wurtzite", a=3.19, c=5.19),
}


@pytest.mark.potentials
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", [name for name, found in POTENTIALS.items() if found.tried])
@pytest.mark.parametrize("formula", CRYSTALS)
def test_forces_and_stress_are_derivatives_of_the_energy(name, formula):
    """By central differences, as far as the precision of the potential goes."""
    if find_spec(POTENTIALS[name].module.partition(".")[0]) is None:
        pytest.skip(POTENTIALS[name].install)
    atoms = CRYSTALS[formula].copy()
    atoms.rattle(0.05, seed=1)
    atoms.calc = load_potential(name)
    check_potential(atoms.calc, atoms, name)
    forces, stress = atoms.get_forces().copy(), atoms.get_stress().copy()
    step = 0.003  # larger ones see anharmonicity, smaller ones the rounding of energies

    def energy(positions=None, scale=1.0):
        moved = atoms.copy()
        if positions is not None:
            moved.positions = positions
        moved.set_cell(scale * moved.cell, scale_atoms=True)
        moved.calc = atoms.calc
        return moved.get_potential_energy()

    direction = np.random.default_rng(0).normal(size=forces.shape)
    slope = energy(atoms.positions + step * direction) - energy(atoms.positions - step * direction)
    assert -slope / (2 * step) == pytest.approx(np.sum(forces * direction), abs=0.02)
    change = (energy(scale=1.005) - energy(scale=0.995)) / 0.01
    assert stress[:3].sum() == pytest.approx(change / atoms.get_volume(), abs=0.5 * units.GPa)
    assert np.abs(forces.sum(axis=0)).max() < 1e-4
