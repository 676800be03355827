import csv
import gzip
import json
import os
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.spacegroup import Spacegroup
from helpers.dipole import crystal_and_tensors
from helpers.examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, write_structures
from equivar_jax.structures import born_effective_charges, with_born_effective_charges

FIXTURE = examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
LOW_SYMMETRY = np.arange(1.0, 10.0).reshape(1, 3, 3) / 7.0
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def crystal(tensors: np.ndarray | None = LOW_SYMMETRY, **info: object) -> Atoms:
    count = 1 if tensors is None else len(tensors)
    atoms = Atoms("O" * count, cell=np.diag([3.1, 4.2, 5.3]), pbc=True, info=dict(info))
    atoms.positions = np.arange(3.0 * count).reshape(count, 3) / 3.0
    return atoms if tensors is None else with_born_effective_charges(atoms, tensors)


def round_trip(path: Path, atoms: Atoms) -> Atoms:
    write_structures(path, [atoms])
    (read,) = read_structures(path)
    return read


def label(atoms: Atoms) -> np.ndarray:
    tensors = born_effective_charges(atoms)
    assert tensors is not None
    return tensors


def bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, dtype=np.float64).tobytes()


def test_columns_are_row_major_with_the_field_first(tmp_path):
    path = tmp_path / "a.extxyz"
    write_structures(path, crystal(np.array([[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]])))
    _, comment, row = path.read_text().splitlines()
    assert "born_effective_charges:R:9" in comment
    assert row.split()[4:] == [f"{k}.0" for k in range(1, 10)]
    flat = ase.io.read(path).calc.results["born_effective_charges"]
    np.testing.assert_array_equal(flat, [np.arange(1.0, 10.0)])


@FIXTURE
@given(
    tensors=st.integers(1, 3).flatmap(lambda n: hnp.arrays(np.float64, (n, 3, 3), elements=FINITE)),
    positions=hnp.arrays(np.float64, (3, 3), elements=FINITE),
    charges=hnp.arrays(np.float64, 3, elements=FINITE),
    number=st.floats(),
    word=st.text(st.characters(codec="utf-8")),
)
def test_every_bit_comes_back(tmp_path, tensors, positions, charges, number, word):
    atoms = crystal(tensors, number=number, word=word)
    atoms.positions = positions[: len(atoms)]
    atoms.set_initial_charges(charges[: len(atoms)])
    read = round_trip(tmp_path / "a.extxyz", atoms)
    assert bits(label(read)) == bits(tensors)
    assert bits(read.positions) == bits(atoms.positions)
    assert bits(read.get_initial_charges()) == bits(charges[: len(atoms)])
    assert bits(read.cell.array) == bits(atoms.cell.array)
    assert read.info["word"] == word
    np.testing.assert_equal(float(read.info["number"]), number)


ENTRIES = [
    "mp-149", "007", "T", "1 2 3", "", " ", "None", "_JSON", 'say "x"', "back\\slash", "two\nlines", "é=ü",
    "[1]", None, True, 3, -2.5, 10**25, np.float32(0.1), float("inf"), [1, 2], ["a", "b"], [True, False],
    {"a": [1.5, None]}, np.array([0.1, 0.2]), np.array([1.5]), np.array([]), np.eye(3),
    np.array([[1, 2], [3, 4]]), np.array(["x", "y z"]),
]  # fmt: skip


@pytest.mark.parametrize("value", ENTRIES, ids=repr)
def test_entries_of_info_come_back(tmp_path, value):
    read = round_trip(tmp_path / "a.extxyz", crystal(None, entry=value, another=1))
    plain = json.dumps(value, default=lambda array: array.tolist())
    assert json.dumps(read.info["entry"], default=lambda array: array.tolist()) == plain
    assert read.info["another"] == 1


@FIXTURE
@given(name=st.text(st.characters(codec="utf-8"), min_size=1), value=st.one_of(st.integers(), st.text()))
def test_entry_of_any_name_comes_back_or_is_refused(tmp_path, name, value):
    try:
        read = round_trip(tmp_path / "a.extxyz", crystal(None, **{name: value}))
    except InputError:
        return
    if name != "source":
        assert (read.calc.results if name == "energy" else read.info)[name] == value


