import os
from pathlib import Path

import ase.io
import numpy as np
import phonopy
import pytest
from ase import Atoms
from ase.spacegroup import crystal
from helpers.dipole import crystal_and_tensors
from phonopy import Phonopy
from phonopy.file_IO import parse_BORN
from phonopy.structure.atoms import PhonopyAtoms

from equivar_jax.datasets.demonstration import polarisable_ion
from equivar_jax.datasets.demonstration.polarisable_ion import Ion
from equivar_jax.errors import InputError
from equivar_jax.io import read_structures
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.phonopy_born import read_born
from equivar_jax.io.phonopy_born_writer import write_born
from equivar_jax.structures import born_effective_charges, with_born_effective_charges

EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])
UNIAXIAL = np.diag([2.4, 2.4, 2.43])
SILICA = {"Si": Ion(3.5, 0.05, 0.5), "O": Ion(-1.75, 1.3, 0.82)}
DIGITS = 6e-9  # half of the last of eight decimals, and rounding


@pytest.fixture
def triclinic():
    """Five atoms without symmetry; tensors by finite differences, which sum to zero within 1e-6 e."""
    atoms, tensors = crystal_and_tensors()
    atoms.info["epsilon_inf"] = EPSILON
    return with_born_effective_charges(atoms, tensors - tensors.mean(axis=0))


@pytest.fixture
def quartz():
    """Nine atoms, two of them inequivalent."""
    atoms = crystal(
        ["Si", "O"],
        [(0.4697, 0, 1 / 3), (0.4135, 0.2669, 0.7857)],
        spacegroup=152,
        cellpar=[4.916, 4.916, 5.4054, 90, 90, 120],
    )
    atoms.info = {"epsilon_inf": UNIAXIAL.tolist()}
    return with_born_effective_charges(atoms, polarisable_ion.born_effective_charges(atoms, SILICA))


def label(atoms: Atoms) -> np.ndarray:
    tensors = born_effective_charges(atoms)
    assert tensors is not None
    return tensors


def read_back(folder: Path, atoms: Atoms) -> Atoms:
    """The tensors of BORN for this structure."""
    ase.io.write(folder / "POSCAR", atoms, format="vasp", direct=True)
    (found,) = read_born(folder / "BORN", ReadOptions())
    assert isinstance(found, Atoms)
    return found


def numbers(path: Path) -> list[str]:
    return path.read_text().splitlines()[1:]


