"""Every reader, given damaged files: it reads what stands there, or says in one line why it cannot.

`EQUIVAR_FUZZ_CASES` sets the number of damaged files of each kind (default 40, for the everyday run).
"""

import gzip
import os
import re
import warnings
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols
from helpers.damage import COMPRESS, MAKERS, OPTIONS, WITHOUT_LABEL, damaged, damaged_words, extxyz
from helpers.engine_files import vaspout
from helpers.examples import examples
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from equivar_jax.errors import InputError
from equivar_jax.io import scan_structures, write_structures
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.xyz_comments import ClusterWarning
from equivar_jax.structures import born_effective_charges, with_born_effective_charges

CASES = int(os.environ.get("EQUIVAR_FUZZ_CASES", "40"))
FINITE = st.floats(allow_nan=False, allow_infinity=False)
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?")
Found = list[Atoms | InputError]


def scanned(path: Path, options: ReadOptions) -> Found:
    """The stream, ended by the error that ended it; no warning may come out beside it."""
    found: Found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # ASE 3.29, with NumPy 2.5; the suite exempts it as well.
        warnings.filterwarnings("ignore", "Setting the shape on a NumPy array", DeprecationWarning)
        warnings.simplefilter("ignore", ClusterWarning)  # of a lattice that the damage has taken away
        try:
            found.extend(scan_structures(path, options.key, options.first_index))
        except InputError as error:
            found.append(error)
    assert not caught, [str(warning.message) for warning in caught]
    return found


def labels_by_source(path: Path, options: ReadOptions) -> dict[str, np.ndarray]:
    """The labels of an undamaged file."""
    return {outcome.info["source"]: born_effective_charges(outcome) for outcome in scanned(path, options)}


def check(path: Path, found: Found, content: bytes, kind: str) -> int:
    """Each outcome is sound; the number of labels among them."""
    text = content.decode("latin-1")
    numbers = {float(word.lower().replace("d", "e")) for word in NUMBER.findall(text)}
    labels = 0
    assert found
    for outcome in found:
        if isinstance(outcome, InputError):
            message = str(outcome)
            assert len(message.splitlines()) == 1
            assert str(path.parent) in message
            message.encode()
            continue
        assert str(outcome.info["source"]).startswith(str(path))
        assert np.isfinite(outcome.positions).all()
        tensors = born_effective_charges(outcome)
        if tensors is None:
            continue
        labels += 1
        assert tensors.shape == (len(outcome), 3, 3)
        assert tensors.dtype == np.float64
        if kind != "BORN":  # where phonopy imposes the sum rule
            strange = set(tensors.ravel().tolist()) - numbers
            assert not strange, strange
    return labels


