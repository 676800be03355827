"""Masses of isotopes that the files of Quantum ESPRESSO state, and labels of deuterium."""

import pytest
from helpers.quantum_espresso_files import constants_text, matrix_text, ph_text, xml_text

from equivar_jax.io import read_structures
from equivar_jax.io.isotopes import HYDROGEN

UNIT = 911.4442421
"""Of mass in dynamical matrices, u in units of two electron masses."""
FILES = {
    "a.ph.out": (ph_text(), "Ti    47.8670", "Ti    {:.4f}", 1.0),
    "a.dyn": (matrix_text(), "'Ti    '    25598.3667", "'Ti    '    {:.8f}", UNIT),
    "a.fc": (constants_text(), "'Ti '    25598.366692512345", "'Ti '    {:.8f}", UNIT),
    "a.dyn.xml": (xml_text(), "<MASS.2>\n 4.790000000000000E+01", "<MASS.2>\n {:.15E}", 1.0),
}
EACH = pytest.mark.parametrize("name", FILES)


def masses(tmp_path, name: str, text: str) -> list[float] | None:
    """The masses of a file, if it has others than those of the elements."""
    (tmp_path / name).write_text(text)
    (atoms,) = read_structures(tmp_path / name)
    return atoms.get_masses().tolist() if atoms.has("masses") else None


@EACH
@pytest.mark.parametrize("mass", [45.953, 49.945])
def test_the_mass_of_an_isotope_stays_with_the_structure(tmp_path, name, mass):
    text, old, new, unit = FILES[name]
    assert old in text
    found = masses(tmp_path, name, text.replace(old, new.format(mass * unit)))
    assert found == pytest.approx([207.2, mass, 15.999, 15.999, 15.999], rel=1e-6)


@EACH
@pytest.mark.parametrize("mass", [1.0, 47.867])
def test_a_mass_of_the_element_or_of_none_of_its_isotopes_is_left(tmp_path, name, mass):
    text, old, new, unit = FILES[name]
    found = masses(tmp_path, name, text.replace(old, new.format(mass * unit)))
    assert found is None or found[1] == 47.867


@EACH
@pytest.mark.parametrize("label", ["D", "T", "D1"])
def test_labels_of_deuterium_and_tritium_are_hydrogen(tmp_path, name, label):
    """Its mass is known by the label, where that which is stated is none of hydrogen."""
    text = FILES[name][0].replace("'Pb", f"'{label:<2s}").replace(" Pb ", f" {label:<2s} ")
    text = text.replace('"Pb ', f'"{label:<3s}').replace("\nPb ", f"\n{label:<3s}")
    found = masses(tmp_path, name, text)
    assert found is not None
    assert found[0] == HYDROGEN[label[0]]
