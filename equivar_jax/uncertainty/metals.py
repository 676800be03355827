"""Which crystals are likely metallic, by composition alone: they have no Born effective charges.

A network of charges is trained on insulators and gives tensors for anything. Whether a crystal has a gap is
learned here from compositions of the Materials Project (gaps of PBE, CC BY 4.0; Jain et al., APL Mater. 1,
011002 (2013); selected for matbench by Dunn et al., npj Comput. Mater. 6, 138 (2020)) and from insulators of
phonondb and phonon-dfpt, by `benchmarks.real_data.metals`, which also measures how often it is wrong
(`benchmarks/results/metals.json`).

With fractions f_i of elements i, which have vectors v_i, and whether a formula unit has an odd number of
electrons,

    c = sum_i f_i v_i,   u_i = tanh(W1 v_i + W2 c + f_i w + b),   g = sum_i f_i u_i,
    logit = o . silu(W3 g + odd x + b3) + o0.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from jaxtyping import Float, Int

LIKELY = 0.8
"""Probability from which a structure brings a warning: that of 77 % of metals and of 3 % of insulators among
compositions of the Materials Project that were not trained on."""
_NONMETALS = "H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Te I Xe At Rn"
NONMETALS = frozenset(map(atomic_numbers.__getitem__, _NONMETALS.split()))
"""Elements of which, alone, one cannot say so: some of their crystals have a gap. Of all others one can."""
_WEIGHTS = Path(__file__).with_name("metals.npz")


def metal_probability(atoms: Atoms) -> float:
    """Return the probability that a crystal has no gap in PBE, from its composition.

    The structure counts for nothing, so polymorphs cannot be told apart: diamond is like graphite.

    Args:
        atoms: The structure; only its atomic numbers are used.

    Returns:
        Between 0 and 1; of elements 0 for nonmetals and metalloids and 1 for metals.
    """
    numbers, counts = np.unique(atoms.numbers, return_counts=True)
    unit = counts // np.gcd.reduce(counts)
    return _probability(tuple(numbers.tolist()), tuple(unit.tolist()))


@functools.lru_cache(maxsize=4096)
def _probability(numbers: tuple[int, ...], counts: tuple[int, ...]) -> float:
    """Return the probability of a formula unit."""
    if len(numbers) == 1:
        return float(numbers[0] not in NONMETALS)
    unit = np.array(counts)
    odd = float(np.dot(numbers, unit) % 2)
    found = metal_logit(_weights(), np.array(numbers), unit / unit.sum(), np.array(odd))
    return float(1 / (1 + np.exp(-found)))


def metal_logit(
    weights: Mapping[str, Any],
    numbers: Int[Any, "*compositions elements"],
    fractions: Float[Any, "*compositions elements"],
    odd: Float[Any, "*compositions"],
    xp: Any = np,
) -> Float[Any, "*compositions"]:
    """Compute the logarithm of the odds that compositions are metallic (the formula of this module).

    Args:
        weights: As `metals.npz` has them.
        numbers: Atomic numbers of the elements; any number where the fraction is zero.
        fractions: Shares of atoms, which sum to one.
        odd: 1 where a formula unit has an odd number of electrons, else 0.
        xp: `numpy`, or `jax.numpy` to train.
    """
    vectors = weights["elements"][numbers]
    mean = (fractions[..., None] * vectors).sum(-2)
    seen = vectors @ weights["own"] + (mean @ weights["others"])[..., None, :]
    seen = xp.tanh(seen + fractions[..., None] * weights["share"] + weights["bias"])
    hidden = (fractions[..., None] * seen).sum(-2) @ weights["mix"] + odd[..., None] * weights["odd"]
    hidden = hidden + weights["mix_bias"]
    return (hidden / (1 + xp.exp(-hidden))) @ weights["out"] + weights["out_bias"]


@functools.cache
def _weights() -> dict[str, np.ndarray]:
    """Read the weights of the package, which are kept in half precision."""
    with np.load(_WEIGHTS) as stored:
        return {name: stored[name].astype(np.float64) for name in stored.files}
