"""Names and lists of structures."""

from pathlib import Path

import pytest
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.structures import element_order, list_structures, reduced_formula


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("O6Li2Nb2", "LiNbO3"),
        ("O2Si", "SiO2"),
        ("S6Sb4", "Sb2S3"),
        ("O3KNb", "KNbO3"),
        ("NGa", "GaN"),
        ("Cu", "Cu"),
    ],
)
def test_formulas_are_reduced_and_in_the_order_of_chemists(formula, expected):
    atoms = Atoms(formula)
    assert reduced_formula(atoms) == expected
    assert set(element_order(atoms)) == set(atoms.symbols)


def test_structures_may_come_as_any_iterable():
    atoms, other = Atoms("MgO"), Atoms("ZnO")
    for given in ([atoms, other], (atoms, other), iter([atoms, other]), (one for one in (atoms, other))):
        assert list_structures(given) == [atoms, other]
    assert list_structures(atoms) == [atoms]
    assert list_structures([]) == []


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("POSCAR", "'POSCAR', a name, instead of a structure; read the file"),
        (Path("a.cif"), "'a.cif', a name"),
        ([Atoms("H"), "b.cif"], "'b.cif', a name"),
        (iter([1.0]), "builtins.float instead of ase.Atoms"),
        (None, "NoneType instead of ase.Atoms"),
        (range(2), "builtins.range instead of ase.Atoms, or a list of them; convert it"),
    ],
)
def test_what_is_no_structure_is_named_with_a_way_to_one(given, found):
    with pytest.raises(InputError) as caught:
        list_structures(given)
    assert found in str(caught.value)
    assert "\n" not in str(caught.value)
