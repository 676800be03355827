"""Nominal charges of the elements of a composition: oxidation states that balance, from pymatgen.

`Composition.oxi_state_guesses` tries, for each element, the oxidation states that are frequent in the ICSD,
in any mixture, and sorts the neutral combinations by how frequent their states are. Taken is the first in
which the average over each element is one of its states, since pymatgen prefers B(-3) with H(+1) and H(-1) in
LiBH4; if there is none, the first, a mixture: Fe in Fe3O4 has the average 8/3. Where no combination is
neutral, the states that pymatgen calls common are tried in the same way: those of the ICSD have no Cl(+5) for
NaClO3.

The search grows with powers of the number of atoms, and may not end within hours for a molecular crystal; a
formula that would take too long is left without nominal charges.
"""

import functools
import math
from collections.abc import Mapping
from importlib.util import find_spec

from ase import Atoms

from equivar_jax.errors import InputError

PACKAGE = "pymatgen-core"
"""What has the oxidation states."""
MOST_MIXTURES = 100_000
"""Largest number of mixtures of the states of one element that are tried; it takes about a second."""
MOST_COMBINATIONS = 1_000_000
"""Largest number of combinations of the charges of all elements that are tried; it takes about a second."""
HOW_TO_INSTALL = 'pip install "equivar_jax[screen]"'


def is_installed() -> bool:
    """Return whether the package with oxidation states is there."""
    return find_spec("pymatgen") is not None and find_spec("pymatgen.core") is not None


def missing_package() -> InputError:
    """Make the error for a ranking that needs oxidation states."""
    return InputError(
        f"the anomaly is relative to oxidation states, which {PACKAGE} has and which is not installed; "
        f"{HOW_TO_INSTALL}, or rank otherwise (--rank uncertainty, --rank epsilon)"
    )


def nominal_charges(atoms: Atoms) -> dict[str, float]:
    """Return the oxidation state of each element of a structure, averaged over its atoms, in e.

    Args:
        atoms: The structure; only its composition counts, and `info["charge"]`, its net charge in e.

    Returns:
        By symbol; nothing if the states of no mixture sum to the net charge, if there is only one element, or
        if the search would take too long.
    """
    charge = float(atoms.info.get("charge", 0.0))
    counts = {symbol: int(number) for symbol, number in atoms.symbols.formula.count().items()}
    shared = 0 if charge else math.gcd(*counts.values())
    amounts = {symbol: number // max(shared, 1) for symbol, number in sorted(counts.items())}
    return dict(_guess(tuple(amounts.items()), charge))


@functools.lru_cache(maxsize=4096)
def _guess(amounts: tuple[tuple[str, int], ...], charge: float) -> tuple[tuple[str, float], ...]:
    """Return the average states of a formula unit, by symbol."""
    if len(amounts) == 1 or charge != round(charge):
        return ()
    from pymatgen.core import Composition, Element

    elements = {symbol: Element(symbol) for symbol, _ in amounts}
    common = {symbol: tuple(one.common_oxidation_states) for symbol, one in elements.items()}
    frequent = {
        symbol: tuple(one.icsd_oxidation_states) or common[symbol] for symbol, one in elements.items()
    }
    for states in (frequent, common):
        if not all(states.values()) or not _is_quick(amounts, states):
            continue
        found = Composition(dict(amounts)).oxi_state_guesses(
            oxi_states_override={symbol: list(own) for symbol, own in states.items()},
            target_charge=round(charge),
        )
        alike = (one for one in found if all(one[symbol] in states[symbol] for symbol in one))
        if chosen := next(alike, next(iter(found), None)):
            return tuple(chosen.items())
    return ()


def _is_quick(amounts: tuple[tuple[str, int], ...], states: Mapping[str, tuple[int, ...]]) -> bool:
    """Return whether the search ends within seconds: few mixtures of states, and few sums of them."""
    combinations = 1
    for symbol, amount in amounts:
        own = states[symbol]
        mixtures = math.comb(amount + len(own) - 1, amount)
        if mixtures > MOST_MIXTURES:
            return False
        combinations *= min(mixtures, amount * (max(own) - min(own)) + 1)
    return combinations <= MOST_COMBINATIONS
