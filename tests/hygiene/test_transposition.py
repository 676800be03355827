import os
from pathlib import Path

import numpy as np
import pytest
from helpers.hygiene_crystals import CONFIG, distorted, perovskite, relabelled, transposed, turned
from scipy.spatial.transform import Rotation

from equivar_jax.hygiene import check_labels, transposition
from equivar_jax.hygiene.surroundings import find_surroundings
from equivar_jax.hygiene.transposition import (
    agreement,
    axial_features,
    axial_vectors,
    expected_axial_vectors,
    judge_index_order,
)
from equivar_jax.io import read_structures
from equivar_jax.structures import born_effective_charges

DATA = os.environ.get("EQUIVAR_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="EQUIVAR_DATA is not set")


def real(name, step=1):
    return read_structures(Path(DATA or "") / f"{name}.extxyz.gz")[::step]


def test_axial_vectors_are_the_antisymmetric_part():
    tensors = np.random.default_rng(0).normal(size=(4, 3, 3))
    u = np.random.default_rng(1).normal(size=(4, 3))
    antisymmetric = (tensors - tensors.transpose(0, 2, 1)) / 2.0
    np.testing.assert_allclose(
        np.einsum("nab,nb->na", antisymmetric, u), -np.cross(axial_vectors(tensors), u), atol=1e-12
    )


def test_the_features_turn_as_axial_vectors():
    atoms = distorted()
    rotation = Rotation.from_euler("xyz", [0.7, -0.4, 1.1]).as_matrix()
    before = axial_features(find_surroundings(atoms), born_effective_charges(atoms))
    for matrix in (rotation, -rotation):  # inversion leaves an axial vector as it is
        moved = turned(atoms, matrix, "turned")
        after = axial_features(find_surroundings(moved), born_effective_charges(moved))
        np.testing.assert_allclose(after, before @ rotation.T, atol=1e-9)
    assert (np.abs(before).max(axis=(0, 2)) > 1e-4).all()


def test_transposing_the_tensors_leaves_the_features_and_turns_the_agreement():
    atoms = distorted()
    near, tensors = find_surroundings(atoms), born_effective_charges(atoms)
    other = tensors.transpose(0, 2, 1)
    expected = expected_axial_vectors(near, tensors)
    np.testing.assert_allclose(expected_axial_vectors(near, other), expected, atol=1e-12)
    value = agreement(axial_vectors(tensors), expected)
    assert abs(value) > 0.1
    assert agreement(axial_vectors(other), expected) == pytest.approx(-value)


def test_agreement_trusts_large_antisymmetric_parts_more():
    large = np.array([[0.4, 0.0, 0.0], [0.0, 0.3, 0.0]])
    assert 0.7 < agreement(large, large) < 1.0
    assert 0.0 < agreement(large / 100.0, large / 100.0) < 0.1
    assert agreement(large, 0.0 * large) == 0.0
    assert agreement(large, large[:, ::-1]) < agreement(large, large)


def test_one_composition_has_one_voice():
    assert judge_index_order(["a"] * 1000, [0.6] * 1000, 0.5).verdict == "undecided"
    assert judge_index_order(range(1000), [0.6] * 1000, 0.5).verdict == "field first"
    assert judge_index_order(range(1000), [-0.6] * 1000, 0.5).verdict == "transposed"
    assert judge_index_order([], [], 0.5).verdict == "undecided"


def test_a_few_wrong_cases_are_chance_and_many_are_a_mixture():
    def verdict(wrong):
        return judge_index_order(range(100), [-0.6] * wrong + [0.6] * (100 - wrong), 0.5).verdict

    assert [verdict(wrong) for wrong in (0, 10, 50, 90, 100)] == [
        "field first",
        "field first",
        "mixed",
        "transposed",
        "transposed",
    ]


def test_a_trained_model_tells_each_transposed_frame():
    frames = [distorted(seed) for seed in range(4)]
    report = check_labels(
        [frames[0], transposed(frames[1], "turned over"), frames[2], perovskite()],
        CONFIG,
        predict=lambda _structures: [
            0.9 * born_effective_charges(atoms) for atoms in (*frames[:3], perovskite())
        ],
    )
    (finding,) = report.findings
    assert (finding.index, finding.source, finding.rule) == (1, "turned over", "transposed")
    assert not finding.refused
    assert report.kept == [0, 1, 2, 3]


@needs_data
def test_the_coefficients_are_those_of_the_published_crystals():
    fitted = transposition.fit_coefficients(real("phonon-dfpt"))
    np.testing.assert_allclose(transposition.COEFFICIENTS, fitted, atol=6e-4)


@pytest.mark.slow  # large sets
@needs_data
@pytest.mark.parametrize("name", ["mp-dielectric", "phonon-dfpt"])
def test_a_transposed_file_of_many_compositions_is_told(name):
    frames = real(name, 5)
    assert check_labels(frames, CONFIG).index_order.verdict == "field first"
    turned_over = [transposed(atoms, f"frame {index}") for index, atoms in enumerate(frames)]
    report = check_labels(turned_over, CONFIG)
    assert report.index_order.verdict == "transposed"
    assert "WARNING" in report.table()
    assert "TRANSPOSED" in report.table()


@pytest.mark.slow  # a large set
@needs_data
def test_a_half_transposed_file_is_told():
    frames = real("mp-dielectric")
    half = [transposed(atoms) if index % 2 else atoms for index, atoms in enumerate(frames)]
    report = check_labels(half, CONFIG)
    assert report.index_order.verdict == "mixed"
    flagged = [finding.index for finding in report.findings if finding.rule == "transposed"]
    assert len(flagged) >= 15
    assert all(index % 2 for index in flagged)


@needs_data
def test_held_out_labels_have_the_expected_sign():
    values = []
    for atoms in [*real("mp-dielectric"), *real("BaTiO3-300K"), *real("SiO2-300K", 4)]:
        tensors = born_effective_charges(atoms)
        found = axial_vectors(tensors)
        if np.sqrt((found**2).sum(axis=1).mean()) > 0.03:
            values.append(agreement(found, expected_axial_vectors(find_surroundings(atoms), tensors)))
    assert np.mean(np.array(values) > 0.0) > 0.85


def test_relabelling_keeps_the_source_for_the_report():
    atoms = relabelled(distorted(), born_effective_charges(distorted()), "here, frame 3")
    assert check_labels([atoms], CONFIG).sources == ("here, frame 3",)