def test_arrays_results_and_constraints_are_kept(tmp_path):
    atoms = Atoms("MgO", cell=[4, 4, 4.5], positions=[[0, 0, 0], [2, 2, 2]], pbc=[True, False, True])
    atoms.calc = SinglePointCalculator(
        atoms, energy=-1 / 3, forces=np.eye(3)[:2] / 3, stress=np.arange(6.0) / 7
    )
    atoms = with_born_effective_charges(atoms, np.repeat(LOW_SYMMETRY, 2, axis=0))
    energy = SinglePointCalculator(
        atoms, energy=-1 / 3, forces=np.eye(3)[:2] / 3, stress=np.arange(6.0) / 7
    ).results
    atoms.calc.results.update(energy, born_effective_charges_spread=0.25)
    atoms.set_tags([3, 4])
    atoms.set_initial_magnetic_moments([1 / 3, -1 / 3])
    atoms.arrays["site"] = np.array(["a", "bcd"])
    atoms.arrays["surface"] = np.array([True, False])
    atoms.arrays["third_order"] = np.arange(36.0).reshape(2, 3, 3, 2) / 11
    atoms.info["spacegroup"] = Spacegroup(225)
    atoms.set_constraint([FixAtoms([0]), FixCartesian([1], mask=(True, False, False))])
    read = round_trip(tmp_path / "a.extxyz.gz", atoms)
    assert read.get_potential_energy() == -1 / 3
    np.testing.assert_array_equal(read.calc.results["forces"], energy["forces"])
    np.testing.assert_array_equal(read.calc.results["stress"], energy["stress"])
    np.testing.assert_array_equal(label(read), label(atoms))
    assert read.info["born_effective_charges_spread"] == 0.25
    assert read.info["spacegroup"] == "F m -3 m"
    for name in ("tags", "initial_magmoms", "site", "surface", "numbers"):
        np.testing.assert_array_equal(read.arrays[name], atoms.arrays[name])
    np.testing.assert_array_equal(read.arrays["third_order"].ravel(), atoms.arrays["third_order"].ravel())
    assert read.pbc.tolist() == [True, False, True]
    fixed = {int(c.index[0]): c.mask.tolist() for c in read.constraints}
    assert fixed == {0: [True, True, True], 1: [True, False, False]}


def test_unlabelled_structures_and_molecules_are_written(tmp_path):
    read = round_trip(tmp_path / "a.xyz", Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]]))
    assert born_effective_charges(read) is None
    assert not read.cell.array.any()
    assert not read.pbc.any()


def broken(**changes: object) -> Atoms:
    atoms = crystal()
    for name, value in changes.items():
        {"info": atoms.info, "arrays": atoms.arrays, "results": atoms.calc.results}[name].update(value)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "found"),
    [
        (broken(info={"object": object()}), "'object' of type object"),
        (broken(info={"Lattice": "mine"}), "'Lattice'"),
        (broken(info={3: 4}), "the entry 3"),
        (broken(info={"energy": 1.0}, results={"energy": 2.0}), "both in atoms.info and in the results"),
        (broken(arrays={"two words": np.ones(1)}), "'two words'"),
        (broken(arrays={"pos": np.ones((1, 3))}), "'pos'"),
        (broken(arrays={"label": np.array(["two words"])}), "single words"),
        (broken(arrays={"label": np.array([""])}), "single words"),
        (broken(arrays={"phase": np.ones(1, complex)}), "complex128"),
        (broken(arrays={"id": np.array([2**40])}), "32 bits"),
        (broken(arrays={"born_effective_charges": np.ones((1, 9))}), "'born_effective_charges'"),
        (broken(results={"born_effective_charges": np.ones((1, 9))}), "shape (1, 9)"),
        (broken(results={"born_effective_charges": np.full((1, 3, 3), np.nan)}), "not finite"),
        (Atoms(), "no atoms"),
        (Atoms("O", pbc=True), "no volume"),
    ],
)
def test_what_the_format_cannot_hold_is_refused(tmp_path, atoms, found):
    path = tmp_path / "a.extxyz"
    path.write_text("what was there before")
    with pytest.raises(InputError) as caught:
        write_structures(path, [crystal(), atoms])
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.extxyz"]
    assert path.read_text() == "what was there before"


@pytest.mark.parametrize(
    "name", ["a.cif", "a", "a.json", "a.extxyz.bz2", "a.traj.gz", "a.db.zst", ".csv", "born"]
)
def test_unknown_name_says_what_is_possible(tmp_path, name):
    with pytest.raises(
        InputError, match=r"use one of \.csv, \.extxyz, \.xyz .* \.gz or \.zst.* \.db, \.traj or BORN"
    ):
        write_structures(tmp_path / name, crystal())


