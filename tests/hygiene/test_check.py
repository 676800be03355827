import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from helpers.hygiene_crystals import CONFIG, distorted, named, perovskite, relabelled

from equivar_jax.config.schema import HygieneConfig
from equivar_jax.datasets import demonstration_set
from equivar_jax.errors import InputError
from equivar_jax.hygiene import check_labels
from equivar_jax.io import read_structures
from equivar_jax.structures import BEC, born_effective_charges, with_born_effective_charges

DATA = os.environ.get("EQUIVAR_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="EQUIVAR_DATA is not set")


def real(name):
    return read_structures(Path(DATA or "") / f"{name}.extxyz.gz")


def one_finding(atoms, config=CONFIG):
    """What is found in the second of three structures; the others must stay as they are."""
    report = check_labels([distorted(11), atoms, distorted(12)], config)
    (finding,) = report.findings
    assert finding.index == 1
    assert report.kept == ([0, 2] if finding.refused else [0, 1, 2])
    return finding


def test_the_demonstration_set_is_clean():
    structures = demonstration_set(40, 10, 10, progress=False)
    report = check_labels(structures, HygieneConfig())
    assert report.findings == ()
    assert report.kept == list(range(60))
    assert set(report.counts().values()) == {0}


def test_numbers_that_are_not_finite_are_refused():
    atoms = distorted().copy()
    tensors = born_effective_charges(distorted()).copy()
    tensors[3, 1, 2] = np.nan
    atoms.calc = SinglePointCalculator(atoms)
    atoms.calc.results[BEC] = tensors
    finding = one_finding(atoms)
    assert (finding.rule, finding.refused) == ("unreadable", True)
    assert "not finite" in finding.reason


def test_atoms_at_one_place_are_refused():
    twice = Atoms("MgMg", positions=[[0, 0, 0], [0, 0, 0.01]], cell=4 * np.eye(3), pbc=True)
    finding = one_finding(named(with_born_effective_charges(twice, np.zeros((2, 3, 3))), "a.xyz, frame 7"))
    assert (finding.rule, finding.source) == ("unreadable", "a.xyz, frame 7")
    assert finding.reason.startswith("atoms 0 and 1 are 0.01 Å apart")


def test_what_readers_refused_is_reported_with_its_place():
    error = InputError("a.xyz, frame 3: Born effective charge of atom 0 is not finite; remove the frame")
    report = check_labels([distorted()], CONFIG, unreadable=[error])
    (finding,) = report.findings
    assert (finding.index, finding.source, finding.rule) == (-1, "a.xyz, frame 3", "unreadable")
    assert finding.reason == "Born effective charge of atom 0 is not finite; remove the frame"
    assert report.kept == [0]
    assert "1 more could not be read" in report.table()


@pytest.mark.parametrize(("excess", "refused"), [(0.9, False), (1.1, True)])
def test_the_sum_rule_is_measured_by_the_root_of_the_number_of_atoms(excess, refused):
    atoms = distorted()
    tensors = born_effective_charges(atoms).copy()
    tensors[5, 0, 1] += excess * CONFIG.sum_rule * np.sqrt(len(atoms))
    report = check_labels([relabelled(atoms, tensors, "spoilt")], CONFIG)
    assert [finding.rule for finding in report.findings] == (["sum rule"] if refused else [])
    assert report.measurements.sum_rule[0] == pytest.approx(excess * CONFIG.sum_rule)


def test_the_sum_rule_knows_the_charge_of_the_cell():
    atoms = distorted()
    charged = relabelled(atoms, born_effective_charges(atoms) + 2.0 * np.eye(3) / len(atoms), "charged")
    finding = one_finding(charged)
    assert finding.rule == "sum rule"
    assert finding.value == pytest.approx(2.0 / np.sqrt(20))
    assert "2 e" in finding.reason
    charged.info["charge"] = 2.0
    assert check_labels([charged], CONFIG).findings == ()


def test_components_beyond_every_known_material_are_refused():
    atoms = distorted()
    finding = one_finding(relabelled(atoms, 4.0 * born_effective_charges(atoms), "in other units"))
    assert (finding.rule, finding.refused) == ("component", True)
    assert f"{finding.value:.4g} e" in finding.reason


def test_a_label_in_other_axes_is_refused():
    axes = np.eye(3)[[1, 2, 0]]
    tensors = axes @ born_effective_charges(perovskite()) @ axes.T
    finding = one_finding(relabelled(perovskite(), tensors, "rotated"))
    assert (finding.rule, finding.refused, finding.source) == ("symmetry", True, "rotated")


def test_rare_elements_are_pointed_at_or_refused():
    config = dataclasses.replace(CONFIG, rare_element=2)
    other = distorted().copy()
    other.symbols[other.symbols == "Ca"] = "Sr"
    other = relabelled(other, born_effective_charges(distorted()), "with Sr")
    finding = one_finding(other, config)
    assert (finding.rule, finding.refused, finding.value) == ("rare element", False, 1.0)
    assert "Sr (1)" in finding.reason
    assert one_finding(other, dataclasses.replace(config, refuse_rare=True)).refused


def test_structures_without_a_label_are_counted_and_not_kept():
    report = check_labels([distorted(), perovskite().copy(), distorted(3)], CONFIG)
    assert report.unlabelled == (1,)
    assert report.kept == [0, 2]
    assert report.findings == ()
    assert np.isnan(report.measurements.sum_rule[1])
    assert "1 without Born effective charges" in report.table()


def test_nothing_is_found_in_nothing():
    report = check_labels([], CONFIG)
    assert report.kept == []
    assert report.measurements.sum_rule.shape == (0,)


def test_the_table_names_the_worst_first(tmp_path):
    spoilt = []
    for number, excess in enumerate([3.0, 30.0, 10.0]):
        tensors = born_effective_charges(distorted(number)).copy()
        tensors[0] += excess * np.eye(3) / 4.0
        spoilt.append(relabelled(distorted(number), tensors, f"spoilt by {excess:g}"))
    report = check_labels(spoilt, CONFIG)
    lines = [line for line in report.table(worst=2).splitlines() if "spoilt" in line and "sum rule" in line]
    assert [line.split(":")[0].strip() for line in lines] == ["spoilt by 30", "spoilt by 10"]
    assert "and 1 more" in report.table(worst=2)
    lines = report.write(tmp_path / "new").read_text().splitlines()
    assert lines[0] == "source,rule,refused,value,reason"
    assert len(lines) == 1 + len(report.findings)
    assert lines[1].startswith("spoilt by 3,sum rule,yes,")


def test_a_report_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        check_labels([distorted()], CONFIG).write(tmp_path / "taken")


@pytest.mark.slow  # large sets
@needs_data
@pytest.mark.parametrize("name", ["BaTiO3-300K", "SiO2-300K"])
def test_frames_of_molecular_dynamics_are_all_kept(name):
    assert check_labels(real(name), HygieneConfig()).findings == ()


@pytest.mark.slow  # a large set
@needs_data
def test_faults_of_the_raw_set_are_found():
    report = check_labels(real("mp-dielectric"), HygieneConfig())
    counts = report.counts()
    assert (counts["sum rule"], counts["symmetry"], counts["transposed"]) == (13, 1, 0)
    # Al2Cl2O2 and Ca2B4C4, whose charges sum to some 30 e.
    assert {154, 261}.isdisjoint(report.kept)
    assert len(report.kept) == 583


@pytest.mark.slow
@needs_data
def test_only_copies_are_refused_in_the_clean_set():
    report = check_labels(real("phonon-dfpt"), HygieneConfig())
    refused = [finding for finding in report.findings if finding.refused]
    assert {finding.rule for finding in refused} == {"duplicate"}
    assert len(refused) == 9


def test_tensors_that_are_all_zero_are_refused():
    atoms = distorted(3)
    finding = one_finding(relabelled(atoms, np.zeros((len(atoms), 3, 3)), "zeros.xyz, frame 2"))
    assert (finding.rule, finding.source, finding.refused) == ("zero", "zeros.xyz, frame 2", True)
    assert "all zero" in finding.reason


def test_zeros_of_an_element_are_right():
    """In silicon symmetry and sum rule leave nothing."""
    silicon = bulk("Si")
    assert check_labels([with_born_effective_charges(silicon, np.zeros((2, 3, 3)))], CONFIG).findings == ()