@pytest.mark.parametrize("kind", MAKERS)
def test_damage_is_read_as_it_stands_or_refused(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    whole, options = path.read_bytes(), OPTIONS.get(kind, ReadOptions())
    original = scanned(path, options)
    assert not any(isinstance(outcome, InputError) for outcome in original)
    assert check(path, original, whole, kind) == (0 if kind in WITHOUT_LABEL else len(original))
    for case in range(CASES):
        content = damaged(whole, np.random.default_rng([case, len(kind)]))
        path.write_bytes(content)
        check(path, scanned(path, options), content, kind)


@pytest.mark.parametrize("kind", ["CASTEP", "CRYSTAL", "CP2K"])
def test_damaged_lines_and_words_are_read_as_they_stand_or_refused(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    whole, labels = path.read_bytes(), 0
    for case in range(CASES):
        content = damaged_words(whole, np.random.default_rng([case, len(kind)]))
        path.write_bytes(content)
        labels += check(path, scanned(path, ReadOptions()), content, kind)
    assert labels > CASES / 10


def test_a_damaged_hdf5_file_gives_its_numbers_or_an_error(tmp_path):
    path = vaspout(tmp_path / "vaspout.h5", LEPSILON=1, IBRION=-1)
    whole, labels = path.read_bytes(), 0
    for case in range(CASES):
        path.write_bytes(damaged(whole, np.random.default_rng([case, 5])))
        labels += check(path, scanned(path, ReadOptions()), b"", "BORN")  # its numbers are no words
    assert labels > CASES / 10


@pytest.mark.parametrize(
    "kind",
    [
        "extxyz",
        "training",
        "vasprun.xml",
        "OUTCAR",
        "ph.x",
        "dynamical matrix",
        "CASTEP",
        "CRYSTAL",
        "CP2K",
    ],
)
def test_a_changed_byte_never_moves_a_number(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    whole, options = path.read_bytes(), OPTIONS.get(kind, ReadOptions())
    original = labels_by_source(path, options)
    known = {float(word) for word in NUMBER.findall(whole.decode("latin-1"))}
    seen = 0
    for case in range(CASES):
        rng = np.random.default_rng([case, 1])
        content = bytearray(whole)
        content[rng.integers(len(content))] = rng.integers(32, 127)
        path.write_bytes(content)
        for outcome in scanned(path, options):
            tensors = None if isinstance(outcome, InputError) else born_effective_charges(outcome)
            if tensors is not None:
                changed = tensors != original[outcome.info["source"]]
                assert changed.sum() <= 1
                assert not known & set(tensors[changed].tolist())
                seen += 1
    assert seen > CASES / 10


def check_columns(found: Found, text: str) -> int:
    """The positions and tensors of every frame are the words of its own rows, in their order."""
    checked = 0
    for outcome in found:
        if isinstance(outcome, InputError):
            continue
        comment, rows = rows_of_frame(text, int(outcome.info["source"].rpartition(" ")[2]))
        fields = re.findall(r"Properties=\"?([^\s\"]+)", comment)[-1].split(":")
        places, start = {}, 0
        for name, width in zip(fields[::3], map(int, fields[2::3]), strict=True):
            places[name] = slice(start, start + width)
            start += width
        positions = [[float(word) for word in row[places["pos"]]] for row in rows]
        np.testing.assert_array_equal(outcome.positions, positions)
        tensors = born_effective_charges(outcome)
        if tensors is not None:
            (name,) = {"born_effective_charges", "becs", "born_charge", "REF_becs"} & places.keys()
            words = [[float(word) for word in row[places[name]]] for row in rows]
            np.testing.assert_array_equal(tensors.reshape(-1, 9), words)
            checked += 1
    return checked


def rows_of_frame(text: str, index: int) -> tuple[str, list[list[str]]]:
    """One frame; the text after it may be damaged."""
    lines = iter(re.split("\r\n|\r|\n", text.removeprefix("\ufeff")))
    for line in lines:
        if line.strip():
            comment, rows = next(lines), list(islice(lines, int(line.strip())))
            if index == 0:
                return comment, [row.split() for row in rows]
            index -= 1
    raise AssertionError("more frames than the text has")


def test_extended_xyz_gives_the_words_of_the_text(tmp_path):
    path = extxyz(tmp_path)
    whole, checked = path.read_bytes(), 0
    for case in range(5 * CASES):
        content = damaged(whole, np.random.default_rng([case, 2]))
        path.write_bytes(content)
        checked += check_columns(scanned(path, ReadOptions()), content.decode("utf-8", "surrogateescape"))
    assert checked > CASES


def test_slices_of_real_files(tmp_path):
    if "EQUIVAR_DATA" not in os.environ:
        pytest.skip("EQUIVAR_DATA is not set")
    for source in sorted(Path(os.environ["EQUIVAR_DATA"]).glob("*.extxyz.gz")):
        path, frames = tmp_path / source.name.removesuffix(".gz"), 0
        with gzip.open(source, "rt") as handle:
            lines = []
            while frames < 3:
                count = next(handle)
                lines += [count, *islice(handle, int(count) + 1)]
                frames += 1
        whole, checked = "".join(lines).encode(), 0
        for case in range(CASES):
            content = damaged(whole, np.random.default_rng([case, 3]))
            path.write_bytes(content)
            checked += check_columns(scanned(path, ReadOptions()), content.decode("utf-8", "surrogateescape"))
        assert checked > CASES / 2


@pytest.mark.parametrize("name", ["a.extxyz.gz", "a.extxyz.bz2", "a.extxyz.xz", "a.extxyz.zst"])
def test_damage_to_an_archive_never_gives_another_number(tmp_path, name):
    text, path = extxyz(tmp_path).read_bytes(), tmp_path / name
    path.write_bytes(COMPRESS[path.suffix](text))
    whole, expected = path.read_bytes(), labels_by_source(path, ReadOptions())
    for case in range(CASES):
        path.write_bytes(damaged(whole, np.random.default_rng([case, 4]), most=1))
        for outcome in scanned(path, ReadOptions()):
            if isinstance(outcome, Atoms):
                tensors = born_effective_charges(outcome)
                np.testing.assert_array_equal(tensors, expected[outcome.info["source"]])


@st.composite
def structures(draw) -> Atoms:
    count = draw(st.integers(1, 6))
    numbers = draw(st.lists(st.integers(1, len(chemical_symbols) - 1), min_size=count, max_size=count))
    cell = np.diag(draw(hnp.arrays(np.float64, 3, elements=st.floats(0.5, 100)))) + np.tril(
        draw(hnp.arrays(np.float64, (3, 3), elements=st.floats(-50, 50))), -1
    )
    positions = draw(hnp.arrays(np.float64, (count, 3), elements=FINITE))
    pbc = draw(st.tuples(*[st.booleans()] * 3))
    atoms = Atoms(numbers, positions=positions, cell=cell, pbc=pbc)
    return with_born_effective_charges(atoms, draw(hnp.arrays(np.float64, (count, 3, 3), elements=FINITE)))


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(structures(), min_size=1, max_size=4))
@pytest.mark.parametrize("name", ["a.extxyz", "a.xyz.gz", "a.extxyz.zst", "a.traj"])
def test_random_structures_come_back_bit_by_bit(tmp_path, name, frames):
    write_structures(tmp_path / name, frames)
    for written, read in zip(frames, scanned(tmp_path / name, ReadOptions()), strict=True):
        assert isinstance(read, Atoms)
        for one, other in (
            (born_effective_charges(written), born_effective_charges(read)),
            (written.positions, read.positions),
            (written.cell.array, read.cell.array),
            (written.numbers, read.numbers),
            (written.pbc, read.pbc),
        ):
            assert one.tobytes() == other.tobytes()
