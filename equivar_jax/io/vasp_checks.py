"""Checks for doubtful tensors of a VASP run, and its masses, whichever of its files they are read from."""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from equivar_jax.errors import InputError

CUT_SHORT = "the calculation did not finish or the file was cut short; finish it or copy it again"


def refuse_doubtful(settings: dict[str, str], index: int, converged: bool, where: str) -> None:
    """Refuse tensors that are not Born effective charges, or that may belong to another structure.

    Args:
        settings: INCAR tags and their values as VASP prints them.
        index: number of the ionic step, from 0.
        converged: whether the electronic loop reached EDIFF.
        where: file and frame.

    Raises:
        InputError: local field effects are left out, the electronic loop did not converge, or the structure
            is displaced.
    """
    if settings.get("LRPA", "F") == "T":
        raise InputError(
            f"{where}: Born effective charges without local field effects (LRPA = .TRUE.); "
            "repeat the calculation with LRPA = .FALSE."
        )
    if not converged:
        raise InputError(
            f"{where}: the electronic loop stopped before EDIFF was reached; repeat it with a larger NELM"
        )
    if settings.get("IBRION") in ("5", "6") and index > 0:
        raise InputError(
            f"{where}: Born effective charges at a displaced structure of a finite-difference run (IBRION = "
            f"{settings['IBRION']}); repeat the calculation with IBRION = -1"
        )


def require_agreement(
    blocks: list[Float[np.ndarray, "atoms 3 3"]], where: str
) -> Float[np.ndarray, "atoms 3 3"]:
    """Return the tensors of one ionic step, which may be printed several times but must be the same.

    Raises:
        InputError: the sets of tensors differ by more than 1e-4 e.
    """
    if any(np.abs(block - blocks[-1]).max() > 1e-4 for block in blocks):
        raise InputError(
            f"{where}: {len(blocks)} sets of Born effective charges that differ; repeat the calculation with "
            "either LEPSILON or LCALCEPS"
        )
    return blocks[-1]


def masses_of_types(words: Sequence[str], kinds: Sequence[str]) -> Float[np.ndarray, " atoms"] | None:
    """Return the mass of each atom, in u; None if types and masses do not fit, since no tensor needs them.

    Args:
        words: the masses of the types.
        kinds: the type of each atom, from 1.
    """
    if not all(re.fullmatch(r"\d+(\.\d*)?", word) for word in words):
        return None
    if not all(kind.strip().isdigit() and 1 <= int(kind) <= len(words) for kind in kinds):
        return None
    return np.array([float(words[int(kind) - 1]) for kind in kinds])
