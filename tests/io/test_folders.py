import os
import stat
import tempfile
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from helpers.dipole import crystal_and_tensors
from helpers.format_heads import CONTENT

from equivar_jax.errors import InputError
from equivar_jax.io import (
    files_that_decide,
    read_structures,
    scan_structures,
    structure_files,
    write_structures,
)
from equivar_jax.structures import born_effective_charges, with_born_effective_charges


@pytest.fixture
def tree(tmp_path):
    """Make files: name -> format, or "" for an unknown one."""

    def make(**files: str) -> Path:
        for name, form in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(CONTENT.get(form, b"of no known format\n"))
        return tmp_path

    return make


def names(path: Path, below: Path) -> list[str]:
    return [str(found.relative_to(below)) for found in structure_files(path)]


def labelled(scale: float = 1.0) -> Atoms:
    atoms, tensors = crystal_and_tensors()
    return with_born_effective_charges(atoms, scale * tensors)


def test_a_folder_means_the_known_files_below_it_in_order(tree):
    folder = tree(
        **{
            "b.extxyz": "extxyz",
            "a/OUTCAR": "outcar",
            "a/INCAR": "",
            "a/b/c/x.traj": "trajectory",
            ".hidden/OUTCAR": "outcar",
            ".hidden.extxyz": "extxyz",
            "notes.txt": "",
            "c.cif": "bare_structure",
            "old.extxyz.part": "extxyz",
        }
    )
    assert names(folder, folder) == ["a/OUTCAR", "a/b/c/x.traj", "b.extxyz", "c.cif"]
    assert structure_files(str(folder)) == structure_files(folder)


SUPERSEDED = {
    "vasprun over the rest of the run": (
        {
            "vasprun.xml": "vasprun",
            "OUTCAR": "outcar",
            "POSCAR": "bare_structure",
            "CONTCAR.gz": "bare_structure",
            "XDATCAR": "bare_structure",
        },
        ["vasprun.xml"],
    ),
    "OUTCAR over structures": (
        {"OUTCAR": "outcar", "POSCAR": "bare_structure", "XDATCAR": "bare_structure"},
        ["OUTCAR"],
    ),
    "another folder is another run": (
        {"a/vasprun.xml": "vasprun", "b/OUTCAR": "outcar", "c/POSCAR": "bare_structure"},
        ["a/vasprun.xml", "b/OUTCAR", "c/POSCAR"],
    ),
    "another name is another run": (
        {
            "1.vasprun.xml": "vasprun",
            "1.OUTCAR.gz": "outcar",
            "2.OUTCAR": "outcar",
            "OUTCAR-3": "outcar",
            "POSCAR-3": "bare_structure",
            "4.POSCAR": "bare_structure",
        },
        ["1.vasprun.xml", "2.OUTCAR", "4.POSCAR", "OUTCAR-3"],
    ),
    "anaddb over its DDB": (
        {"a_anaddb.nc": "anaddb", "a_DDB": "ddb", "b_DDB": "ddb"},
        ["a_anaddb.nc", "b_DDB"],
    ),
    "BORN over the structures it may belong to": (
        {
            "BORN": "born",
            "phonopy_disp.yaml": "phonopy_yaml",
            "POSCAR-unitcell": "bare_structure",
            "POSCAR-001": "bare_structure",
            "a/POSCAR": "bare_structure",
        },
        ["BORN", "a/POSCAR"],
    ),
    "ph.x and dynamical matrices over pw.x": (
        {"ph.out": "ph_output", "a.dyn1": "dynamical_matrix", "a.pwi": "bare_structure"},
        ["a.dyn1", "ph.out"],
    ),
    "extended XYZ beside anything": (
        {"all.extxyz": "extxyz", "OUTCAR": "outcar", "a.cif": "bare_structure"},
        ["OUTCAR", "a.cif", "all.extxyz"],
    ),
}


