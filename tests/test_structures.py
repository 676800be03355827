"""Names of structures."""

import pytest
from ase import Atoms

from equivar_jax.structures import element_order, reduced_formula


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
