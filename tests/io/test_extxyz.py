import gzip
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.io.extxyz import write_xyz
from helpers.damage import COMPRESS
from helpers.dipole import crystal_and_tensors
from jaxtyping import TypeCheckError

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, scan_structures, write_structures
from equivar_jax.io.extxyz import BEC_KEYS
from equivar_jax.io.xyz_comments import ClusterWarning
from equivar_jax.structures import born_effective_charges

# A triclinic cell; xy and yx and so on all differ, so that no transposition goes unnoticed.
CELL = "4.1 0.0 0.0 0.3 4.4 0.0 -0.2 0.5 5.3"
TENSORS = np.array(
    [
        [[2.1, 0.2, -0.3], [0.4, 2.5, 0.6], [-0.7, 0.8, 2.9]],
        [[-2.1, -0.25, 0.31], [-0.4, -2.5, 0.0], [0.7, 1.0, -3.0]],
    ]
)


def frame_text(key: str | None = "becs", tensors: np.ndarray = TENSORS, entries: str = "") -> str:
    properties = "species:S:1:pos:R:3" + (f":{key}:R:9" if key else "")
    lines = ["2", f'Lattice="{CELL}" Properties={properties} {entries}pbc="T T T"']
    for symbol, position, tensor in zip(("Mg", "O"), ("0.0 0.0 0.0", "2.0 2.1 2.6"), tensors, strict=True):
        label = " ".join(repr(float(value)) for row in tensor for value in row) if key else ""
        lines.append(f"{symbol} {position} {label}".rstrip())
    return "\n".join(lines) + "\n"


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str | bytes, name: str = "data.extxyz") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def refusal(path: Path, key: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        read_structures(path, key)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def label(atoms: Atoms) -> np.ndarray:
    tensors = born_effective_charges(atoms)
    assert tensors is not None
    return tensors


@pytest.mark.parametrize("key", BEC_KEYS)
def test_every_key_is_found_and_the_first_index_is_the_field(file, key):
    (atoms,) = read_structures(file(frame_text(key)))
    assert label(atoms).dtype == np.float64
    np.testing.assert_array_equal(label(atoms), TENSORS)
    # Columns are xx xy xz yx ...: the second number is the response to a field along x, force along y.
    assert label(atoms)[0, 0, 1] == 0.2
    assert label(atoms)[0, 1, 0] == 0.4
    assert key not in atoms.arrays


def test_label_that_ase_itself_returns_flat_is_reshaped(file):
    path = file(frame_text("born_effective_charges"))
    flat = ase.io.read(path).calc.results["born_effective_charges"]
    assert flat.shape == (2, 9)
    np.testing.assert_array_equal(label(read_structures(path)[0]), flat.reshape(2, 3, 3))


def test_frames_are_numbered_and_may_lack_labels(file):
    path = file(frame_text() + frame_text(None) + frame_text("bec", TENSORS.transpose(0, 2, 1)))
    first, second, third = read_structures(path)
    assert [a.info["source"] for a in (first, second, third)] == [f"{path}, frame {k}" for k in range(3)]
    assert born_effective_charges(second) is None
    np.testing.assert_array_equal(label(third), np.swapaxes(label(first), 1, 2))


def test_blank_lines_between_frames_drop_nothing(file):
    path = file("\n" + frame_text() + "\n\n" + frame_text() + "\n")
    assert len(ase.io.read(file(frame_text() + "\n" + frame_text(), "ase.extxyz"), ":")) == 1
    assert len(read_structures(path)) == 2


@pytest.mark.parametrize("name", ["a.extxyz.gz", "a.xyz", "misnamed.extxyz", "no_suffix"])
@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz", ".zst"])
def test_compression_is_told_by_content(file, name, suffix):
    path = file(COMPRESS[suffix](frame_text().encode()), name)
    np.testing.assert_array_equal(label(read_structures(path)[0]), TENSORS)


def test_windows_line_ends_and_byte_order_mark(file):
    path = file(b"\xef\xbb\xbf" + frame_text().replace("\n", "\r\n").encode())
    np.testing.assert_array_equal(label(read_structures(path)[0]), TENSORS)


def test_integer_columns_are_labels_too(file):
    path = file(
        frame_text("becs", np.round(TENSORS))
        .replace("becs:R", "becs:I")
        .replace(".0 ", " ")
        .replace(".0\n", "\n")
    )
    np.testing.assert_array_equal(label(read_structures(path)[0]), np.round(TENSORS))


def test_other_results_columns_and_entries_are_kept(file):
    text = frame_text(entries="energy=-3.5 band_gap=2.25 ").replace(
        "pos:R:3:", "pos:R:3:tags:I:1:forces:R:3:"
    )
    text = text.replace("0.0 0.0 0.0 2.1", "0.0 0.0 0.0 7 1.0 2.0 3.0 2.1").replace(
        "2.6 -2.1", "2.6 8 4.0 5.0 6.0 -2.1"
    )
    (atoms,) = read_structures(file(text))
    np.testing.assert_array_equal(label(atoms), TENSORS)
    assert atoms.get_potential_energy() == -3.5
    np.testing.assert_array_equal(atoms.get_forces(), [[1, 2, 3], [4, 5, 6]])
    assert atoms.get_tags().tolist() == [7, 8]
    assert atoms.info["band_gap"] == 2.25


def test_explicit_key_chooses_among_several(file):
    rows = frame_text("becs").splitlines()
    rows[1] = rows[1].replace(":becs:R:9", ":becs:R:9:mine:R:9:REF_becs:R:9")
    rows[2:] = [row + " " + " ".join(str(k) for k in range(9)) + " 0" * 9 for row in rows[2:]]
    path = file("\n".join(rows))
    assert "becs, REF_becs" in refusal(path)
    (atoms,) = read_structures(path, "mine")
    np.testing.assert_array_equal(label(atoms), [np.arange(9.0).reshape(3, 3)] * 2)
    assert atoms.arrays["becs"].shape == (2, 9)


def test_a_frame_without_the_key_has_no_label(file):
    path = file(frame_text("mine") + frame_text("born_effective_charges") + frame_text("becs"))
    mine, standard, becs = read_structures(path, "mine")
    np.testing.assert_array_equal(label(mine), TENSORS)
    assert born_effective_charges(standard) is None
    assert born_effective_charges(becs) is None
    assert becs.arrays["becs"].shape == (2, 9)


def test_every_frame_has_its_own_usual_key(file):
    keys = [*BEC_KEYS, None, *BEC_KEYS[::-1]]
    path = file("".join(frame_text(key, k * TENSORS) for k, key in enumerate(keys)))
    for k, (key, atoms) in enumerate(zip(keys, read_structures(path), strict=True)):
        expected = None if key is None else k * TENSORS
        np.testing.assert_array_equal(born_effective_charges(atoms), expected)


def test_the_user_may_say_that_the_displacement_comes_first(file):
    atoms, tensors = crystal_and_tensors()
    displacement_first = tensors.transpose(0, 2, 1).reshape(5, 9)
    atoms.arrays["mine"], atoms.arrays["becs"] = displacement_first, tensors.reshape(5, 9)
    path = file("")
    write_structures(path, atoms)
    np.testing.assert_array_equal(label(read_structures(path, "mine", "displacement")[0]), tensors)
    np.testing.assert_array_equal(label(read_structures(path, "becs", "field")[0]), tensors)
    np.testing.assert_array_equal(label(read_structures(path)[0]), tensors)


def test_another_word_for_the_order_is_refused(file):
    with pytest.raises((InputError, TypeCheckError), match="first_index"):
        read_structures(file(frame_text()), first_index="rows")


@pytest.mark.parametrize("key", ["pos", "species"])
def test_a_column_that_is_no_tensor_is_refused(file, key):
    assert "expected R:9" in refusal(file(frame_text()), key)


def test_plain_xyz_is_a_molecule_without_label(file):
    path = file("3\nwater, T=300\nO 0 0 0 9.9\nH 0.76 0.59 0\nh -0.76 0.59 0\n", "water.xyz")
    with pytest.warns(ClusterWarning, match="molecule or cluster"):
        (atoms,) = read_structures(path)
    assert atoms.get_chemical_formula() == "H2O"
    assert not atoms.pbc.any()
    assert born_effective_charges(atoms) is None


NARROW = frame_text(None).replace("pos:R:3", "pos:R:3:becs:R:3")
NARROW = NARROW.replace("0 0.0\n", "0 0.0 1 2 3\n").replace("2.6\n", "2.6 1 2 3\n")

FAULTS = {
    "random text": ("It was a bright cold day in April.\n", "number of atoms"),
    "count too large": (frame_text().replace("2\n", "3\n", 1), "2 of 3 atoms"),
    "count too small": (frame_text().replace("2\n", "1\n", 1), "frame 1: expected a line with the number"),
    "negative count": (frame_text().replace("2\n", "-2\n", 1), "number of atoms"),
    "last frame cut": (frame_text() + frame_text()[:-80], "frame 1"),
    "last frame is a count": (frame_text() + "2\n", "frame 1"),
    "only blank lines": ("\n \n", "no structures"),
    "no atoms": ('0\nProperties=species:S:1:pos:R:3 pbc="F F F"\n', "no atoms"),
    "eight columns": (frame_text().replace("R:9", "R:8"), "has 13 values, 12 are expected"),
    "label of width 3": (NARROW, "expected R:9"),
    "label of words": (frame_text().replace("becs:R", "becs:S"), "expected R:9"),
    "nan position": (frame_text().replace("2.0 2.1", "nan 2.1"), "position of atom 1 is not finite"),
    "infinite label": (frame_text().replace("2.9", "inf"), "atom 0 is not finite"),
    "nan label": (frame_text().replace("-3.0", "NaN"), "atom 1 is not finite"),
    "nan cell": (frame_text().replace("4.1", "nan"), "cell is not finite"),
    "unknown element": (frame_text().replace("O 2.0", "Qq 2.0"), "unknown element 'Qq'"),
    "dummy element": (frame_text().replace("O 2.0", "X 2.0"), "atomic number 0"),
    "flat cell": (frame_text().replace(CELL, "4 0 0 8 0 0 0 0 4"), "span no volume"),
    "periodic without cell": (frame_text().replace(f'Lattice="{CELL}" ', ""), "span no volume"),
    "lattice of eight": (frame_text().replace("4.1 ", ""), "not a valid extended XYZ frame"),
    "word for a number": (frame_text().replace("0.6", "zero"), "not a valid extended XYZ frame"),
    "no positions": (frame_text().replace("pos:R:3", "velocities:R:3"), "both species (or Z) and pos"),
    "no elements": (frame_text().replace("species", "label"), "both species (or Z) and pos"),
    "broken properties": (frame_text().replace("becs:R:9", "becs:R"), "not a list of name:type:width"),
    "huge width": (frame_text().replace("becs:R:9", "becs:R:999999"), "1000003 are expected"),
    "columns without properties": (frame_text().replace("Properties", "Property"), "13 values, 4 are"),
    "column twice": (frame_text().replace("becs:R:9", "becs:R:4:becs:R:5"), "not a list of name:type:width"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "found"), FAULTS.values(), ids=FAULTS.keys())
def test_fault_is_one_line_with_file_and_cause(file, text, found):
    assert found in refusal(file(text))


def test_no_such_file(tmp_path):
    assert "no such file" in refusal(tmp_path / "nothing.extxyz")
    assert "no such file" in refusal(tmp_path / "no folder" / "nothing.cif")


def test_empty_file(file):
    assert "empty" in refusal(file(""))
    assert "no structures" in refusal(file(gzip.compress(b""), "a.extxyz.gz"))


def test_picture_named_as_extended_xyz(file):
    assert "not a text file" in refusal(file(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe" * 9))


@pytest.mark.parametrize("kept", [3, 30, -30, -4])
def test_truncated_gzip(file, kept):
    whole = gzip.compress((frame_text() * 50).encode())
    assert "damaged or cut short" in refusal(file(whole[:kept], "a.extxyz.gz"))


def test_damaged_gzip(file):
    whole = bytearray(gzip.compress((frame_text() * 50).encode()))
    whole[40] ^= 0xFF
    assert "a.extxyz.gz" in refusal(file(bytes(whole), "a.extxyz.gz"))


def scanned(path: Path, *options: str) -> list[Atoms | InputError]:
    """What comes before the end, and the error that ended it if one did."""
    found: list[Atoms | InputError] = []
    try:
        found.extend(scan_structures(path, *options))
    except InputError as error:
        found.append(error)
    return found


@pytest.mark.parametrize("fault", [name for name in FAULTS if not re.search("count|cut|text|blank", name)])
def test_a_faulty_frame_is_set_aside_and_the_next_one_is_read(file, fault):
    wrong, found = FAULTS[fault]
    before, error, after = scan_structures(file(frame_text() + wrong + frame_text()))
    assert isinstance(error, InputError)
    assert found.replace("frame 0", "frame 1") in str(error)
    assert ", frame 1: " in str(error)
    np.testing.assert_array_equal(label(before), TENSORS)
    np.testing.assert_array_equal(label(after), TENSORS)
    assert after.info["source"].endswith(", frame 2")


@pytest.mark.parametrize(
    "fault", ["random text", "count too small", "last frame cut", "last frame is a count"]
)
def test_a_file_that_cannot_be_read_on_gives_its_good_frames_first(file, fault):
    path = file(frame_text() * 3 + FAULTS[fault][0])
    scan = scan_structures(path)
    for _ in range(3):
        np.testing.assert_array_equal(label(next(scan)), TENSORS)
    with pytest.raises(InputError, match=r"frame [345]: "):
        list(scan)


@pytest.mark.parametrize("name", ["a.extxyz.gz", "a.extxyz.bz2", "a.extxyz.xz", "a.extxyz.zst"])
def test_an_archive_cut_short_gives_its_good_frames_first(file, name):
    rng = np.random.default_rng(0)
    tensors = rng.normal(size=(400, 2, 3, 3))
    text = "".join(frame_text(tensors=t) for t in tensors).encode()
    whole = COMPRESS[name[8:]](text)
    np.testing.assert_array_equal([label(atoms) for atoms in read_structures(file(whole, name))], tensors)
    *good, error = scanned(file(whole[: int(0.7 * len(whole))], name))
    assert isinstance(error, InputError)
    assert len(good) > 200 or name.endswith((".bz2", ".xz"))  # whose blocks are larger than this file
    for atoms, expected in zip(good, tensors, strict=False):
        np.testing.assert_array_equal(label(atoms), expected)


@pytest.mark.parametrize("name", ["a.extxyz.gz", "a.extxyz.bz2", "a.extxyz.xz", "a.extxyz.zst"])
def test_a_damaged_archive_gives_nothing(file, name):
    rng = np.random.default_rng(1)
    text = "".join(frame_text(tensors=rng.normal(size=(2, 3, 3))) for _ in range(50)).encode()
    whole = COMPRESS[name[8:]](text)
    for place in rng.integers(40, len(whole) - 20, size=30):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        (error,) = scanned(file(bytes(damaged), name))
        assert "damaged" in str(error) or "cannot be read" in str(error)


def test_an_archive_of_several_parts_is_read_to_the_end(file):
    for suffix, compress in COMPRESS.items():
        path = file(compress(frame_text().encode()) + compress(frame_text().encode()), f"a.extxyz{suffix}")
        assert len(read_structures(path)) == 2


def test_bytes_that_are_no_text_cost_one_frame(file):
    broken = frame_text(entries="title=caf\u00e9 ").encode("latin-1")
    before, error, after = scan_structures(file(frame_text().encode() + broken + frame_text().encode()))
    assert "frame 1: some bytes are not UTF-8 text" in str(error)
    np.testing.assert_array_equal(label(before), label(after))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (frame_text().replace("0.2 -0.3", "0_2 -0.3"), "'0_2' of atom 0 is not a number"),
        (frame_text().replace("0.2 -0.3", "\u0662 -0.3"), "of atom 0 is not a number"),
        (frame_text().replace("4.1", "4_1"), "Lattice has '4_1' inside a number"),
        (frame_text().replace("4.1", "4.1\\2"), "Lattice has"),
        (frame_text(None, entries='target="_JSON [[1.\\5]]" '), "target has"),
        (frame_text().replace("T T T", "T T X"), "pbc='T T X' is not three of T and F"),
        (frame_text().replace("T T T", "T T"), "is not three of T and F"),
        (frame_text().replace("T T T", "1 1 2"), "is not three of T and F"),
    ],
)
def test_numbers_that_only_python_would_read_are_refused(file, text, found):
    assert found in refusal(file(text))


def test_an_underscore_in_a_word_is_no_fault(file):
    text = frame_text().replace("species:S:1", "species:S:1:site:S:1").replace("Mg ", "Mg a_1 ")
    (atoms,) = read_structures(file(text.replace("O 2", "O b\u00e9 2").replace("pbc", "key1_2=3_4x pbc")))
    assert atoms.arrays["site"].tolist() == ["a_1", "b\u00e9"]
    np.testing.assert_array_equal(label(atoms), TENSORS)


def test_frames_are_read_one_by_one(file):
    scan = scan_structures(file(frame_text() * 2 + "nonsense\n"))
    assert isinstance(next(scan), Atoms)
    assert isinstance(next(scan), Atoms)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the memory from")
def test_a_million_atoms_in_two_gigabytes(tmp_path):
    path = tmp_path / "large.extxyz"
    rows = frame_text().splitlines()
    path.write_text("\n".join(["1000000", rows[1], *(rows[2:4] * 500_000)]) + "\n")
    script = (
        "import re, sys; from equivar_jax.io import read_structures; "
        "(atoms,) = read_structures(sys.argv[1]); "
        # The peak that getrusage gives begins with that of the process that started this one.
        "print(len(atoms), re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    command = [sys.executable, "-c", script, str(path)]
    count, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert count == "1000000"
    assert int(kilobytes) < 2e6


def test_cif_and_poscar_are_read_unlabelled_through_ase(tmp_path):
    rocksalt = Atoms("MgO", cell=[4.1, 4.3, 4.7], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True)
    for name in ("mgo.cif", "POSCAR", "a@1.vasp"):
        path = tmp_path / name
        ase.io.write(path, rocksalt, format={"mgo.cif": "cif"}.get(name, "vasp"))
        (atoms,) = read_structures(path)
        assert sorted(atoms.symbols) == ["Mg", "O"]
        assert atoms.info["source"] == f"{path}, frame 0"
        assert born_effective_charges(atoms) is None


@pytest.mark.parametrize("name", ["notes.txt", "notes", "broken.cif", "POSCAR", "picture.png", "run.traj"])
def test_other_files_that_are_no_structures(file, name):
    content = b"\x89PNG\r\n\x1a\n" if name == "picture.png" else b"It was a bright cold day in April.\n"
    assert "not a structure file that ASE can read" in refusal(file(content, name))


def test_key_is_refused_for_files_without_columns(file):
    assert "extended XYZ" in refusal(file("anything", "POSCAR"), "becs")


def test_flat_cell_in_poscar(file):
    text = "flat\n1.0\n4 0 0\n8 0 0\n0 0 4\nMg\n1\nDirect\n0 0 0\n"
    message = refusal(file(text, "POSCAR"))
    assert "span no volume" in message or "not a structure file" in message


@pytest.mark.slow  # large sets
def test_files_of_the_wild_agree_with_ase():
    if "EQUIVAR_DATA" not in os.environ:
        pytest.skip("EQUIVAR_DATA is not set")
    counts = {}
    for path in sorted(Path(os.environ["EQUIVAR_DATA"]).glob("*.extxyz.gz")):
        structures = read_structures(path)
        counts[path.name] = len(structures)
        assert all(born_effective_charges(atoms) is not None for atoms in structures)
        with gzip.open(path, "rt") as handle:
            first = ase.io.read(io.StringIO(handle.read()), 0, format="extxyz")
        (key,) = set(first.arrays) & set(BEC_KEYS)
        np.testing.assert_array_equal(label(structures[0]), first.arrays[key].reshape(-1, 3, 3))
        np.testing.assert_array_equal(structures[0].positions, first.positions)
        np.testing.assert_array_equal(structures[0].cell.array, first.cell.array)
    assert counts["phonon-dfpt.extxyz.gz"] == 1370


def test_many_frames_are_read_in_order(tmp_path):
    path = tmp_path / "many.extxyz"
    path.write_text(frame_text() * 500)
    sources = [atoms.info["source"] for atoms in read_structures(path)]
    assert sources == [f"{path}, frame {k}" for k in range(500)]


def test_what_ase_writes_is_read_to_its_eight_decimals(tmp_path):
    atoms = Atoms("MgO", cell=[4, 4.2, 4.4], positions=[[0, 0, 0], [2, 2, 2]], pbc=[True, True, False])
    atoms.arrays["bec"] = TENSORS.reshape(2, 9)
    path = tmp_path / "ase.xyz"
    with path.open("w") as handle:
        write_xyz(handle, [atoms])
    (read,) = read_structures(path)
    np.testing.assert_allclose(label(read), TENSORS, rtol=0, atol=5e-9)
    assert read.pbc.tolist() == [True, True, False]