@pytest.mark.parametrize(("files", "expected"), SUPERSEDED.values(), ids=SUPERSEDED.keys())
def test_each_calculation_is_read_once(tree, files, expected):
    folder = tree(**files)
    assert names(folder, folder) == expected


def test_a_pattern_means_what_it_matches(tree):
    folder = tree(
        **{
            "a/OUTCAR": "outcar",
            "a/vasprun.xml": "vasprun",
            "b/OUTCAR": "outcar",
            "b/c/OUTCAR": "outcar",
            "b/notes": "",
        }
    )
    assert names(folder / "*" / "OUTCAR", folder) == ["a/OUTCAR", "b/OUTCAR"]
    assert names(folder / "**" / "OUTCAR", folder) == ["a/OUTCAR", "b/OUTCAR", "b/c/OUTCAR"]
    assert names(folder / "**", folder) == ["a/vasprun.xml", "b/OUTCAR", "b/c/OUTCAR"]
    assert names(folder / "[ab]" / "O?TCAR", folder) == ["a/OUTCAR", "b/OUTCAR"]


def test_a_name_with_the_signs_of_a_pattern_is_a_file_if_it_is_there(tree):
    folder = tree(**{"a[1].extxyz": "extxyz", "a1.extxyz": "extxyz", "b[1]/x.extxyz": "extxyz"})
    assert names(folder / "a[1].extxyz", folder) == ["a[1].extxyz"]
    assert names(folder / "a[12].extxyz", folder) == ["a1.extxyz"]
    assert names(folder / "b[1]", folder) == ["b[1]/x.extxyz"]


def test_a_relative_pattern(tree, monkeypatch):
    monkeypatch.chdir(tree(**{"a.extxyz": "extxyz"}))
    assert structure_files("*.extxyz") == [Path("a.extxyz")]
    assert structure_files(".") == [Path("a.extxyz")]


@pytest.mark.parametrize("what", ["", "*", "*.extxyz", "absent/*"])
def test_nothing_found_says_so(tree, what):
    folder = tree(**{"notes.txt": "", ".hidden.extxyz": "extxyz"})
    with pytest.raises(InputError) as caught:
        read_structures(folder / what)
    where = "match this pattern" if what else "in this folder"
    assert str(caught.value).startswith(f"{folder / what}: no structure files {where}; ")
    assert "extended XYZ, " in str(caught.value)


@pytest.mark.parametrize("name", ["absent.extxyz", "absent/a.cif", "absent"])
def test_a_name_that_is_not_there(tmp_path, name):
    for function in (structure_files, read_structures):
        with pytest.raises(InputError, match=r"no such file"):
            function(tmp_path / name)


def test_all_files_of_a_folder_are_read_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    write_structures(tmp_path / "a.extxyz", [labelled(1), labelled(2)])
    write_structures(tmp_path / "b" / "c.traj", labelled(3))
    ase.io.write(tmp_path / "d.cif", crystal_and_tensors()[0])
    *first, last = read_structures(tmp_path)
    for scale, atoms in enumerate(first, start=1):
        np.testing.assert_array_equal(born_effective_charges(atoms), scale * crystal_and_tensors()[1])
    assert born_effective_charges(last) is None
    assert [atoms.info["source"] for atoms in (*first, last)] == [
        f"{tmp_path}/a.extxyz, frame 0",
        f"{tmp_path}/a.extxyz, frame 1",
        f"{tmp_path}/b/c.traj, frame 0",
        f"{tmp_path}/d.cif, frame 0",
    ]


