"""The rules that look at one labelled structure at a time, and the rule about rare elements.

Where the tolerances come from (596 raw entries of the Materials Project with 2 to 84 atoms; the other data
sets at hand were cleaned before publication and obey the sum rule and the symmetry to the last digit):

- Sum rule. Among 210 entries that were not corrected, the median excess charge grows as the square root of
  the number of atoms (0.0035 e for 2 to 4 atoms, 0.011 e for 26 to 84), so the excess is divided by this
  root. The median of the result is 0.002 e. 13 entries lie above 0.1 e; their charges sum to 0.28 to 33 e.
- Component. The largest among 2,185 structures is 10.4 e. Cubic WO3 has 12.5 e (Detraux, Ghosez and Gonze,
  Phys. Rev. B 56, 983 (1997)).
- Symmetry. 99.8 % deviate by less than 0.1, crystals with magnetic order included (the largest deviation of
  these is 0.09). A randomly rotated label deviates by more in 80 % of 457 crystals (the others are nearly
  isotropic).
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float

from equivar_jax.config.schema import HygieneConfig
from equivar_jax.hygiene.findings import Finding
from equivar_jax.structures import source

_ZERO = 1e-6
"""In e: less than what any format prints of a tensor."""


def sum_rule_excess(atoms: Atoms, tensors: Float[np.ndarray, "atoms 3 3"]) -> float:
    """Return the excess charge, in e: the largest component of `sum_i Z_i - Q 1` over sqrt(N).

    Args:
        atoms: The structure of N atoms; `info["charge"]` is its net charge Q in e, 0 by default.
        tensors: Born effective charges [atom, field, displacement] in e.
    """
    excess = tensors.sum(axis=0) - float(atoms.info.get("charge", 0.0)) * np.eye(3)
    return float(np.abs(excess).max() / np.sqrt(len(atoms)))


def check_sum_rule(index: int, atoms: Atoms, value: float, config: HygieneConfig) -> list[Finding]:
    """Refuse charges that do not add up to the charge of the cell; `value` is `sum_rule_excess`."""
    if value <= config.sum_rule:
        return []
    reason = (
        f"the tensors of {atoms.get_chemical_formula()} violate the sum rule by "
        f"{value * len(atoms) ** 0.5:.3g} e, {value:.3g} e over the root of the number of atoms "
        f"(at most {config.sum_rule:g}); "
        "check convergence and k-points, or info['charge'] if the cell is charged"
    )
    return [Finding(index, source(atoms), "sum rule", reason, refused=True, value=value)]


def check_zero(index: int, atoms: Atoms, tensors: Float[np.ndarray, "atoms 3 3"]) -> list[Finding]:
    """Refuse tensors that are all zero, which stand for a calculation that was not done.

    Crystals of one element are left out: in silicon the tensors vanish by symmetry and sum rule.
    """
    largest = float(np.abs(tensors).max())
    if largest >= _ZERO or len(set(atoms.numbers.tolist())) < 2:
        return []
    reason = (
        f"the tensors of {atoms.get_chemical_formula()} are all zero; repeat the calculation that should "
        "have given them, or remove the label"
    )
    return [Finding(index, source(atoms), "zero", reason, refused=True, value=largest)]


def check_component(
    index: int, atoms: Atoms, tensors: Float[np.ndarray, "atoms 3 3"], config: HygieneConfig
) -> list[Finding]:
    """Refuse a component larger than in every known material."""
    sizes = np.abs(tensors).max(axis=(1, 2))
    if sizes.max() <= config.largest_component:
        return []
    worst = int(sizes.argmax())
    reason = (
        f"atom {worst} ({atoms.symbols[worst]}) has a component of {sizes[worst]:.4g} e "
        f"(at most {config.largest_component:g}); check the unit, and whether the crystal is an insulator"
    )
    return [Finding(index, source(atoms), "component", reason, refused=True, value=float(sizes[worst]))]


def check_symmetry(index: int, atoms: Atoms, value: float | None, config: HygieneConfig) -> list[Finding]:
    """Refuse tensors without the symmetry of their crystal; `value` is `symmetry_deviation`."""
    if value is None or value <= config.symmetry:
        return []
    reason = (
        f"the tensors of {atoms.get_chemical_formula()} violate the symmetry of the crystal by {value:.1%} "
        f"of their size (at most {config.symmetry:.1%}); check the axes, and the order of atoms and columns"
    )
    return [Finding(index, source(atoms), "symmetry", reason, refused=True, value=value)]


def check_transposition(index: int, atoms: Atoms, value: float, config: HygieneConfig) -> list[Finding]:
    """Report an antisymmetric part of the wrong sign; `value` is its `agreement`."""
    if value >= -config.transposition:
        return []
    reason = (
        f"the antisymmetric part has the wrong sign (agreement {value:.2f}, at least "
        f"{-config.transposition:g}); check the index order (a BORN that abipy wrote has "
        "the displacement first)"
    )
    return [Finding(index, source(atoms), "transposed", reason, refused=False, value=value)]


def element_counts(structures: Sequence[Atoms]) -> dict[str, int]:
    """Return element -> number of structures that contain it, by rising atomic number."""
    counts = Counter(int(number) for atoms in structures for number in np.unique(atoms.numbers))
    return {chemical_symbols[number]: counts[number] for number in sorted(counts)}


def check_rare_elements(
    index: int, atoms: Atoms, counts: dict[str, int], config: HygieneConfig
) -> list[Finding]:
    """Report, or refuse, elements in too few structures for a network to learn about them."""
    rare = {symbol: counts[symbol] for symbol in sorted(set(atoms.symbols))}
    rare = {symbol: count for symbol, count in rare.items() if count < config.rare_element}
    if not rare:
        return []
    named = ", ".join(f"{symbol} ({count})" for symbol, count in rare.items())
    reason = f"elements in fewer than {config.rare_element} structures: {named}; add structures with them"
    value = float(min(rare.values()))
    return [Finding(index, source(atoms), "rare element", reason, refused=config.refuse_rare, value=value)]
