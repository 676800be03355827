import lzma
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers.dipole import crystal_and_tensors
from helpers.phonopy_files import EPSILON, phonopy_file
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from equivar_jax.errors import InputError
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.phonopy_yaml import read_phonopy_yaml, recognises_phonopy_yaml
from equivar_jax.structures import born_effective_charges


def only(path: Path, options: ReadOptions | None = None) -> Atoms:
    (atoms,) = read_phonopy_yaml(path, options or ReadOptions())
    assert isinstance(atoms, Atoms)
    return atoms


def refusal(path: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(InputError) as caught:
        only(path, options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("calculator", ["vasp", "qe"])
def test_tensors_of_every_atom_with_the_field_first(tmp_path, calculator):
    atoms, tensors = crystal_and_tensors()
    path = phonopy_file(tmp_path / "phonopy_params.yaml", atoms, tensors, calculator=calculator)
    read = only(path)
    np.testing.assert_allclose(born_effective_charges(read), tensors, atol=1e-14)
    np.testing.assert_allclose(read.info["epsilon_inf"], EPSILON)
    np.testing.assert_allclose(read.cell.array, atoms.cell.array, atol=1e-12)
    shift = read.get_scaled_positions() - atoms.get_scaled_positions()
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-12)
    assert list(read.symbols) == list(atoms.symbols)
    assert read.info["source"] == f"{path}, frame 0"


def test_tensors_belong_to_the_primitive_cell_of_the_file(tmp_path):
    atoms, tensors = crystal_and_tensors()
    double = atoms.repeat((1, 1, 2))
    path = phonopy_file(tmp_path / "phonopy.yaml", double, tensors, np.diag([1.0, 1.0, 0.5]))
    read = only(path)
    assert len(read) == 5
    np.testing.assert_allclose(born_effective_charges(read), tensors, atol=1e-14)
    np.testing.assert_allclose(read.get_volume(), atoms.get_volume())


def test_without_tensors_a_structure_without_label(tmp_path):
    atoms, _ = crystal_and_tensors()
    read = only(phonopy_file(tmp_path / "phonopy_disp.yaml", atoms, None))
    assert born_effective_charges(read) is None
    assert "epsilon_inf" not in read.info
    np.testing.assert_allclose(read.positions, atoms.get_positions(wrap=True), atol=1e-12)


def test_a_file_whose_tensors_are_transposed(tmp_path):
    atoms, tensors = crystal_and_tensors()
    path = phonopy_file(tmp_path / "phonopy_params.yaml", atoms, tensors.transpose(0, 2, 1))
    read = only(path, ReadOptions(first_index="displacement"))
    np.testing.assert_allclose(born_effective_charges(read), tensors, atol=1e-14)
    assert np.abs(born_effective_charges(only(path, ReadOptions(first_index="field"))) - tensors).max() > 0.1


def test_masses_of_isotopes_stay_with_the_structure(tmp_path):
    """Also those close to the mass of the element: 16O has 15.9949 u, oxygen 15.999."""
    path = phonopy_file(tmp_path / "phonopy.yaml", crystal_and_tensors()[0], None)
    assert not only(path).has("masses")
    path.write_text(path.read_text().replace("mass: 15.999400", "mass: 15.994915"))
    assert only(path).get_masses().tolist() == [207.2, 47.867, *[15.994915] * 3]


def test_magnetic_moments_stay_with_the_structure(tmp_path):
    cell = PhonopyAtoms(
        symbols=["Ni", "Ni", "O", "O"],
        cell=np.diag([3.0, 3.0, 8.4]),
        scaled_positions=[[0, 0, 0], [0, 0, 0.5], [0, 0, 0.25], [0, 0, 0.75]],
        magnetic_moments=[2.0, -1.0, 0.0, 0.0],
    )
    Phonopy(cell, np.eye(3, dtype=int), primitive_matrix="P").save(tmp_path / "phonopy_disp.yaml")
    read = only(tmp_path / "phonopy_disp.yaml")
    np.testing.assert_allclose(read.get_initial_magnetic_moments(), [2.0, -1.0, 0.0, 0.0])


def test_compressed(tmp_path):
    atoms, tensors = crystal_and_tensors()
    text = phonopy_file(tmp_path / "phonopy_params.yaml", atoms, tensors).read_text()
    path = tmp_path / "phonopy_params.yaml.xz"
    with lzma.open(path, "wt") as handle:
        handle.write(text)
    np.testing.assert_allclose(born_effective_charges(only(path)), tensors, atol=1e-14)


def test_recognised_by_suffix_and_content(tmp_path):
    head = phonopy_file(tmp_path / "phonopy_disp.yaml", crystal_and_tensors()[0], None).read_bytes()[:8192]
    assert recognises_phonopy_yaml(Path("phonopy_disp.yaml"), head)
    assert recognises_phonopy_yaml(Path("any.yaml.xz"), head)
    assert recognises_phonopy_yaml(Path("phono3py_disp.yaml"), b"phono3py:\n  version: 4.10.0\n")
    assert not recognises_phonopy_yaml(Path("phonopy_disp.json"), head)
    assert not recognises_phonopy_yaml(Path("settings.yaml"), b"model:\n  cutoff: 3.0\n")


def test_a_file_runs_no_code(tmp_path):
    mark = tmp_path / "mark"
    path = tmp_path / "phonopy.yaml"
    path.write_text(f"unit_cell: !!python/object/apply:os.mkdir ['{mark}']\n")
    assert "os.mkdir" in refusal(path)
    assert not mark.exists()


def without(text: str, line: str, count: int) -> str:
    """The text without `count` lines from `line` on."""
    lines = text.splitlines()
    start = lines.index(line)
    return "\n".join(lines[:start] + lines[start + count :]) + "\n"


LATTICE = "  - [     3.950123015335748,     0.029874553750847,    -0.027413785536222 ] # a"
FAULTS = {
    "no mapping": (lambda text: text[: text.index("  version")], "cannot read"),
    "words": (lambda _: "It was a bright cold day", "bright cold day"),
    "no text": (lambda _: "\0\1", "cannot read"),
    "no unit cell": (lambda text: text.replace("unit_cell:", "other_cell:"), "no unit_cell"),
    "one tensor less": (lambda text: without(text, "  - # 5 (O)", 4), "(4, 3, 3)"),
    "one row less": (lambda text: without(text, "  - # 5 (O)", 2), "cannot read"),
    "no dielectric tensor": (
        lambda text: text.replace("  dielectric_constant:", "  other_tensor:"),
        "without dielectric_constant",
    ),
    "separator of digits": (lambda text: text.replace("5.100000", "5.1_0000"), "no row of numbers"),
    "minutes": (lambda text: text.replace("5.100000", "5:10.000"), "no row of numbers"),
    "nan": (lambda text: text.replace("5.100000000000000", ".nan"), "dielectric tensor"),
    "word": (lambda text: text.replace("5.100000000000000", "five"), "cannot read"),
    "cut short": (lambda text: text[: text.index("dielectric_constant") - 60], "cannot read"),
    "another unit": (lambda text: text.replace('length: "angstrom"', 'length: "au"'), "conflicts"),
    "unit cell of two vectors": (lambda text: without(text.split("unit_cell")[1], LATTICE, 1), "cannot read"),
}


@pytest.mark.parametrize(("damage", "found"), FAULTS.values(), ids=FAULTS.keys())
def test_damage_is_one_line_with_file_and_cause(tmp_path, damage, found):
    path = phonopy_file(tmp_path / "phonopy_params.yaml", *crystal_and_tensors())
    path.write_text(damage(path.read_text()))
    assert found in refusal(path)


def test_damage_to_forces_costs_nothing(tmp_path):
    atoms, tensors = crystal_and_tensors()
    path = phonopy_file(tmp_path / "phonopy_params.yaml", atoms, tensors)
    text = path.read_text()
    start = text.index("displacements:")
    path.write_text(text[:start] + "displacements: none\n")
    np.testing.assert_allclose(born_effective_charges(only(path)), tensors, atol=1e-14)


def test_a_key_is_refused(tmp_path):
    path = phonopy_file(tmp_path / "phonopy_params.yaml", *crystal_and_tensors())
    assert "'becs'" in refusal(path, ReadOptions(key="becs"))
