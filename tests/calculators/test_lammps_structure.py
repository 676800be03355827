"""What is read from LAMMPS: elements and axes, and what cannot be."""

import numpy as np
import pytest
from helpers.field_crystals import random_tensors
from helpers.lammps_runs import FIELD, SPECIES, by_id, read_into, shuffled_crystal

from equivar_jax.calculators.lammps import LammpsField
from equivar_jax.calculators.lammps_structure import field_in_lammps_axes
from equivar_jax.errors import InputError


def test_a_field_keeps_its_direction_to_the_crystal_in_lammps_axes():
    atoms = shuffled_crystal(True)
    turned = field_in_lammps_axes(atoms, FIELD)
    lengths = atoms.cell.lengths()
    cosines = atoms.cell.array @ FIELD / lengths
    a = np.array([lengths[0], 0, 0])
    assert turned @ a / lengths[0] == pytest.approx(cosines[0])
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(FIELD))
    of_time = field_in_lammps_axes(atoms, lambda t: t * FIELD)
    np.testing.assert_allclose(of_time(2.0), 2 * turned)


def test_a_left_handed_cell_has_no_lammps_axes():
    atoms = shuffled_crystal()
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    with pytest.raises(InputError, match=r"triple product -149.* give three vectors in right-handed order"):
        field_in_lammps_axes(atoms, FIELD)


def test_elements_may_be_given_by_type(lmp, tmp_path):
    atoms = shuffled_crystal()
    seen = []

    def charges(structure):
        seen.append(structure.get_chemical_symbols())
        return random_tensors(structure)

    LammpsField(read_into(lmp, atoms, tmp_path), charges, FIELD, {2: "O", 1: "Mg"}).command("run 0")
    assert seen == [atoms.get_chemical_symbols()]


@pytest.mark.parametrize(
    ("species", "complaint"),
    [
        (
            ["O", "Mg"],
            "LAMMPS type 1 has a mass of 24.305 u, near that of Mg, and O has 16 u; give the elements",
        ),
        (["Mg"], r"species \['Mg'\]: LAMMPS has 2 atom types; give the element of each, in their order"),
        ({1: "Mg", 3: "O"}, "LAMMPS has 2 atom types"),
        ("MgO", "species 'MgO': give a list"),
        (["Mg", "Oo"], "species of LAMMPS type 2: 'Oo' is no element"),
    ],
)
def test_species_that_do_not_fit_are_refused(lmp, tmp_path, species, complaint):
    read_into(lmp, shuffled_crystal(), tmp_path)
    with pytest.raises(InputError, match=complaint):
        LammpsField(lmp, random_tensors, FIELD, species)


def test_isotopes_need_to_be_said(lmp, tmp_path):
    read_into(lmp, shuffled_crystal(), tmp_path)
    lmp.command("mass 2 18.0")
    with pytest.raises(InputError, match="or check_masses=False for isotopes"):
        LammpsField(lmp, random_tensors, FIELD, SPECIES)
    LammpsField(lmp, random_tensors, FIELD, SPECIES, check_masses=False).command("run 0")
    assert np.abs(by_id(lmp, "f")).max() > 0


def test_a_mass_that_comes_after_the_field_is_compared_at_the_first_step(lmp, tmp_path):
    read_into(lmp, shuffled_crystal(), tmp_path)
    born = LammpsField(lmp, random_tensors, FIELD, SPECIES)
    lmp.command("mass 2 18.0")
    with pytest.raises(InputError, match="LAMMPS type 2 has a mass of 18 u"):
        born.command("run 0")
