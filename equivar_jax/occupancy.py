"""Sites that several elements share, or that are partly empty: no crystal that one structure can stand for.

`ase.io.read` puts one element on such a site of a CIF and keeps the truth in `atoms.info["occupancy"]`, which
maps the kind of a site (as in the array `spacegroup_kinds`, or else the number of the atom) to {element:
occupancy}. Readers of PDB and of multislice formats keep an array `occupancy` or `occupancies`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms

_ARRAYS = ("occupancy", "occupancies")
_TOLERANCE = 0.005
"""Occupancies nearer to 0 or 1 are rounded ones."""


def find_disorder(atoms: Atoms) -> str | None:
    """Describe a site of a structure that is shared or partly empty, for a message; None if there is none.

    Only the kinds of sites that the structure still has count.
    """
    occupancy = atoms.info.get("occupancy")
    if isinstance(occupancy, Mapping):
        there = {str(kind) for kind in atoms.arrays.get("spacegroup_kinds", range(len(atoms)))}
        for kind, shares in occupancy.items():
            if str(kind) in there and isinstance(shares, Mapping) and not _is_full(shares):
                return ", ".join(f"{element} {share}" for element, share in shares.items())
    for name in _ARRAYS:
        values = atoms.arrays.get(name)
        if values is None or values.dtype.kind not in "fiu" or values.ndim != 1 or not values.any():
            continue  # all zero: a program that has none, such as i-PI, filled the column
        partial = np.flatnonzero(np.abs(values - 1) > _TOLERANCE)
        if len(partial):
            return f"{atoms.symbols[partial[0]]} {values[partial[0]]:g} (atom {partial[0]})"
    return None


def _is_full(shares: Mapping[Any, Any]) -> bool:
    """Return whether exactly one element is on a site; an occupancy that is no number, as "?", is 1."""
    numbers = []
    for share in shares.values():
        try:
            numbers.append(float(share))
        except (TypeError, ValueError):
            numbers.append(1.0)
    present = [number for number in numbers if number > _TOLERANCE]
    return len(present) == 1 and abs(present[0] - 1) <= _TOLERANCE
