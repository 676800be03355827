"""Which structures to calculate next: `equivar select`."""

import csv

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from helpers.crystals import titanate

from equivar_jax import load, select
from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.prediction import Candidate, choose_structures, describe_candidates

DIMENSION = 4


def drawn(seed, count=12, atoms=5):
    rng = np.random.default_rng(seed)
    return [
        Candidate(
            rng.choice([8, 22], atoms),
            rng.uniform(0.01, 0.1, atoms),
            np.column_stack([np.ones(atoms), rng.normal(size=(atoms, DIMENSION))]),
        )
        for _ in range(count)
    ]


def gain_from_the_formula(candidate, taken):
    """What a structure teaches after others, from A itself."""
    found = []
    for element, sigma, features in zip(*candidate, strict=True):
        matrix = np.eye(DIMENSION + 1)
        for other in taken:
            own = other.features[other.species == element]
            matrix += own.T @ own
        found.append(sigma**2 * features @ np.linalg.solve(matrix, features))
    return np.mean(found)


@pytest.mark.parametrize("seed", range(3))
def test_each_is_the_one_that_teaches_most_after_those_before(seed):
    candidates = drawn(seed)
    taken = []
    for choice in choose_structures(candidates, 7):
        left = [k for k in range(len(candidates)) if k not in [other.number for other in taken]]
        chosen = [candidates[other.number] for other in taken]
        gains = {k: gain_from_the_formula(candidates[k], chosen) for k in left}
        assert choice.number == max(gains, key=gains.get)
        assert choice.gain == pytest.approx(gains[choice.number], rel=1e-9)
        taken.append(choice)


def test_of_two_that_are_alike_the_second_comes_late():
    candidates = drawn(4, count=6)
    twins = [*candidates, candidates[0]]
    order = [choice.number for choice in choose_structures(twins, 7)]
    assert abs(order.index(0) - order.index(6)) > 1
    assert len(choose_structures(twins, 100)) == 7
    with pytest.raises(InputError, match="one or more"):
        choose_structures(twins, 0)


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.DomainWarning")
def test_a_single_network_looks_for_what_is_new_to_it(trained):
    model = load(trained.folder)
    usual, squeezed = titanate(1, seed=3), titanate(1, seed=4)
    squeezed.set_cell(0.93 * squeezed.cell.array, scale_atoms=True)
    candidates = describe_candidates(model, [usual, squeezed, usual.repeat((2, 1, 1))])
    assert [len(one.species) for one in candidates] == [len(usual), len(squeezed), 2 * len(usual)]
    distances = [np.sqrt(np.square(one.features[:, 1:]).sum(axis=1)) for one in candidates]
    for found, expected in zip(distances, model.domain_distance([usual, squeezed]), strict=False):
        np.testing.assert_allclose(found, expected, rtol=2e-3)
    assert np.all(candidates[0].sigma == 1)
    first, second = choose_structures(candidates, 2)
    assert first.number == 1
    assert second.novelty < 1 + np.square(distances[0]).mean()


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.DomainWarning")
def test_the_program_writes_folders_and_reasons(tmp_path, capsys, complaint):
    strange = bulk("MgO", "rocksalt", a=4.3)
    strange.symbols[0] = "Rn"
    frames = [bulk("MgO", "rocksalt", a=a) for a in (4.21, 4.22, 4.6)]
    write_structures(
        tmp_path / "all.extxyz",
        [*frames, bulk("GaN", "wurtzite", a=3.19, c=5.19), strange, bulk("TiN", "rocksalt", a=4.24)],
    )
    output = tmp_path / "next"
    select.main([str(tmp_path / "all.extxyz"), "-n", "3", "-o", str(output)])
    said = capsys.readouterr()
    assert "3 of 4 structures" in said.out
    assert "2 could not be judged" in said.err
    assert "TiN is likely metallic" in (output / "skipped.csv").read_text()
    assert "Rn" in (output / "skipped.csv").read_text()
    with (output / "selection.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert all((output / row["folder"] / "POSCAR").is_file() for row in rows)
    assert "all.extxyz" in rows[0]["source"]
    assert "sigma of" in rows[0]["reason"]
    gains = [float(row["gain"]) for row in rows]
    assert gains == sorted(gains, reverse=True)
    assert {row["formula"] for row in rows} == {"Ga2N2", "MgO"}  # not three of MgO
    again = read(output / rows[0]["folder"] / "POSCAR")
    assert len(again) == int(rows[0]["atoms"])
    assert "not an empty folder" in complaint(select.main, tmp_path / "all.extxyz", "-n", "1", "-o", output)
    assert "ask for one" in complaint(select.main, tmp_path / "all.extxyz", "-n", "0", "-o", tmp_path / "x")


def test_a_copy_of_what_was_taken_teaches_little(trained):
    """phi^T (1 + phi phi^T)^-1 phi is below 1, which phi^T phi never is."""
    model = load(trained.folder)
    atoms = titanate(2, seed=5)
    first, second = choose_structures(describe_candidates(model, [atoms, atoms]), 2)
    assert [first.number, second.number] == [0, 1]
    assert second.novelty < 1 < first.novelty
    assert second.gain < first.gain
