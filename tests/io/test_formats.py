import gzip
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import ase.io
import ase.test
import numpy as np
import pytest
from ase import Atoms
from helpers.dipole import crystal_and_tensors
from helpers.format_heads import CONTENT, HEADS, NAMES

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, scan_structures, write_structures
from equivar_jax.io.formats import FORMATS, recognise_format
from equivar_jax.structures import born_effective_charges, with_born_effective_charges


def recognised(path: Path) -> str | None:
    form = recognise_format(path)
    return None if form is None else form.name


@pytest.fixture
def labelled() -> Atoms:
    return with_born_effective_charges(*crystal_and_tensors())


def test_every_format_has_its_two_functions():
    assert {form.name for form in FORMATS} == set(NAMES) == set(CONTENT)
    for form in FORMATS:
        module = import_module(f"equivar_jax.io.{form.module}")
        assert callable(getattr(module, f"read_{form.name}"))
        assert callable(getattr(module, f"recognises_{form.name}"))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_content_alone_tells_the_format(tmp_path, name, compress):
    path = tmp_path / "data"
    path.write_bytes(compress(HEADS[name]))
    assert recognised(path) == name


@pytest.mark.parametrize("name", NAMES)
def test_usual_names_and_content_tell_the_format(tmp_path, name):
    path = tmp_path / NAMES[name]
    path.write_bytes(CONTENT[name])
    assert recognised(path) == name


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"A bright cold day in April.\n"),
        ("INCAR", b"LEPSILON = .TRUE.\n"),
        ("config.json", b'{"model": {"channels": 4}}'),
        ("table.csv", b"id,Z11\n1,2\n"),
        ("a.dat", b"\x00\x01\x02"),
        ("run.log", b"line\n"),
        ("run.py", b"import numpy\n"),
        ("two_numbers", b"1 2\n3 4\n"),
    ],
)
def test_other_files_are_of_no_format(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert recognised(path) is None


def test_a_result_of_vasp_is_read_under_any_name(tmp_path):
    original = Path(ase.test.__file__).parent / "testdata" / "vasp" / "vasprun_dfpt.xml"
    for name in ("data", "data.gz", "POSCAR"):
        (tmp_path / name).write_bytes(gzip.compress(original.read_bytes()))
        (atoms,) = read_structures(tmp_path / name)
        expected = ase.io.read(original).calc.results["born_effective_charges"]
        np.testing.assert_array_equal(born_effective_charges(atoms), expected)


def test_an_order_is_refused_by_every_format_that_states_its_own(tmp_path):
    for name in set(NAMES) - {"extxyz", "phonopy_yaml", "born"}:
        path = tmp_path / NAMES[name]
        path.write_bytes(CONTENT[name])
        with pytest.raises(InputError) as caught:
            read_structures(path, first_index="displacement")
        assert str(caught.value).startswith(str(path))
        assert "index" in str(caught.value)
        with pytest.raises(InputError) as caught:
            read_structures(path, key="becs")
        assert str(caught.value).startswith(str(path))


def test_every_format_complains_of_its_bare_head(tmp_path):
    for name, content in CONTENT.items():
        path = tmp_path / NAMES[name]
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_structures(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_single_file_that_cannot_be_read_on_raises_after_its_good_frames(tmp_path, labelled):
    path = tmp_path / "a.extxyz"
    write_structures(path, [labelled, labelled])
    path.write_text(path.read_text() + "nonsense\n")
    scan = scan_structures(path)
    for _ in range(2):
        np.testing.assert_array_equal(born_effective_charges(next(scan)), crystal_and_tensors()[1])
    with pytest.raises(InputError, match="frame 2: expected a line with the number of atoms"):
        next(scan)


def test_reading_strictly_raises_the_first_fault(tmp_path, labelled):
    path = tmp_path / "a.extxyz"
    write_structures(path, [labelled] * 3)
    path.write_text(path.read_text().replace("Ti", "Qq", 1))
    with pytest.raises(InputError, match="frame 0: atom 1 has the unknown element 'Qq'"):
        read_structures(path)
    assert [type(found) for found in scan_structures(path)] == [InputError, Atoms, Atoms]


def test_importing_the_package_loads_no_reader():
    script = "import sys, equivar_jax.io; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    heavy = {
        "ase.io",
        "jax",
        "phonopy",
        "pymatgen",
        "abipy",
        "netCDF4",
        *(f"equivar_jax.io.{f.module}" for f in FORMATS),
    }
    assert not heavy & set(loaded.split())


@pytest.mark.parametrize("name", ["POSCAR", "a.vasp", "XDATCAR"])
def test_a_count_of_atoms_that_no_file_can_hold_is_refused_at_once(tmp_path, name):
    path = tmp_path / name
    ase.io.write(path, crystal_and_tensors()[0], format="vasp-xdatcar" if name == "XDATCAR" else "vasp")
    path.write_text(re.sub(r"\b1( +)1( +)3\b", r"1\g<1>400000000\g<2>3", path.read_text(), count=1))
    with pytest.raises(InputError, match="announces 400000004 atoms"):
        read_structures(path)
