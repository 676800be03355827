from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers.quantum_espresso_files import CRYSTAL, EPSILON, RESPONSE, xml_text

from equivar_jax.datasets.demonstration import polarisable_ion
from equivar_jax.errors import InputError
from equivar_jax.io import scan_structures
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.quantum_espresso_xml import read_q_matrix_xml
from equivar_jax.structures import born_effective_charges

EXPECTED = polarisable_ion.born_effective_charges(CRYSTAL)
DIALECTS = pytest.mark.parametrize("attributes", [True, False], ids=["6.0", "6.7"])


def only(tmp_path: Path, text: str) -> Atoms | InputError:
    (tmp_path / "a.dyn1.xml").write_text(text)
    (found,) = scan_structures(tmp_path / "a.dyn1.xml")
    return found


def refusal(tmp_path: Path, text: str) -> str:
    path = tmp_path / "a.dyn1.xml"
    path.write_text(text)
    try:
        (error,) = read_q_matrix_xml(path, ReadOptions())
    except InputError as raised:
        error = raised
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    return str(error)


@DIALECTS
def test_the_first_index_is_the_displacement_and_comes_back_as_the_field(tmp_path, attributes):
    atoms = only(tmp_path, xml_text(attributes=attributes))
    np.testing.assert_allclose(born_effective_charges(atoms), EXPECTED, atol=2e-5)
    assert np.abs(EXPECTED - EXPECTED.transpose(0, 2, 1)).max() > 0.1
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON)
    np.testing.assert_allclose(atoms.cell.array, CRYSTAL.cell.array, atol=1e-12)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-12)
    assert list(atoms.symbols) == list(CRYSTAL.symbols)
    assert atoms.pbc.all()


@DIALECTS
def test_a_file_of_another_q_is_a_structure_without_label(tmp_path, attributes):
    atoms = only(tmp_path, xml_text(None, attributes))
    assert born_effective_charges(atoms) is None
    assert "epsilon_inf" not in atoms.info
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-12)


def memory(text: str, word: str) -> str:
    start = text.index("\n", text.index("<Z_AT_.2")) + 1
    return text[:start] + word + text[start + 22 :]


@pytest.mark.parametrize("word", ["6.884388-309", "NaN", "Infinity", "********"])
def test_memory_in_which_no_charges_were_put_is_refused(tmp_path, word):
    assert "did not calculate" in refusal(tmp_path, memory(xml_text(), word))


@pytest.mark.parametrize("value", [0.0, 6.9e-310])
def test_zeros_are_refused(tmp_path, value):
    some = RESPONSE.copy()
    some[:, 1] = value
    for response in (np.full_like(RESPONSE, value), some):
        assert "did not calculate" in refusal(tmp_path, xml_text(response))


FAULTS = {
    "cut short": (lambda text: text[: text.rindex("</")], "not a complete XML file"),
    "a tensor less": (lambda text: text.replace("Z_AT_.5", "Z_OF_.5"), "4 tensors for 5 atoms"),
    "a tensor twice": (lambda text: text.replace("Z_AT_.5", "Z_AT_.4"), "2 elements Z_AT_.4"),
    "an atom less": (lambda text: text.replace('<ATOM.3 SPECIES="O', '<ATOM.9 SPECIES="O'), "atom 3"),
    "another lattice": (lambda text: text.replace("<AT>\n 9", "<AT>\n 8", 1), "span"),
    "another element": (lambda text: text.replace('SPECIES="O  "', 'SPECIES="Ti "', 1), "type 3 is not"),
    "not a number": (lambda text: text.replace("<EPSILON>\n", "<EPSILON>\n x"), "EPSILON"),
}


@pytest.mark.parametrize(("damage", "found"), FAULTS.values(), ids=FAULTS)
def test_damage_is_named(tmp_path, damage, found):
    text = xml_text()
    changed = damage(text)
    assert changed != text
    assert found in refusal(tmp_path, changed)


@DIALECTS
def test_no_missing_line_gives_a_wrong_label(tmp_path, attributes):
    lines = xml_text(attributes=attributes).splitlines(keepends=True)
    path = tmp_path / "a.dyn1.xml"
    for missing in range(len(lines)):
        path.write_text("".join(lines[:missing] + lines[missing + 1 :]))
        try:
            (found,) = read_q_matrix_xml(path, ReadOptions())
        except InputError:
            continue
        if isinstance(found, Atoms) and born_effective_charges(found) is not None:
            np.testing.assert_allclose(born_effective_charges(found), EXPECTED, atol=2e-5)
            np.testing.assert_allclose(found.positions, CRYSTAL.positions, atol=1e-12)
