import gzip
import lzma
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal
from helpers.dipole import crystal_and_tensors
from helpers.examples import examples
from helpers.phonopy_files import phonopy_file
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from phonopy import Phonopy
from phonopy.file_IO import parse_BORN
from phonopy.structure.atoms import PhonopyAtoms

from equivar_jax.datasets.demonstration.polarisable_ion import Ion, cell_dipole
from equivar_jax.errors import InputError
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.phonopy_born import read_born, recognises_born
from equivar_jax.structures import born_effective_charges

SILICA = {"Si": Ion(3.5, 0.05, 0.5), "O": Ion(-1.75, 1.3, 0.82)}
EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])
UNIAXIAL = np.diag([2.4, 2.4, 2.43])
DIGITS = 1e-8  # as printed


def derivative_of_the_dipole(atoms: Atoms) -> np.ndarray:
    """Tensors [atom, field, displacement] by five-point finite differences of the cell dipole."""
    tensors = np.zeros((len(atoms), 3, 3))
    for index, direction in np.ndindex(len(atoms), 3):
        slopes = []
        for step in (2e-3, 4e-3):
            ends = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.positions[index, direction] += sign * step
                ends.append(cell_dipole(moved, SILICA))
            slopes.append((ends[0] - ends[1]) / (2 * step))
        tensors[index, :, direction] = (4 * slopes[0] - slopes[1]) / 3
    return tensors


@pytest.fixture
def triclinic():
    """Five atoms without any symmetry, and their tensors by finite differences of the cell dipole."""
    return crystal_and_tensors()


@pytest.fixture(scope="module")
def quartz():
    """Nine atoms of which atom 0 and atom 3 are inequivalent, and their tensors."""
    atoms = crystal(
        ["Si", "O"],
        [(0.4697, 0, 1 / 3), (0.4135, 0.2669, 0.7857)],
        spacegroup=152,
        cellpar=[4.916, 4.916, 5.4054, 90, 90, 120],
    )
    atoms = Atoms(atoms.numbers, cell=atoms.cell, scaled_positions=atoms.get_scaled_positions(), pbc=True)
    return atoms, derivative_of_the_dipole(atoms)


def born_text(tensors: np.ndarray, epsilon: np.ndarray = EPSILON, first: str = "# epsilon and Z*") -> str:
    rows = [" ".join(f"{value:.8f}" for value in tensor.ravel()) for tensor in (epsilon, *tensors)]
    return "\n".join([first, *rows]) + "\n"


def born_file(folder: Path, atoms: Atoms, text: str, structure: str = "POSCAR") -> Path:
    ase.io.write(folder / structure, atoms, format="vasp", direct=True)
    path = folder / "BORN"
    path.write_text(text)
    return path


def only(path: Path, options: ReadOptions | None = None) -> Atoms:
    (atoms,) = read_born(path, options or ReadOptions())
    assert isinstance(atoms, Atoms)
    return atoms


def label(atoms: Atoms) -> np.ndarray:
    tensors = born_effective_charges(atoms)
    assert tensors is not None
    return tensors


def refusal(path: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(InputError) as caught:
        only(path, options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path.parent) in message
    return message


def test_without_symmetry_every_atom_has_a_line_and_the_first_index_is_the_field(tmp_path, triclinic):
    atoms, tensors = triclinic
    read = only(born_file(tmp_path, atoms, born_text(tensors)))
    np.testing.assert_allclose(label(read), tensors, atol=DIGITS)
    assert np.abs(label(read) - tensors.transpose(0, 2, 1)).max() > 0.1
    np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=1e-9)
    np.testing.assert_allclose(read.positions, atoms.positions, atol=1e-9)
    assert read.symbols.get_chemical_formula() == "O3PbTi"
    assert read.pbc.all()
    assert read.info["source"] == f"{tmp_path / 'BORN'}, frame 0"
    np.testing.assert_allclose(read.info["epsilon_inf"], EPSILON)


def test_a_file_of_abipy_has_the_displacement_first(tmp_path, triclinic, quartz):
    atoms, tensors = triclinic
    path = born_file(tmp_path, atoms, born_text(tensors.transpose(0, 2, 1)))
    np.testing.assert_allclose(
        label(only(path, ReadOptions(first_index="displacement"))), tensors, atol=DIGITS
    )
    # Also where the tensors are rotated to those of other atoms.
    atoms, tensors = quartz
    path = born_file(tmp_path, atoms, born_text(tensors[[0, 3]].transpose(0, 2, 1), UNIAXIAL))
    np.testing.assert_allclose(label(only(path, ReadOptions(first_index="displacement"))), tensors, atol=1e-7)
    np.testing.assert_allclose(label(only(path)), tensors.transpose(0, 2, 1), atol=1e-7)


