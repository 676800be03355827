from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers.engine_files import (
    CRYSTAL,
    EPSILON,
    TENSORS,
    castep_charges,
    castep_structure,
    castep_text,
)

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures
from equivar_jax.io.castep import read_castep
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import born_effective_charges

LAST = 6e-6  # half of the last of five decimals


def read(tmp_path: Path, text: str) -> list[Atoms | InputError]:
    path = tmp_path / "seed.castep"
    path.write_text(text, encoding="iso-8859-1")
    return list(read_castep(path, ReadOptions()))


def only_error(tmp_path: Path, text: str) -> str:
    (error,) = read(tmp_path, text)
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    return str(error)


def test_the_row_is_the_displacement(tmp_path):
    (atoms,) = read(tmp_path, castep_text())
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, atol=LAST)
    (other,) = read(tmp_path, castep_text(castep_charges(TENSORS.transpose(0, 2, 1))))
    assert np.abs(born_effective_charges(other) - TENSORS).max() > 0.1


def test_structure_and_dielectric_tensor(tmp_path):
    path = tmp_path / "seed.castep"
    path.write_text(castep_text())
    (atoms,) = read_structures(path)
    assert list(atoms.symbols) == list(CRYSTAL.symbols)
    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.cell.array, CRYSTAL.cell.array, atol=1e-7)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=5e-6)
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON, atol=LAST)
    assert atoms.info["source"] == f"{path}, frame 0"


def test_charges_belong_to_the_structure_before_them(tmp_path):
    moved = CRYSTAL.copy()
    moved.positions[1] += 0.1
    relaxed = castep_structure() + castep_structure(moved).split("\n\n", 1)[1]  # without a new lattice
    (atoms,) = read(tmp_path, castep_text(structure=relaxed))
    np.testing.assert_allclose(atoms.positions, moved.positions, atol=5e-6)


def test_an_appended_run_is_a_frame_of_its_own(tmp_path):
    frames = read(tmp_path, castep_text() + castep_text(castep_charges(1.5 * TENSORS)))
    assert [frame.info["source"][-1] for frame in frames] == ["0", "1"]
    for frame, factor in zip(frames, (1.0, 1.5), strict=True):
        np.testing.assert_allclose(born_effective_charges(frame), factor * TENSORS, atol=LAST)


def test_charges_that_are_printed_twice_are_one_frame_and_must_agree(tmp_path):
    assert len(read(tmp_path, castep_text(castep_charges() * 2))) == 1
    message = only_error(tmp_path, castep_text(castep_charges() + castep_charges(1.1 * TENSORS)))
    assert "2 sets of Born effective charges that differ" in message


def test_labels_of_atoms_and_of_charges_are_left_out(tmp_path):
    text = castep_text(castep_charges(label=" ID=tip"), castep_structure(columns="  Pb1   "))
    (atoms,) = read(
        tmp_path, text.replace("x  Ti ", "x  Ti:up ").replace("   Ti      1  ", "   Ti:up      1  ")
    )
    assert list(atoms.symbols) == list(CRYSTAL.symbols)
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, atol=LAST)


def test_without_charges_ase_reads_the_structure(tmp_path):
    with pytest.raises(InputError, match="ASE can read"):  # the short text has not all that ASE wants
        read(tmp_path, castep_text("", ""))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Real Lattice(A)", "Real Lattice(Bohr)", "length_unit : ang"),
        ("Fractional coordinates of atoms", "Mixture  Fractional coordinates of atoms", "mixture of atoms"),
        ("   Ti      1  ", "   O       1  ", "in place of Ti 1"),
        ("x  Ti ", "x  Qq ", "'Qq'"),
        (" Run started", " max. cycles performed but system has not reached the groundstate", "more cycles"),
        ("Total number", "Total number", None),
    ],
)
def test_doubtful_files_are_refused(tmp_path, old, new, words):
    text = castep_text().replace(old, new)
    if words is None:
        assert isinstance(read(tmp_path, text)[0], Atoms)
    else:
        assert words in only_error(tmp_path, text)


def test_a_table_cut_short_anywhere_is_refused(tmp_path):
    text = castep_text()
    start, end = text.index("Born Effective Charges\n") + 24, text.rindex("=" * 51)
    for cut in range(start, end, 37):
        assert "Born effective charges" in only_error(tmp_path, text[:cut])


def test_a_row_too_many_or_too_few_is_refused(tmp_path):
    lines = castep_charges().splitlines(keepends=True)
    for changed in (lines[:5] + lines[6:], lines[:5] + lines[4:]):
        assert "rows for 5 atoms" in only_error(tmp_path, castep_text("".join(changed)))
