import numpy as np
import pytest

from equivar_jax.datasets.demonstration import crystals

FAMILIES = {"perovskite": crystals.perovskite, "Li3PO4": crystals.li3po4, "ZrO2": crystals.zro2}


def sample(family: str, count: int = 60) -> list:
    return [FAMILIES[family](np.random.default_rng([1, number])) for number in range(count)]


def bonds(atoms, centre: str, count: int) -> np.ndarray:
    symbols = np.array(atoms.get_chemical_symbols())
    distances = atoms.get_all_distances(mic=True)[symbols == centre][:, symbols == "O"]
    return np.sort(distances, axis=1)[:, :count]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_generator_state_gives_the_same_structure(family):
    first, second = (FAMILIES[family](np.random.default_rng(8)) for _ in range(2))
    assert first == second
    assert first.info == second.info
    assert first != FAMILIES[family](np.random.default_rng(9))


@pytest.mark.parametrize("family", FAMILIES)
def test_no_two_ions_collide_and_structures_are_periodic(family):
    closest = {"perovskite": 1.5, "Li3PO4": 1.25, "ZrO2": 1.65}[family]
    for atoms in sample(family):
        distances = atoms.get_all_distances(mic=True)
        assert distances[~np.eye(len(atoms), dtype=bool)].min() > closest
        assert atoms.pbc.all()
        assert set(atoms.arrays) == {"numbers", "positions"}


def test_perovskites_are_pure_and_mixed_on_both_sublattices():
    structures = sample("perovskite", 100)
    kinds = {"pure": 0, "mixed": 0}
    for atoms in structures:
        symbols = atoms.get_chemical_symbols()
        assert len(atoms) == 20
        assert sum(symbol in crystals.A_RADII for symbol in symbols) == 4
        assert sum(symbol in crystals.B_RADII for symbol in symbols) == 4
        kinds["pure" if len(set(symbols)) == 3 else "mixed"] += 1
    assert min(kinds.values()) > 20
    elements = {symbol for atoms in structures for symbol in atoms.get_chemical_symbols()}
    assert elements == {"Ca", "Sr", "Ba", "Pb", "Ti", "Zr", "Hf", "O"}


def test_vacancies_take_the_announced_atoms():
    sizes = {len(atoms) for atoms in sample("Li3PO4")}
    assert sizes == {29, 30, 31, 32}
    for atoms in sample("Li3PO4"):
        count = {symbol: atoms.get_chemical_symbols().count(symbol) for symbol in ("Li", "P", "O")}
        assert (12 - count["Li"], 4 - count["P"], 16 - count["O"]) in {
            (0, 0, 0),
            (1, 0, 0),
            (2, 0, 0),
            (2, 0, 1),
        }
    for atoms in sample("ZrO2"):
        assert atoms.get_chemical_symbols().count("Zr") == 16
    assert {len(atoms) for atoms in sample("ZrO2")} == {46, 47, 48}


def test_groups_gather_related_structures_and_name_all_phases():
    for family in ("Li3PO4", "ZrO2"):
        groups = [atoms.info[crystals.GROUP] for atoms in sample(family)]
        assert 8 < len(set(groups)) < len(groups)
        assert any("vacancies none" in group for group in groups)
    phases = {atoms.info[crystals.GROUP].split()[1] for atoms in sample("ZrO2")}
    assert phases == {"cubic", "tetragonal", "monoclinic"}
    for atoms in sample("perovskite"):
        assert atoms.symbols.formula == type(atoms.symbols.formula)(
            atoms.info[crystals.GROUP].removeprefix("perovskite ").replace(" ", "")
        ) or sorted(atoms.symbols.formula.count().items()) == sorted(
            type(atoms.symbols.formula)(
                atoms.info[crystals.GROUP].removeprefix("perovskite ").replace(" ", "")
            )
            .count()
            .items()
        )


def test_ideal_calcium_titanate_is_the_published_one():
    atoms = crystals.ideal_perovskite()
    np.testing.assert_allclose(bonds(atoms, "Ti", 6), 1.955, atol=0.01)
    np.testing.assert_allclose(atoms.cell.lengths(), [5.447, 7.654, 5.388], rtol=0.003)


@pytest.mark.parametrize("phase", ["beta", "gamma"])
def test_ideal_lithium_phosphates_are_tetrahedral(phase):
    atoms = crystals.ideal_li3po4(phase)
    assert atoms.get_chemical_formula() == "Li12O16P4"
    np.testing.assert_allclose(bonds(atoms, "P", 4), 1.54, atol=0.01)
    np.testing.assert_allclose(bonds(atoms, "Li", 4), 1.97, atol=0.075)


@pytest.mark.parametrize(
    ("phase", "neighbours", "shortest", "longest"),
    [("cubic", 8, 2.212, 2.212), ("tetragonal", 8, 2.083, 2.433), ("monoclinic", 7, 2.052, 2.267)],
)
def test_ideal_zirconias_have_their_coordination(phase, neighbours, shortest, longest):
    atoms = crystals.ideal_zro2(phase)
    assert atoms.get_chemical_formula() == "O32Zr16"
    distances = bonds(atoms, "Zr", neighbours + 1)
    np.testing.assert_allclose(distances[:, 0], shortest, atol=0.002)
    np.testing.assert_allclose(distances[:, neighbours - 1], longest, atol=0.002)
    assert distances[:, neighbours].min() > 3.5