@pytest.mark.parametrize("name", ["phono3py_disp.yaml", "phono3py_params.yaml", "phono3py.yaml"])
def test_the_structure_of_phono3py(tmp_path, triclinic, name):
    atoms, tensors = triclinic
    text = phonopy_file(tmp_path / name, atoms, None).read_text()
    (tmp_path / name).write_text(text.replace("phonopy:", "phono3py:", 1))
    (tmp_path / "BORN").write_text(born_text(tensors))
    np.testing.assert_allclose(label(only(tmp_path / "BORN")), tensors, atol=DIGITS)


def test_inequivalent_atoms_of_quartz_expand_to_the_tensor_of_every_atom(tmp_path, quartz):
    atoms, tensors = quartz
    assert np.abs(tensors - tensors.transpose(0, 2, 1)).max() > 0.05
    read = only(born_file(tmp_path, atoms, born_text(tensors[[0, 3]], UNIAXIAL)))
    # Finite differences break the symmetry by less than 1e-7 e.
    np.testing.assert_allclose(label(read), tensors, atol=1e-7)
    np.testing.assert_allclose(read.positions, atoms.positions, atol=1e-9)


def test_the_field_index_is_the_one_that_phonopy_contracts_with_the_wave_vector(tmp_path, triclinic):
    atoms, tensors = triclinic
    read = only(born_file(tmp_path, atoms, born_text(tensors)))
    phonon = Phonopy(
        PhonopyAtoms(
            numbers=read.numbers, cell=read.cell.array, scaled_positions=read.get_scaled_positions()
        ),
        np.eye(3, dtype=int),
        primitive_matrix="P",
    )
    phonon.force_constants = np.zeros((5, 5, 3, 3))
    nac = parse_BORN(phonon.primitive, filename=tmp_path / "BORN")
    phonon.nac_params = {**nac, "factor": 14.4, "method": "wang"}
    direction = np.array([0.3, -0.5, 0.8])
    phonon.run_qpoints([[0, 0, 0]], nac_q_direction=direction, with_dynamical_matrices=True)
    matrix = phonon.qpoints.dynamical_matrices[0]
    wave = np.linalg.inv(read.cell.array) @ direction
    charges = np.einsum("a,iab->ib", wave, label(read)) / np.sqrt(phonon.primitive.masses)[:, None]
    expected = 4 * np.pi * 14.4 / read.get_volume() / (wave @ EPSILON @ wave)
    np.testing.assert_allclose(matrix, expected * np.outer(charges, charges), atol=1e-6)


def test_a_conventional_cell_gives_its_primitive_cell_unless_phonopy_says_otherwise(tmp_path, triclinic):
    small, tensors = triclinic
    double = small.repeat((1, 1, 2))
    path = born_file(tmp_path, double, born_text(tensors))
    read = only(path)
    assert len(read) == 5
    np.testing.assert_allclose(label(read), tensors, atol=DIGITS)
    cell = PhonopyAtoms(
        symbols=double.symbols, cell=double.cell.array, scaled_positions=double.get_scaled_positions()
    )
    Phonopy(cell, np.eye(3, dtype=int), primitive_matrix="P").save(tmp_path / "phonopy_disp.yaml")
    read = only(path)
    np.testing.assert_allclose(label(read), np.concatenate([tensors, tensors]), atol=DIGITS)
    distances = read.get_scaled_positions() - double.get_scaled_positions()
    np.testing.assert_allclose(distances, np.round(distances), atol=1e-9)


def test_a_left_handed_cell_is_read_as_it_stands(tmp_path, triclinic):
    """phonopy finds no primitive cell of it."""
    atoms, tensors = triclinic
    atoms.set_cell(atoms.cell.array[[0, 2, 1]])
    assert np.linalg.det(atoms.cell.array) < 0
    read = only(born_file(tmp_path, atoms, born_text(tensors)))
    np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=1e-9)
    np.testing.assert_allclose(label(read), tensors, atol=DIGITS)


@pytest.mark.parametrize("first", ["14.4", "14.399652 0.5 0.2", "default", "# 1 2 3"])
def test_the_first_line_scales_nothing(tmp_path, triclinic, first):
    atoms, tensors = triclinic
    read = only(born_file(tmp_path, atoms, born_text(tensors, first=first)))
    np.testing.assert_allclose(label(read), tensors, atol=DIGITS)


@pytest.mark.parametrize(("name", "opener"), [("BORN.gz", gzip.open), ("BORN.xz", lzma.open)])
def test_compressed(tmp_path, triclinic, name, opener):
    atoms, tensors = triclinic
    text = born_file(tmp_path, atoms, born_text(tensors)).read_text()
    with opener(tmp_path / name, "wt") as handle:
        handle.write(text)
    np.testing.assert_allclose(label(only(tmp_path / name)), tensors, atol=DIGITS)


