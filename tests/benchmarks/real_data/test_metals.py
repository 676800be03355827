"""Learning which compositions are metallic."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.data import atomic_numbers

from benchmarks.common.timing import RESULTS
from benchmarks.real_data import metals
from equivar_jax.io import write_structures
from equivar_jax.uncertainty.metals import LIKELY, metal_probability


def unit(**counts):
    return tuple(sorted((atomic_numbers[symbol], count) for symbol, count in counts.items()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("K4Mn4O8", unit(K=1, Mn=1, O=2)),
        ("Ag(AuS)2", unit(Ag=1, Au=2, S=2)),
        ("Ge0.5Pb1.75S4", unit(Ge=2, Pb=7, S=16)),
        ("Li0.37O", None),  # of no whole number of atoms
        ("Xx2O", None),
        ("(AB", None),
        ("HHeLiBeBCNOF", None),  # of too many elements
    ],
)
def test_formulas_are_read_as_formula_units(text, expected):
    assert metals.parse_formula(text) == expected


def test_what_is_tested_is_not_trained_on_and_a_rule_is_learned(tmp_path, monkeypatch):
    anions, cations = ("O", "S", "Se", "F", "Cl", "Br"), ("Li", "Na", "K", "Mg", "Ca", "Sr")
    other = ("Ti", "V", "Cr", "Mn", "Fe", "Co")
    salts = [(f"{a}{c}", 0) for a in cations for c in anions]
    alloys = [(f"{a}{b}", 1) for a in cations for b in other]
    lines = [f"{formula},{label}" for formula, label in salts + alloys]
    (tmp_path / "mp.csv").write_text("\n".join(["formula,target", *lines]))
    (tmp_path / "lab.csv").write_text("formula,target\nNaCl,0\nNa2Cl2,0\nLiTi,1\nCuZn,1\n")
    for name in ("training", "validation", "test-phonondb", "test-phonon-dfpt", "test-mp-dielectric"):
        crystal = {"test-phonondb": "KBr", "test-phonon-dfpt": "SrO"}.get(name, "MgO")
        atoms = Atoms(crystal, [[0, 0, 0], [2, 2, 2]], cell=np.eye(3) * 4, pbc=True)
        write_structures(tmp_path / f"{name}.extxyz", [atoms])
    monkeypatch.setattr(metals, "HELD_OUT", 6)
    words = [str(tmp_path / "mp.csv"), "--experiment", str(tmp_path / "lab.csv"), "--union", str(tmp_path)]
    metals.main(
        [*words, "--steps", "150", "--weights", f"{tmp_path}/w.npz", "--output", f"{tmp_path}/r.json"]
    )
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["trained_on"] == len(lines) - 4 - 6  # NaCl, LiTi, KBr and SrO are tested; six are held out
    assert result["tests"]["experiment"]["metals"] == 2
    assert result["tests"]["experiment"]["insulators"] == 1
    assert result["tests"]["experiment"]["insulators_called_metals"] == 0
    assert result["tests"]["phonondb"]["metals_found"] is None


def test_the_weights_of_the_package_do_what_their_table_says():
    result = json.loads((RESULTS / "metals.json").read_text())
    assert result["threshold"] == LIKELY
    tests = result["tests"]
    assert all(tests[name]["insulators_called_metals"] < 0.05 for name in ("phonondb", "phonon-dfpt"))
    assert tests["Materials Project"]["metals_found"] > 0.7
    assert metal_probability(Atoms("TiN")) > LIKELY