def test_what_cannot_be_read_is_set_aside_and_the_rest_is_read(tmp_path):
    write_structures(tmp_path / "a.extxyz", [labelled()] * 3)
    (tmp_path / "a.extxyz").write_text(
        (tmp_path / "a.extxyz").read_text().replace("Pb", "Qq", 1) + "nonsense\n"
    )
    (tmp_path / "b.cif").write_text("nonsense")
    (tmp_path / "c.extxyz").write_text("")
    (tmp_path / "d.extxyz").symlink_to(tmp_path / "absent.extxyz")
    write_structures(tmp_path / "e.extxyz", labelled())
    found = list(scan_structures(tmp_path))
    kinds = [InputError, Atoms, Atoms, InputError, InputError, InputError, InputError, Atoms]
    assert [type(one) for one in found] == kinds
    errors = [str(one) for one in found if isinstance(one, InputError)]
    for error, (name, cause) in zip(
        errors,
        [
            ("a.extxyz, frame 0", "unknown element"),
            ("a.extxyz, frame 3", "number of atoms"),
            ("b.cif", "not a structure file"),
            ("c.extxyz", "empty"),
            ("d.extxyz", "no such file"),
        ],
        strict=True,
    ):
        assert error.startswith(f"{tmp_path / name}: ")
        assert cause in error
    with pytest.raises(InputError, match="unknown element"):
        read_structures(tmp_path)


def test_a_folder_is_read_file_by_file(tmp_path):
    write_structures(tmp_path / "a.extxyz", labelled())
    write_structures(tmp_path / "b.extxyz", labelled())
    scan = scan_structures(tmp_path)
    next(scan)
    (tmp_path / "b.extxyz").write_text("changed since\n")
    assert "number of atoms" in str(next(scan))


def test_links_are_followed_and_circles_are_not(tmp_path):
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    write_structures(tmp_path / "elsewhere" / "a.extxyz", labelled())
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "run" / "up").symlink_to(tmp_path / "data")
    assert names(tmp_path / "data", tmp_path / "data") == ["linked/a.extxyz"]


def test_pipes_and_devices_are_left_alone(tmp_path):
    os.mkfifo(tmp_path / "a.extxyz")
    write_structures(tmp_path / "b.extxyz", labelled())
    assert names(tmp_path, tmp_path) == ["b.extxyz"]


@pytest.fixture
def locked():
    """A folder of files, some of which an unprivileged user may not read; the test runs as such a user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_structures(folder / "a.extxyz", labelled())
        write_structures(folder / "b.extxyz", labelled())
        (folder / "c").mkdir()
        write_structures(folder / "c" / "d.extxyz", labelled())
        (folder / "e").mkdir()
        write_structures(folder / "e" / "f.extxyz", labelled())
        user, free = os.geteuid(), stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO
        folder.chmod(free)
        (folder / "a.extxyz").chmod(0)
        (folder / "c").chmod(0)
        (folder / "e").chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)  # may be listed, not entered
        if user == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            (folder / "c").chmod(free)
            (folder / "e").chmod(free)


def test_files_and_folders_that_may_not_be_read_are_set_aside(locked):
    first, second, third, fourth = scan_structures(locked)
    assert str(first).startswith(f"{locked / 'a.extxyz'}: cannot be read (Permission denied)")
    assert isinstance(second, Atoms)
    assert str(third).startswith(f"{locked / 'c'}: the folder may not be read")
    assert str(fourth).startswith(f"{locked / 'e' / 'f.extxyz'}: cannot be read (Permission denied)")
    with pytest.raises(InputError, match="cannot be read \\(Permission denied\\)"):
        read_structures(locked / "a.extxyz")
    with pytest.raises(InputError, match="the folder may not be read"):
        read_structures(locked / "c")


def test_a_file_beside_born_decides_what_it_gives_and_one_beside_extended_xyz_does_not(tree):
    folder = tree(**{"a/BORN": "born", "a/POSCAR": "bare_structure", "b/x.extxyz": "extxyz", "b/POSCAR": ""})
    assert [path.name for path in files_that_decide(folder / "a" / "BORN")] == ["BORN", "POSCAR"]
    assert [path.name for path in files_that_decide(folder / "b" / "x.extxyz")] == ["x.extxyz"]