def test_the_unit_cell_of_a_calculator_that_counts_in_bohr(tmp_path, triclinic):
    atoms, tensors = triclinic
    ase.io.write(
        tmp_path / "unitcell.in",
        atoms,
        format="espresso-in",
        pseudopotentials={symbol: f"{symbol}.upf" for symbol in ("Pb", "Ti", "O")},
        crystal_coordinates=True,
    )
    (tmp_path / "BORN").write_text(born_text(tensors))
    read = only(tmp_path / "BORN")
    np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=1e-6)
    np.testing.assert_allclose(read.positions, atoms.positions, atol=1e-6)
    np.testing.assert_allclose(label(read), tensors, atol=DIGITS)


def test_without_a_structure_the_files_looked_for_are_named(tmp_path, triclinic):
    path = tmp_path / "BORN"
    path.write_text(born_text(triclinic[1]))
    message = refusal(path)
    for name in ("phonopy_disp.yaml", "phonopy_params.yaml", "phonopy.yaml", "POSCAR", "unitcell.in"):
        assert name in message


def test_tensors_of_another_orientation_are_refused_with_the_number(tmp_path, quartz):
    atoms, tensors = quartz
    other = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])
    turned = other @ tensors @ other.T
    message = refusal(born_file(tmp_path, atoms, born_text(turned[[0, 3]], other @ UNIAXIAL @ other.T)))
    assert "break the symmetry" in message
    assert "POSCAR" in message


def test_a_structure_that_does_not_fit_or_cannot_be_read_is_named(tmp_path, quartz, triclinic):
    path = born_file(tmp_path, quartz[0], born_text(triclinic[1]))
    assert "Too many atoms" in refusal(path)
    path.write_text(born_text(quartz[1][[0]], UNIAXIAL))
    assert "not enough" in refusal(path)
    (tmp_path / "POSCAR").write_text("no structure\n")
    assert "POSCAR" in refusal(path)
    (tmp_path / "phonopy_disp.yaml").write_text("unit_cell: [\n")
    assert "phonopy_disp.yaml" in refusal(path)


def test_a_key_is_refused(tmp_path, triclinic):
    path = born_file(tmp_path, triclinic[0], born_text(triclinic[1]))
    assert "'becs'" in refusal(path, ReadOptions(key="becs"))


FAULTS = {
    "empty": (lambda _: "", "empty"),
    "one line": (lambda text: text.splitlines()[0] + "\n", "line 2"),
    "blank first line": (lambda text: "\n" + text, "line 1"),
    "eight numbers": (lambda text: text.rsplit(" ", 1)[0] + "\n", "incorrect"),
    "word for a number": (lambda text: text.replace("5.10000000", "5,1"), "5,1"),
    "nan tensor": (lambda text: text.rsplit(" ", 1)[0] + " nan\n", "not finite"),
    "nan dielectric": (lambda text: text.replace("5.10000000", "nan"), "dielectric"),
    "no text": (lambda _: "\0\0\1", "BORN"),
}


@pytest.mark.parametrize(("damage", "found"), FAULTS.values(), ids=FAULTS.keys())
def test_damage_is_one_line_with_file_and_cause(tmp_path, triclinic, damage, found):
    atoms, tensors = triclinic
    assert found in refusal(born_file(tmp_path, atoms, damage(born_text(tensors))))


@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_bytes_are_read_or_refused(tmp_path, quartz, data):
    atoms, tensors = quartz
    content = bytearray(born_text(tensors[[0, 3]], UNIAXIAL).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()):
            content[place] = data.draw(st.sampled_from(b" \n0123456789.-eEn#\xff"))
        else:
            del content[place : place + data.draw(st.integers(1, 40))]
        if not content:
            return
    path = born_file(tmp_path, atoms, "")
    path.write_bytes(content)
    try:
        read = only(path)
    except InputError:
        refusal(path)
        return
    assert label(read).shape == (9, 3, 3)
    assert np.isfinite(label(read)).all()


def test_recognised_by_name_or_content(triclinic):
    text = born_text(triclinic[1]).encode()
    assert recognises_born(Path("BORN"), b"damaged")
    assert recognises_born(Path("folder/BORN_quartz.gz"), b"damaged")
    assert recognises_born(Path("tensors.txt"), text)
    assert not recognises_born(Path("BORN.extxyz"), b"2\nProperties=species:S:1:pos:R:3\nO 0 0 0\n")
    assert not recognises_born(Path("matrix.txt"), text.split(b"\n", 1)[1])
    assert not recognises_born(Path("empty"), b"")
