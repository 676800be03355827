"""Random crystals of three families, similar to the published training sets.

Ideal structures come from the literature cited below; composition, vacancies, strain and thermal
displacements are random. Each structure carries `info["group"]`. Structures of one group differ only by
strain and displacements, so a split that keeps groups together tests on compositions and vacancy arrangements
that were not trained on.
"""

from collections import Counter
from functools import cache

import numpy as np
from ase import Atoms
from ase.spacegroup import crystal
from jaxtyping import Float

GROUP = "group"

# Standard deviation of each strain component.
STRAIN = 0.01
# No normal variate exceeds this many standard deviations.
TRUNCATION = 2.5
# Ranges of the root-mean-square thermal displacement along each axis, Å (about 100 K to 1000 K); smaller in
# Li3PO4, whose P–O bonds are short and stiff.
OXIDE_DISPLACEMENT = (0.02, 0.08)
PHOSPHATE_DISPLACEMENT = (0.01, 0.05)

# Shannon, Acta Cryst. A 32, 751 (1976), Å: A in twelve-fold, B in six-fold, oxygen in two-fold coordination.
A_RADII = {"Ca": 1.34, "Sr": 1.44, "Ba": 1.61, "Pb": 1.49}
B_RADII = {"Ti": 0.605, "Zr": 0.72, "Hf": 0.71}
OXYGEN_RADIUS = 1.35


def perovskite(rng: np.random.Generator) -> Atoms:
    """Make a substituted Pnma ABO3 perovskite: 20 atoms, A from Ca, Sr, Ba, Pb and B from Ti, Zr, Hf.

    Each sublattice has, with equal chance, one element or two elements mixed at random over its four sites.
    The ideal cell is that of `ideal_perovskite` for the mean radii of the composition.

    Args:
        rng: source of every random choice.

    Returns:
        The strained and displaced structure, periodic, with `info["group"]`.
    """
    a_sites = _site_elements(rng, tuple(A_RADII))
    b_sites = _site_elements(rng, tuple(B_RADII))
    atoms = ideal_perovskite(
        float(np.mean([A_RADII[element] for element in a_sites])),
        float(np.mean([B_RADII[element] for element in b_sites])),
    )
    symbols = np.array(atoms.get_chemical_symbols(), dtype=object)
    symbols[symbols == "Ca"] = a_sites
    symbols[symbols == "Ti"] = b_sites
    atoms.set_chemical_symbols(list(symbols))
    atoms.info[GROUP] = f"perovskite {_formula(a_sites)} {_formula(b_sites)} O12"
    return strain_and_displace(atoms, rng)


def li3po4(rng: np.random.Generator) -> Atoms:
    """Make beta- or gamma-Li3PO4 of 32 atoms: perfect, with one or two Li vacancies, or with a Li2O vacancy.

    Args:
        rng: source of every random choice.

    Returns:
        The strained and displaced structure of 29 to 32 atoms, periodic, with `info["group"]`.
    """
    phase = str(rng.choice(["beta", "gamma"]))
    missing = {"perfect": "", "V_Li": "Li", "2 V_Li": "LiLi", "V_Li2O": "LiLiO"}
    defect = str(rng.choice(list(missing)))
    wanted = Counter(Li=missing[defect].count("Li"), O=missing[defect].count("O"))
    atoms = make_vacancies(_ideal_cell("Li3PO4", phase), wanted, rng)
    atoms.info[GROUP] = f"Li3PO4 {phase} {atoms.info[GROUP]}"
    return strain_and_displace(atoms, rng, PHOSPHATE_DISPLACEMENT)


def zro2(rng: np.random.Generator) -> Atoms:
    """Make cubic, tetragonal or monoclinic ZrO2 in a 48-atom cell with no, one or two O vacancies.

    Args:
        rng: source of every random choice.

    Returns:
        The strained and displaced structure of 46 to 48 atoms, periodic, with `info["group"]`.
    """
    phase = str(rng.choice(["cubic", "tetragonal", "monoclinic"]))
    atoms = make_vacancies(_ideal_cell("ZrO2", phase), Counter(O=int(rng.integers(3))), rng)
    atoms.info[GROUP] = f"ZrO2 {phase} {atoms.info[GROUP]}"
    return strain_and_displace(atoms, rng)


