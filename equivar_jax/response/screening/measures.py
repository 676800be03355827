"""The numbers of one structure: how large its charges are, how anomalous, how certain.

With the singular values s_1 >= s_2 >= s_3 of the tensor Z_i of an atom of element X, and the nominal charge
q_X of the element (`nominal`), the anomaly of a structure is

    max_i s_1(Z_i) / |q_X|,

over all atoms whose element has a nominal charge. It is 1 for rigid ions. In a ferroelectric perovskite the
charge of an oxygen along its bond to the transition metal is the largest: about 2.9 in BaTiO3. Of the average
over directions, Z_iso = tr Z / 3, the isotropic anomaly is max_i |Z_iso| / |q_X|, which is that of Ti there.
The sign is kept apart: whether Z_iso has that of the nominal charge.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from jaxtyping import Float

from equivar_jax.structures import element_order, reduced_formula, source
from equivar_jax.uncertainty.metals import metal_probability

SMALLEST_NOMINAL = 1.0
"""A nominal charge below this, in e, has no anomaly: it is an average over atoms that differ, such as -2/3 of
the chains of tellurium in BaTe3, where one atom has several times the average."""
SYMPREC = 1e-3
"""Tolerance of the space group, in Å."""
_INTEGER = 1e-6


@dataclasses.dataclass(frozen=True)
class Known:
    """What the model says of a structure."""

    tensors: Float[np.ndarray, "atoms 3 3"]
    """[atom, field, displacement] in e."""
    sigma: Float[np.ndarray, "atoms 3 3"] | None = None
    """Standard deviation of each component, in e; None without a calibrated committee."""
    epsilon_inf: Float[np.ndarray, "3 3"] | None = None
    """None without the readout, or of what is no crystal."""
    epsilon_sigma: Float[np.ndarray, "3 3"] | None = None
    """Standard deviation of each component."""
    remarks: Sequence[UserWarning] = ()


def structure_columns(atoms: Atoms) -> dict[str, Any]:
    """Return what is known of a structure without a model, for the table."""
    is_crystal = bool(atoms.pbc.all())
    return {
        "formula": reduced_formula(atoms),
        "spacegroup": space_group_number(atoms) if is_crystal else None,
        "atoms": len(atoms),
        "metal_probability": metal_probability(atoms) if atoms.pbc.any() else None,
    }


def space_group_number(atoms: Atoms) -> int | None:
    """Return the number of the space group of a crystal; None if spglib finds none."""
    cell = atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers
    with warnings.catch_warnings():
        # Before 3.0, spglib warns in each call that it returns None for an error instead of raising one.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
        except spglib.SpglibError:
            return None
    return None if found is None else int(found.number)


def charge_columns(atoms: Atoms, known: Known, nominal: Mapping[str, float]) -> dict[str, Any]:
    """Return the numbers of the charges of a structure, for the table.

    Args:
        atoms: The structure.
        known: What the model says of it.
        nominal: Oxidation states by symbol, in e; may be empty.
    """
    symbols = np.array(atoms.get_chemical_symbols())
    largest = np.linalg.norm(known.tensors, ord=2, axis=(1, 2))
    isotropic = np.trace(known.tensors, axis1=1, axis2=2) / 3
    most = int(np.argmax(largest))
    order = element_order(atoms)
    found = {
        "largest_charge_e": float(largest[most]),
        "largest_charge_element": symbols[most].item(),
        "charges_e": "; ".join(f"{one} {isotropic[symbols == one].mean():.2f}" for one in order),
        "nominal_charges_e": "; ".join(f"{one} {nominal[one]:.3g}" for one in order if one in nominal),
        "mixed_valence": any(abs(state - round(state)) > _INTEGER for state in nominal.values())
        if nominal
        else None,
        **anomaly_columns(symbols, largest, isotropic, nominal),
    }
    if known.sigma is not None:
        found["charge_std_max_e"] = float(known.sigma.max())
        found["charge_std_mean_e"] = float(known.sigma.mean())
    if known.epsilon_inf is not None:
        found["epsilon_inf"] = float(np.trace(known.epsilon_inf)) / 3
    if known.epsilon_sigma is not None:
        # Errors of the three axes go together, so their standard deviations are averaged, not their squares.
        found["epsilon_inf_std"] = float(np.trace(known.epsilon_sigma)) / 3
    return found


def anomaly_columns(
    symbols: np.ndarray,
    largest: Float[np.ndarray, " atoms"],
    isotropic: Float[np.ndarray, " atoms"],
    nominal: Mapping[str, float],
) -> dict[str, Any]:
    """Return the anomaly of a structure, of which atom it is, and whether the sign is the nominal one.

    Args:
        symbols: Of the atoms.
        largest: Largest singular value of each tensor, in e.
        isotropic: A third of each trace, in e.
        nominal: Oxidation states by symbol, in e.

    Returns:
        Nothing if no element has a nominal charge of `SMALLEST_NOMINAL` or more.
    """
    charges = np.array([nominal.get(one, 0.0) for one in symbols.tolist()])
    counted = np.abs(charges) > SMALLEST_NOMINAL - _INTEGER
    if not counted.any():
        return {}
    scale = np.where(counted, np.abs(charges), np.inf)
    ratios, averages = largest / scale, np.abs(isotropic) / scale
    atom, other = int(np.argmax(ratios)), int(np.argmax(averages))
    return {
        "anomaly": float(ratios[atom]),
        "anomaly_element": symbols[atom].item(),
        "anomaly_atom": atom,
        "anomaly_isotropic": float(averages[other]),
        "anomaly_isotropic_element": symbols[other].item(),
        "nominal_signs": bool((isotropic * charges)[counted].min() >= 0),
    }


def flag_columns(atoms: Atoms, remarks: Sequence[UserWarning]) -> dict[str, Any]:
    """Return a column for each kind of warning, and the warnings in words."""
    kinds = {type(remark).__name__ for remark in remarks}
    words = [str(remark).removeprefix(f"{source(atoms)}: ") for remark in remarks]
    return {name: kind in kinds for kind, name in FLAGS.items()} | {"warnings": "; ".join(words)}


FLAGS = {
    "UnseenElementWarning": "unseen_element",
    "IsolatedAtomWarning": "isolated_atoms",
    "RareElementWarning": "rare_element",
    "CloseAtomsWarning": "close_atoms",
    "DensityWarning": "unusual_density",
    "UnfamiliarAtomsWarning": "unfamiliar_atoms",
    "UncertainWarning": "uncertain",
    "LikelyMetalWarning": "likely_metal",
}
"""Class of a warning -> its column."""


def flags_of(row: Mapping[str, Any]) -> list[str]:
    """Return the flags of a row in words: the kinds of warnings, and what makes its anomaly doubtful."""
    words = [name.replace("_", " ") for name in FLAGS.values() if row[name]]
    return words + ["sign not nominal"] * (row["nominal_signs"] is False)