def refusal(path: Path, *args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        write_born(path, *args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    assert not path.exists()
    assert not list(path.parent.glob("*.part"))
    return message


def test_written_and_read_again_a_crystal_without_symmetry_is_the_same(tmp_path, triclinic):
    write_born(tmp_path / "BORN", [triclinic])
    read = read_back(tmp_path, triclinic)
    np.testing.assert_allclose(label(read), label(triclinic), rtol=0, atol=DIGITS)
    np.testing.assert_allclose(read.info["epsilon_inf"], EPSILON, rtol=0, atol=DIGITS)
    first = numbers(tmp_path / "BORN")[1].split()
    assert first[1] == f"{label(triclinic)[0, 0, 1]:.8f}"  # xy: field x, displacement y
    assert first[3] == f"{label(triclinic)[0, 1, 0]:.8f}"


def test_only_inequivalent_atoms_are_written_and_all_come_back(tmp_path, quartz):
    assert np.abs(label(quartz) - label(quartz).transpose(0, 2, 1)).max() > 0.05
    write_born(tmp_path / "BORN", [quartz])
    assert len(numbers(tmp_path / "BORN")) == 3
    np.testing.assert_allclose(label(read_back(tmp_path, quartz)), label(quartz), rtol=0, atol=2 * DIGITS)


def test_the_choice_of_the_cell_changes_nothing(tmp_path, triclinic):
    write_born(tmp_path / "BORN", [triclinic])
    primitive = numbers(tmp_path / "BORN")
    centred = triclinic.copy()
    second = triclinic.copy()
    second.positions += triclinic.cell.array.sum(axis=0)
    centred = centred + second
    centred.set_cell(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) @ triclinic.cell.array, scale_atoms=False)
    assert centred.get_volume() == pytest.approx(2 * triclinic.get_volume())
    tensors = np.concatenate([label(triclinic), label(triclinic)])
    write_born(tmp_path / "BORN", [with_born_effective_charges(centred, tensors)], EPSILON)
    assert numbers(tmp_path / "BORN") == primitive
    read = read_back(tmp_path, centred)
    assert len(read) == 5
    np.testing.assert_allclose(label(read), label(triclinic), rtol=0, atol=DIGITS)


def test_a_supercell_of_less_symmetry_has_the_inequivalent_atoms_of_its_crystal(tmp_path, quartz):
    """2x1x1 of quartz has lost the threefold axis, and phonopy finds the primitive cell that has it."""
    double = quartz.repeat((2, 1, 1))
    double.info = dict(quartz.info)
    write_born(tmp_path / "BORN", [with_born_effective_charges(double, np.tile(label(quartz), (2, 1, 1)))])
    assert len(numbers(tmp_path / "BORN")) == 3
    found = label(read_back(tmp_path, double))
    order = [int(np.abs(label(quartz) - tensor).sum(axis=(1, 2)).argmin()) for tensor in found]
    assert sorted(order) == list(range(9))
    np.testing.assert_allclose(found, label(quartz)[order], rtol=0, atol=2 * DIGITS)


def test_the_dielectric_tensor_of_the_argument_goes_first(tmp_path, triclinic):
    write_born(tmp_path / "BORN", [triclinic], 2 * EPSILON)
    assert float(numbers(tmp_path / "BORN")[0].split()[0]) == 10.2
    triclinic.info["epsilon_inf"] = EPSILON.ravel()
    write_born(tmp_path / "BORN", [triclinic])
    assert float(numbers(tmp_path / "BORN")[0].split()[1]) == 0.2


def test_without_a_usable_dielectric_tensor_it_is_asked_for(tmp_path, triclinic):
    path = tmp_path / "BORN"
    assert "not positive" in refusal(path, [triclinic], -EPSILON)
    for value in (5.1, [[1, 2], [3, 4]], "words", EPSILON * np.nan):
        triclinic.info["epsilon_inf"] = value
        assert "dielectric tensor" in refusal(path, [triclinic])
    del triclinic.info["epsilon_inf"]
    assert "give epsilon_inf" in refusal(path, [triclinic])


def test_tensors_that_break_symmetry_or_sum_rule_are_refused_with_the_number(tmp_path, quartz, triclinic):
    tensors = label(quartz).copy()
    tensors[0, 0, 1] += 0.3  # forbidden by the twofold axis along x
    tensors[1:, 0, 1] -= 0.3 / 8
    assert "up to 0.300 e" in refusal(tmp_path / "BORN", [with_born_effective_charges(quartz, tensors)])
    shifted = with_born_effective_charges(triclinic, label(triclinic) + 0.05 * np.eye(3))
    assert "up to 0.050 e" in refusal(tmp_path / "BORN", [shifted])
    write_born(tmp_path / "BORN", [shifted], tolerance=0.06)
    np.testing.assert_allclose(label(read_back(tmp_path, triclinic)), label(triclinic), rtol=0, atol=DIGITS)


def test_tensors_of_another_orientation_are_refused(tmp_path, quartz):
    turned = quartz.copy()
    turned.rotate(40, "x", rotate_cell=True)
    message = refusal(tmp_path / "BORN", [with_born_effective_charges(turned, label(quartz))], UNIAXIAL)
    assert "symmetry" in message


def test_one_labelled_crystal_is_wanted(tmp_path, triclinic):
    path = tmp_path / "BORN"
    assert "not 2" in refusal(path, [triclinic, triclinic])
    assert "not 0" in refusal(path, [])
    unlabelled = triclinic.copy()
    unlabelled.calc = None
    assert "no Born effective charges" in refusal(path, [unlabelled])
    triclinic.pbc = [True, True, False]
    slab = with_born_effective_charges(triclinic, label(triclinic))
    assert "not periodic" in refusal(path, [slab])
    triclinic.pbc = True
    assert "no folder" in refusal(tmp_path / "no folder" / "BORN", [triclinic])


def test_an_old_file_outlives_a_refusal(tmp_path, triclinic):
    path = tmp_path / "BORN"
    write_born(path, [triclinic])
    before = path.read_bytes()
    with pytest.raises(InputError):
        write_born(path, [triclinic, triclinic])
    assert path.read_bytes() == before


@pytest.mark.skipif("EQUIVAR_DATA" not in os.environ, reason="EQUIVAR_DATA is not set")
def test_real_crystals_come_back(tmp_path):
    chosen = read_structures(Path(os.environ["EQUIVAR_DATA"], "phonon-dfpt.extxyz.gz"))[::60]
    same_cell = 0
    for atoms in chosen:
        write_born(tmp_path / "BORN", [atoms])
        read = read_back(tmp_path, atoms)
        if len(read) == len(atoms):
            same_cell += 1
            np.testing.assert_allclose(label(read), label(atoms), rtol=0, atol=2e-8)
    assert same_cell > len(chosen) / 2


def test_a_charged_cell_says_what_neutrality_takes_off(tmp_path, triclinic):
    atoms = with_born_effective_charges(triclinic, label(triclinic) + 0.2 * np.eye(3))
    atoms.info["charge"] = 1.0
    message = refusal(tmp_path / "BORN", [atoms])
    assert "the cell has the charge 1 e, and neutrality takes 0.200 e off every atom" in message


def test_deuterium_in_the_poscar_beside_is_hydrogen_with_its_mass(tmp_path, triclinic):
    numbers = triclinic.numbers.copy()
    numbers[0] = 1
    atoms = triclinic.copy()
    atoms.numbers = numbers
    atoms = with_born_effective_charges(atoms, label(triclinic))
    write_born(tmp_path / "BORN", [atoms])
    poscar = tmp_path / "POSCAR"
    ase.io.write(poscar, atoms, direct=True)
    lines = poscar.read_text().splitlines()
    lines[5] = lines[5].replace("H", "D")
    poscar.write_text("\n".join(lines) + "\n")
    (found,) = read_structures(tmp_path / "BORN")
    assert found.get_masses()[found.numbers == 1] == pytest.approx([2.014], abs=1e-3)
    assert label(found)[found.numbers == 1] == pytest.approx(label(atoms)[atoms.numbers == 1], abs=1e-6)


@pytest.fixture
def magnetic(tmp_path) -> tuple[Path, np.ndarray]:
    """A phonopy file of rock salt whose moments make four atoms inequivalent, and its tensors."""
    places = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    cell = PhonopyAtoms(
        symbols=["Ni"] * 4 + ["O"] * 4,
        cell=np.diag([4.17] * 3),
        scaled_positions=[*places, *np.add(places, (0.5, 0.5, 0.5)) % 1.0],
        magnetic_moments=[2.0, 1.0, -1.0, -2.0, 0, 0, 0, 0],
    )
    phonon = Phonopy(cell, np.eye(3, dtype=int), primitive_matrix="P")
    phonon.save(tmp_path / "phonopy_disp.yaml")
    charges = np.array([2.1, 2.3, 2.3, 2.1, -2.2, -2.2, -2.2, -2.2])
    return tmp_path / "phonopy_disp.yaml", charges[:, None, None] * np.eye(3)


def test_phonopy_takes_back_the_born_of_a_magnetic_crystal(tmp_path, magnetic):
    path, tensors = magnetic
    (atoms,) = read_structures(path)
    atoms.info["epsilon_inf"] = 5.0 * np.eye(3)
    write_born(tmp_path / "BORN", [with_born_effective_charges(atoms, tensors)])
    assert len((tmp_path / "BORN").read_text().splitlines()) > 2 + 2  # more than one Ni and one O
    theirs = parse_BORN(phonopy.load(path, is_nac=False, log_level=0).primitive, filename=tmp_path / "BORN")
    np.testing.assert_allclose(theirs["born"], tensors, atol=DIGITS)
    (again,) = read_structures(tmp_path / "BORN")
    np.testing.assert_allclose(label(again), tensors, atol=DIGITS)
    # Without moments the two kinds of Ni are one, and the tensors do not fit.
    atoms.set_initial_magnetic_moments(np.zeros(8))
    with pytest.raises(InputError, match="symmetry"):
        write_born(tmp_path / "BORN", [with_born_effective_charges(atoms, tensors)])