def ideal_perovskite(a_radius: float = A_RADII["Ca"], b_radius: float = B_RADII["Ti"]) -> Atoms:
    """Make the Pnma cell of a perovskite with the given ionic radii, occupied by Ca and Ti as placeholders.

    The octahedral tilts and the A shifts are those of CaTiO3 (Sasaki et al., Acta Cryst. C 43, 1668 (1987))
    times `sqrt((t_0 - t) / (t_0 - t_CaTiO3))`, limited to 0.1 to 1.5. The tolerance factor is
    `t = (r_A + r_O) / (sqrt(2) (r_B + r_O))`, and t_0 is that of the untilted SrTiO3. The cell is then scaled
    to a mean B–O distance of `r_B + r_O`. If A is too large for its cage (t > 1), the cell is expanded by a
    factor `t^(1/3)`.

    Args:
        a_radius: mean twelve-fold radius of the A ions, Å.
        b_radius: mean six-fold radius of the B ions, Å.

    Returns:
        The unstrained 20-atom cell, A sites Ca, B sites Ti.
    """
    bond, titanium_bond = b_radius + OXYGEN_RADIUS, B_RADII["Ti"] + OXYGEN_RADIUS
    tolerance = _tolerance_factor(a_radius, bond)
    untilted = _tolerance_factor(A_RADII["Sr"], titanium_bond)
    tilt = max(untilted - tolerance, 0.0) / (untilted - _tolerance_factor(A_RADII["Ca"], titanium_bond))
    tilt = float(np.clip(np.sqrt(tilt), 0.1, 1.5))

    # Ca 4c, Ti 4b, O 4c, O 8d of Pnma, without tilts and as refined.
    cubic = np.array([[0.0, 0.25, 0.0], [0.5, 0.0, 0.0], [0.5, 0.25, 0.0], [0.25, 0.0, 0.75]])
    refined = np.array(
        [[0.03602, 0.25, -0.00676], [0.5, 0.0, 0.0], [0.4838, 0.25, 0.0714], [0.2888, 0.0371, 0.7108]]
    )
    pseudo_cubic = np.array([np.sqrt(2.0), 2.0, np.sqrt(2.0)])
    edges = pseudo_cubic + tilt * (np.array([5.447, 7.654, 5.388]) / 3.828 - pseudo_cubic)
    atoms = crystal(
        ["Ca", "Ti", "O", "O"], cubic + tilt * (refined - cubic), spacegroup=62, cellpar=[*edges, 90, 90, 90]
    )
    distances = atoms.get_all_distances(mic=True)[atoms.numbers == 22][:, atoms.numbers == 8]
    scale = bond * max(tolerance, 1.0) ** (1 / 3) / np.sort(distances, axis=1)[:, :6].mean()
    atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
    return _strip_spacegroup(atoms)


def ideal_li3po4(phase: str) -> Atoms:
    """Make the 32-atom cell of a Li3PO4 phase.

    beta (Pmn2_1, doubled along c): Keffer et al., Inorg. Chem. 6, 119 (1967); gamma (Pnma): Wang et al., J.
    Solid State Chem. 115, 313 (1995), given there as Pmnb.

    Args:
        phase: "beta" or "gamma".

    Returns:
        The ideal structure; the array "site" numbers the inequivalent sites.
    """
    if phase == "beta":
        symbols = ["Li", "Li", "P", "O", "O", "O"]
        basis = [
            (0.2481, 0.3277, 0.9860),
            (0.5, 0.8428, 0.9893),
            (0.0, 0.8243, 0.0),
            (0.20777, 0.68676, 0.89610),
            (0.0, 0.1052, 0.9004),
            (0.5, 0.1814, 0.8172),
        ]
        atoms = crystal(symbols, basis, spacegroup=31, cellpar=[6.115, 5.2394, 4.8554, 90, 90, 90])
        return _strip_spacegroup(atoms).repeat((1, 1, 2))
    symbols = ["Li", "Li", "P", "O", "O", "O"]
    basis = [
        (0.1627, 0.5016, 0.3008),
        (0.4246, 0.75, 0.2045),
        (0.4115, 0.25, 0.3079),
        (0.3418, 0.0441, 0.2054),
        (0.0503, 0.25, 0.2928),
        (0.0896, 0.75, 0.1223),
    ]
    return _strip_spacegroup(
        crystal(symbols, basis, spacegroup=62, cellpar=[10.4612, 6.1113, 4.9208, 90, 90, 90])
    )


