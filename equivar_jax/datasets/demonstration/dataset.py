"""The embedded demonstration set: crystals whose labels come from a polarisable-ion model, not from DFT.

It exists so that everything in this package can be tried, tested and timed without a download: three families
of crystals (`crystals`) with Born effective charges that obey the physics (sum rule, O(3), dependence on the
environment, sizes and signs), because they are the exact derivative of a cell dipole (`polarisable_ion`).
Errors of a network on this set show how well it learns such a function; they say nothing about its accuracy
on DFPT labels.

The table lists the mean and the range, in e, over 300 structures of each family with seed 0 (of trace(Z)/3,
and for the oxygens of perovskites of the components along and across B–O–B), and in the last column published
first-principles values for cubic crystals (Zhong, King-Smith and Vanderbilt, Phys. Rev. Lett. 72, 3618
(1994): Ca, Sr, Ba, PbTiO3 and Ba, PbZrO3; Zhao and Vanderbilt, Phys. Rev. B 65, 075105 (2002): ZrO2):

    perovskite  Ca                 2.81    2.66 to  3.12      2.58
                Sr                 2.78    2.62 to  3.13      2.54
                Ba                 2.91    2.55 to  3.12      2.73 to 2.75
                Pb                 3.94    3.55 to  4.42      3.90 to 3.92
                Ti                 6.79    6.24 to  7.36      7.06 to 7.16
                Zr                 5.91    5.55 to  6.37      5.85 to 6.03
                Hf                 5.83    5.44 to  6.33
                O along Ti–O–Ti   -6.30   -8.18 to -4.99     -5.83 to -5.65
                O across Ti–O–Ti  -1.87   -2.93 to -1.00     -2.56 to -2.00
                O along Zr–O–Zr   -4.84   -6.64 to -2.91     -4.81 to -4.74   (Zr or Hf)
                O across Zr–O–Zr  -2.05   -3.52 to -1.30     -2.48 to -2.01   (Zr or Hf)
    Li3PO4      Li                 1.05    1.01 to  1.08
                P                  3.67    3.40 to  4.15
                O                 -1.65   -1.94 to -1.36
    ZrO2        Zr                 5.28    4.74 to  5.74      5.74
                O                 -2.73   -2.93 to -2.50     -2.87
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms

from equivar_jax.cache import cache_directory, code_version
from equivar_jax.datasets.demonstration import crystals
from equivar_jax.datasets.demonstration.polarisable_ion import born_effective_charges
from equivar_jax.errors import InputError
from equivar_jax.parallel import map_in_order
from equivar_jax.progress import ProgressBar
from equivar_jax.storage.structure_table import StructureTable, cached_table
from equivar_jax.structures import SOURCE, with_born_effective_charges

# The files that determine what is generated: a change in any of them makes every cached set stale.
GENERATOR_SOURCES = ("datasets/demonstration", "storage/structure_table.py")

# A kind's place in this table enters the seeds of its structures: append new kinds, never reorder.
KINDS: dict[str, Callable[[np.random.Generator], Atoms]] = {
    "perovskite": crystals.perovskite,
    "Li3PO4": crystals.li3po4,
    "ZrO2": crystals.zro2,
}

# From this many structures on, worker processes are used. Starting a worker takes about a second, making a
# structure about ten milliseconds.
POOL_PAYS_FROM = 1000
CHUNK = 50

# One structure: its kind and its number within the kind.
Task = tuple[str, int]


def demonstration_set(
    perovskites: int = 224,
    li3po4: int = 0,
    zro2: int = 0,
    *,
    seed: int = 0,
    cache_dir: Path | None = None,
    progress: bool = True,
) -> StructureTable:
    """Make, or read from the cache, labelled structures: perovskites first, then Li3PO4, then ZrO2.

    The k-th structure of a kind depends only on `seed`, the kind and k, so a larger set begins with a smaller
    one. The same call gives the same structures; labels agree to about 1e-12 e between machines. The result
    is cached. The published training sets had 1224, 17991 and 10103 structures; to make as many takes a few
    minutes, once. Large sets are labelled by worker processes, which import the calling script: guard its
    entry with `if __name__ == "__main__":`.

    Args:
        perovskites: number of substituted Pnma ABO3 perovskites, 20 atoms.
        li3po4: number of Li3PO4 structures, 29 to 32 atoms.
        zro2: number of ZrO2 structures, 46 to 48 atoms.
        seed: non-negative; another seed gives another set.
        cache_dir: where to keep the set; by default the directory named by the environment variable
            EQUIVAR_CACHE, or the user's cache directory.
        progress: show a progress bar on standard error while structures are generated.

    Returns:
        Structures that carry Born effective charges [atom, field, displacement] in e, with `info["source"]`
        ("demonstration perovskite 17") and `info["group"]` (composition or vacancy arrangement).

    Raises:
        InputError: a number of structures or the seed is negative.
    """
    counts = dict(zip(KINDS, (perovskites, li3po4, zro2), strict=True))
    for name, value in {**counts, "seed": seed}.items():
        if value < 0:
            raise InputError(f"demonstration set: {name} = {value}; give zero or more")
    tasks = [(kind, number) for kind, count in counts.items() for number in range(count)]
    return cached_table(
        cache_directory(cache_dir) / f"demonstration-{_name(counts, seed)}",
        _key(counts, seed),
        lambda: _generate(tasks, seed, progress),
    )


def _make_labelled(tasks: list[Task], seed: int) -> list[Atoms]:
    """Generate and label structures, each from its own random stream."""
    structures = []
    for kind, number in tasks:
        stream = np.random.default_rng([seed, list(KINDS).index(kind), number])
        atoms = KINDS[kind](stream)
        atoms.info[SOURCE] = f"demonstration {kind} {number}"
        structures.append(with_born_effective_charges(atoms, born_effective_charges(atoms)))
    return structures


def _generate(
    tasks: list[Task], seed: int, progress: bool, pool_from: int = POOL_PAYS_FROM
) -> Iterator[Atoms]:
    """Yield all structures in order, from worker processes if there are `pool_from` or more."""
    chunks = [tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)]
    work = functools.partial(_make_labelled, seed=seed)
    with ProgressBar(
        total=len(tasks), desc="demonstration set", unit="structure", disable=not progress
    ) as bar:
        for structures in map_in_order(work, chunks, processes=len(tasks) >= pool_from):
            yield from structures
            bar.update(len(structures))


def _name(counts: dict[str, int], seed: int) -> str:
    """Return a name for a set, made of its arguments."""
    return "-".join(map(str, (*counts.values(), seed)))


def _key(counts: dict[str, int], seed: int) -> str:
    """Return the key of a set: its arguments and a digest of the source code that generates it."""
    return f"{sorted(counts.items())} {seed} {code_version(*GENERATOR_SOURCES)}"