@pytest.mark.parametrize("name", ["a.extxyz", "a.xyz.gz", "a.extxyz.zst"])
def test_compression_is_told_by_the_name(tmp_path, name):
    read = round_trip(tmp_path / name, crystal())
    np.testing.assert_array_equal(label(read), LOW_SYMMETRY)
    first = {"gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd"}.get(name[-3:].strip("."), b"1\n")
    assert (tmp_path / name).read_bytes().startswith(first)


@pytest.mark.parametrize("suffix", [".csv", ".extxyz", ".extxyz.zst", ".traj", ".db"])
def test_places_that_cannot_be_written(tmp_path, suffix):
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / "file").write_text("")
    for place in (f"absent/a{suffix}", f"folder{suffix}", f"file/a{suffix}"):
        with pytest.raises(InputError, match="cannot be written"):
            write_structures(tmp_path / place, crystal())
    with pytest.raises(InputError, match="no structures to write"):
        write_structures(tmp_path / f"a{suffix}", [])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", f"folder{suffix}"]


@pytest.mark.parametrize("name", ["BORN", "titanate.born"])
def test_a_born_file_goes_through_phonopy(tmp_path, name):
    atoms, tensors = crystal_and_tensors()
    atoms.info["epsilon_inf"] = np.diag([5.0, 6.0, 7.0])
    tensors -= tensors.mean(axis=0)
    ase.io.write(tmp_path / "POSCAR", atoms, direct=True)
    write_structures(tmp_path / name, with_born_effective_charges(atoms, tensors))
    read = read_structures(tmp_path / name)[0]
    assert list(read.symbols) == list(atoms.symbols)
    np.testing.assert_allclose(label(read), tensors, rtol=0, atol=2e-8)  # eight decimals
    with pytest.raises(InputError, match="holds one structure"):
        write_structures(tmp_path / name, [read, read])


@FIXTURE
@given(tensors=hnp.arrays(np.float64, (2, 3, 3), elements=FINITE))
def test_csv_has_the_published_order_and_every_digit(tmp_path, tensors):
    path = tmp_path / "a.csv"
    write_structures(
        path, [crystal(tensors, id="mp-1, a"), crystal(tensors[:1], id="mp-1, a"), crystal(tensors)]
    )
    with path.open(newline="") as handle:
        header, *lines = csv.reader(handle)
    assert header == [
        "id",
        "Z11",
        "Z12",
        "Z13",
        "Z21",
        "Z22",
        "Z23",
        "Z31",
        "Z32",
        "Z33",
        "structure",
        "atom",
        "element",
    ]
    assert [line[0] for line in lines] == ["mp-1, a"] * 3 + ["2", "2"]
    assert [line[10:] for line in lines] == [
        ["0", "0", "O"], ["0", "1", "O"], ["1", "0", "O"], ["2", "0", "O"], ["2", "1", "O"],
    ]  # fmt: skip
    numbers = np.array([[float(value) for value in line[1:10]] for line in lines])
    assert bits(numbers[:2]) == bits(tensors)
    # Z12 is the response to a field along x of the force along y: index [field, displacement].
    assert numbers[0, header.index("Z12") - 1] == tensors[0, 0, 1]


def test_csv_falls_back_to_the_source(tmp_path):
    path = tmp_path / "a.csv.gz"
    write_structures(path, crystal(source="file, frame 4"))
    with gzip.open(path, "rt") as handle:
        assert list(csv.reader(handle))[1][0] == "file, frame 4"


def test_csv_of_unlabelled_structures_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"structure 1 of the list.*write \.extxyz"):
        write_structures(tmp_path / "a.csv", [crystal(), crystal(None)])
    assert not list(tmp_path.iterdir())


@pytest.mark.slow  # large sets
def test_files_of_the_wild_survive_a_round_trip(tmp_path):
    if "EQUIVAR_DATA" not in os.environ:
        pytest.skip("EQUIVAR_DATA is not set")
    for path in sorted(Path(os.environ["EQUIVAR_DATA"]).glob("*.extxyz.gz")):
        structures = read_structures(path)[:100]
        write_structures(tmp_path / "a.extxyz", structures)
        for atoms, read in zip(structures, read_structures(tmp_path / "a.extxyz"), strict=True):
            assert bits(label(read)) == bits(label(atoms))
            assert bits(read.positions) == bits(atoms.positions)
            assert bits(read.cell.array) == bits(atoms.cell.array)
            assert read.arrays.keys() == atoms.arrays.keys()
            assert read.info.keys() == atoms.info.keys()