def ideal_zro2(phase: str) -> Atoms:
    """Make the 48-atom cell (2 x 2 x 1 of the 12-atom fluorite-like cell) of a ZrO2 phase.

    Cubic (Fm-3m, a = 5.108 Å) and tetragonal (P4_2/nmc, pseudo-cubic a = 5.141 Å, c = 5.270 Å, oxygen columns
    shifted by 0.057 c in alternate directions): Aldebert and Traverse, J. Am. Ceram. Soc. 68, 34 (1985) and
    Teufer, Acta Cryst. 15, 1187 (1962), rounded. Monoclinic (P2_1/c): Howard, Hill and Reichert, Acta Cryst.
    B 44, 116 (1988).

    Args:
        phase: "cubic", "tetragonal" or "monoclinic".

    Returns:
        The ideal structure; the array "site" numbers the inequivalent sites.
    """
    if phase == "monoclinic":
        basis = [(0.2754, 0.0395, 0.2083), (0.0700, 0.3317, 0.3447), (0.4496, 0.7569, 0.4792)]
        lattice = [5.1505, 5.2116, 5.3173, 90, 99.230, 90]
        return _strip_spacegroup(crystal(["Zr", "O", "O"], basis, spacegroup=14, cellpar=lattice)).repeat(
            (2, 2, 1)
        )
    basis = [(0.0, 0.0, 0.0), (0.25, 0.25, 0.25)]
    atoms = _strip_spacegroup(
        crystal(["Zr", "O"], basis, spacegroup=225, cellpar=[5.108, 5.108, 5.108, 90, 90, 90])
    )
    if phase == "tetragonal":
        column = np.rint(atoms.get_scaled_positions()[:, :2] * 4 - 1).sum(axis=1) / 2
        atoms.set_cell([5.141, 5.141, 5.270], scale_atoms=True)
        shift = 0.057 * 5.270 * np.where(column % 2 == 0, 1.0, -1.0)
        atoms.positions[:, 2] += np.where(atoms.numbers == 8, shift, 0.0)
    return atoms.repeat((2, 2, 1))


@cache
def _ideal_cell(compound: str, phase: str) -> Atoms:
    """Return an ideal cell, which is built only once; copy it before changing it.

    It takes long to find the orbits of a space group.
    """
    return {"Li3PO4": ideal_li3po4, "ZrO2": ideal_zro2}[compound](phase)


def _tolerance_factor(a_radius: float, bond: float) -> float:
    """Return Goldschmidt's tolerance factor from the A radius and the B–O bond length, Å."""
    return (a_radius + OXYGEN_RADIUS) / (np.sqrt(2.0) * bond)


def _site_elements(rng: np.random.Generator, elements: tuple[str, ...]) -> list[str]:
    """Draw the elements of a sublattice's four sites: with equal chance one element, or two at random."""
    pair = rng.choice(len(elements), size=2, replace=False)
    mixed = rng.random() < 0.5
    return [elements[pair[int(draw)]] for draw in rng.integers(2, size=4) * int(mixed)]


def _formula(symbols: list[str]) -> str:
    """Return the counts of a list of symbols in alphabetical order, as in "Ca3Sr1"."""
    return "".join(f"{symbol}{count}" for symbol, count in sorted(Counter(symbols).items()))


def make_vacancies(ideal: Atoms, wanted: Counter[str], rng: np.random.Generator) -> Atoms:
    """Remove `wanted` atoms, drawn at random; name the kinds of their sites and their distances in the group.

    The distances between the vacancies, rounded to 0.1 Å in the ideal crystal, (nearly always) distinguish
    arrangements that no symmetry operation maps onto each other, and give equivalent ones the same name.
    """
    removed: list[int] = []
    for symbol, count in sorted(wanted.items()):
        candidates = np.flatnonzero(np.array(ideal.get_chemical_symbols()) == symbol)
        removed += [int(index) for index in rng.choice(candidates, size=count, replace=False)]
    sites = ideal.arrays["site"]
    kinds = sorted(f"{ideal.symbols[index]}{sites[index]}" for index in removed)
    distances = ideal[removed].get_all_distances(mic=True) if removed else np.zeros((0, 0))
    apart = sorted(f"{distances[i, j]:.1f}" for i in range(len(removed)) for j in range(i))
    atoms = ideal.copy()
    del atoms[removed]
    atoms.info[GROUP] = " ".join(["vacancies", *(kinds or ["none"]), *(["at", *apart] if apart else [])])
    return atoms


def _strip_spacegroup(atoms: Atoms) -> Atoms:
    """Return the bare structure of a spacegroup crystal; the array "site" numbers its inequivalent sites."""
    bare = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)
    bare.set_array("site", np.asarray(atoms.arrays["spacegroup_kinds"], dtype=np.int64))
    return bare


def strain_and_displace(
    atoms: Atoms, rng: np.random.Generator, displacement: tuple[float, float] = OXIDE_DISPLACEMENT
) -> Atoms:
    """Apply a random homogeneous strain, then random thermal displacements of one random amplitude."""
    strain = STRAIN * _draw_truncated_normal(rng, (3, 3))
    deformation = np.eye(3) + 0.5 * (strain + strain.T)
    atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    amplitude = rng.uniform(*displacement)
    atoms.positions += amplitude * _draw_truncated_normal(rng, (len(atoms), 3))
    del atoms.arrays["site"]
    return atoms


def _draw_truncated_normal(
    rng: np.random.Generator, shape: tuple[int, ...]
) -> Float[np.ndarray, "rows columns"]:
    """Draw normal variates of unit width, and redraw those beyond the truncation.

    The truncation keeps ions from colliding.
    """
    draws = rng.normal(size=shape)
    while (outside := np.abs(draws) > TRUNCATION).any():
        draws[outside] = rng.normal(size=int(outside.sum()))
    return draws
