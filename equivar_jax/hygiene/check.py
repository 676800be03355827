"""`check_labels`: apply every rule to every structure."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.config.schema import HygieneConfig
from equivar_jax.errors import InputError
from equivar_jax.hygiene import rules
from equivar_jax.hygiene.duplicates import find_cross_duplicates, find_duplicates
from equivar_jax.hygiene.findings import Finding, HygieneReport, Measurements, unreadable_finding
from equivar_jax.hygiene.fingerprints import Fingerprint, composition, fingerprint
from equivar_jax.hygiene.surroundings import find_surroundings
from equivar_jax.hygiene.symmetry import symmetry_deviation
from equivar_jax.hygiene.transposition import (
    agreement,
    axial_vectors,
    expected_axial_vectors,
    judge_index_order,
)
from equivar_jax.progress import ProgressBar
from equivar_jax.structures import born_effective_charges, source

Predict = Callable[[Sequence[Atoms]], Sequence[Float[np.ndarray, "_ 3 3"]]]
"""A trained model, such as `load(run).predict`; it returns tensors [atom, field, displacement] in e."""


class _StructureCheck(NamedTuple):
    """The findings and measured values of the rules that look at a single structure."""

    findings: list[Finding]
    sum_rule: float = np.nan
    largest: float = np.nan
    symmetry: float = np.nan
    agreement: float = np.nan
    fingerprint: Fingerprint | None = None


def check_labels(
    structures: Sequence[Atoms],
    config: HygieneConfig,
    progress: bool = False,
    *,
    unreadable: Sequence[InputError] = (),
    predict: Predict | None = None,
) -> HygieneReport:
    """Find broken, rotated, transposed and duplicate labels.

    These structures are set aside: those that could not be read, those of several elements whose tensors are
    all zero, those that violate the sum rule, those with a component beyond a bound, those whose tensors lack
    the symmetry of their crystal, and, among the remaining ones, all but the first of several equal
    structures (all of them if their labels contradict each other). These are reported but kept:
    near-duplicates, tensors that look transposed, and structures with rare elements (which `refuse_rare` sets
    aside).

    Args:
        structures: Structures with Born effective charges [atom, field, displacement] in e. Those without any
            are counted and not kept.
        config: The tolerances. `enabled` is ignored here; the caller decides whether to check at all.
        progress: Whether to show a progress bar.
        unreadable: Errors of the readers, to be reported with the rest.
        predict: A trained model whose antisymmetric parts are compared with the labels', instead of the
            built-in expectation.

    Returns:
        The findings, the places of the structures to keep, and the measured values.
    """
    tensors = [born_effective_charges(atoms) for atoms in structures]
    labelled = [index for index, label in enumerate(tensors) if label is not None]
    predicted = _predictions([structures[index] for index in labelled], predict)
    checked: dict[int, _StructureCheck] = {}
    bar = ProgressBar(labelled, desc="checking labels", unit="structure", disable=not progress)
    for index, prediction in zip(bar, predicted, strict=True):
        checked[index] = _check_structure(index, structures[index], tensors[index], prediction, config)
    prints = [
        one.fingerprint for one in checked.values() if one.fingerprint and not _is_refused(one.findings)
    ]
    counts = rules.element_counts([structures[index] for index in labelled])
    findings = [unreadable_finding(error) for error in unreadable]
    findings += [finding for one in checked.values() for finding in one.findings]
    findings += find_duplicates(prints, config)
    for index in labelled:
        findings += rules.check_rare_elements(index, structures[index], counts, config)
    sound = [index for index, one in checked.items() if np.isfinite(one.agreement)]
    return HygieneReport(
        sources=tuple(source(atoms) for atoms in structures),
        findings=tuple(findings),
        unlabelled=tuple(index for index, label in enumerate(tensors) if label is None),
        measurements=_measurements(len(structures), checked),
        elements=counts,
        index_order=judge_index_order(
            [composition(structures[index]) for index in sound],
            [checked[index].agreement for index in sound],
            config.transposition,
        ),
    )


def cross_duplicates(
    training: Sequence[Atoms], validation: Sequence[Atoms], config: HygieneConfig
) -> list[Finding]:
    """Find validation structures that equal, or nearly equal, a training structure.

    Args:
        training: Labelled structures.
        validation: Labelled structures.
        config: The tolerances.

    Returns:
        A finding that refuses each such structure; its `index` is the place in `validation`.

    Raises:
        InputError: a structure has two atoms at one place, or no Born effective charges.
    """
    return find_cross_duplicates(_fingerprints(training), _fingerprints(validation), config)


def _fingerprints(structures: Sequence[Atoms]) -> list[Fingerprint]:
    """Return the fingerprint of every structure."""
    found = []
    for index, atoms in enumerate(structures):
        tensors = born_effective_charges(atoms)
        if tensors is None:
            raise InputError(f"{source(atoms)}: no Born effective charges to compare; remove it")
        near = find_surroundings(atoms)
        found.append(fingerprint(index, atoms, near, tensors, expected_axial_vectors(near, tensors)))
    return found


def _predictions(structures: Sequence[Atoms], predict: Predict | None) -> Sequence[np.ndarray | None]:
    """Return a model's tensors for every structure, or None for each if there is no model."""
    return [None] * len(structures) if predict is None else predict(structures)


def _check_structure(
    index: int,
    atoms: Atoms,
    tensors: Float[np.ndarray, "atoms 3 3"],
    prediction: Float[np.ndarray, "atoms 3 3"] | None,
    config: HygieneConfig,
) -> _StructureCheck:
    """Apply all rules that need only one structure."""
    if not np.isfinite(tensors).all():
        reason = "Born effective charges that are not finite; remove the frame or repair its label"
        return _StructureCheck([Finding(index, source(atoms), "unreadable", reason, refused=True)])
    try:
        near = find_surroundings(atoms)
    except InputError as error:
        return _StructureCheck([Finding(index, source(atoms), "unreadable", _reason(error), refused=True)])
    excess = rules.sum_rule_excess(atoms, tensors)
    deviation = symmetry_deviation(atoms, tensors, config.symprec)
    expected = expected_axial_vectors(near, tensors)
    agreed = agreement(axial_vectors(tensors), expected if prediction is None else axial_vectors(prediction))
    findings = [
        *rules.check_zero(index, atoms, tensors),
        *rules.check_sum_rule(index, atoms, excess, config),
        *rules.check_component(index, atoms, tensors, config),
        *rules.check_symmetry(index, atoms, deviation, config),
    ]
    # A structure that other rules refuse does not count in the verdict on the index order.
    agreed = np.nan if findings else agreed
    return _StructureCheck(
        findings if findings else rules.check_transposition(index, atoms, agreed, config),
        excess,
        float(np.abs(tensors).max()),
        np.nan if deviation is None else deviation,
        agreed,
        fingerprint(index, atoms, near, tensors, expected),
    )


def _is_refused(findings: Sequence[Finding]) -> bool:
    """Return whether one of the findings sets the structure aside."""
    return any(finding.refused for finding in findings)


def _reason(error: InputError) -> str:
    """Return an error's message without the place that it begins with."""
    return unreadable_finding(error).reason


def _measurements(count: int, checked: dict[int, _StructureCheck]) -> Measurements:
    """Collect one value of each kind for each structure, NaN where nothing was measured."""
    nothing = _StructureCheck([])
    values = [checked.get(index, nothing)[1:5] for index in range(count)]
    return Measurements(*np.array(values, dtype=np.float64).reshape(-1, 4).T)
