"""Readers of engines, given damaged files; see `test_fuzz`, whose `EQUIVAR_FUZZ_CASES` counts here as well.

A label that is read has only numbers that stand in the file, or is refused in one line.
"""

import os
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers.damage import damaged
from helpers.damage_engines import CONVERTED, MAKERS, damaged_tokens

from equivar_jax.errors import InputError
from equivar_jax.io import scan_structures
from equivar_jax.structures import born_effective_charges

CASES = int(os.environ.get("EQUIVAR_FUZZ_CASES", "40"))
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
Found = list[Atoms | InputError]


def outcomes(path: Path) -> Found:
    """What the readers yield, ended by the error that ended it; warnings are errors."""
    found: Found = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "Setting the shape on a NumPy array", DeprecationWarning)
        try:
            found.extend(scan_structures(path))
        except InputError as error:
            found.append(error)
    assert found
    return found


def labels_of(path: Path, found: Found) -> dict[str, np.ndarray]:
    """Labels by their source, after each outcome was found to be sound."""
    labels = {}
    for outcome in found:
        if isinstance(outcome, InputError):
            assert len(str(outcome).splitlines()) == 1
            assert str(path.parent) in str(outcome)
            continue
        assert np.isfinite(outcome.positions).all()
        tensors = born_effective_charges(outcome)
        if tensors is not None:
            assert tensors.shape == (len(outcome), 3, 3)
            assert np.isfinite(tensors).all()
            labels[outcome.info["source"]] = tensors
    return labels


def numbers_of(content: bytes) -> set[float]:
    values = {float(word) for word in NUMBER.findall(content.decode("latin-1"))}
    return values | {-value for value in values}  # Elk has the opposite sign


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("damage", [damaged, damaged_tokens], ids=["bytes", "words"])
def test_damage_is_read_as_it_stands_or_refused(tmp_path, kind, damage):
    path = MAKERS[kind](tmp_path)
    whole, counts = path.read_bytes(), Counter()
    original = labels_of(path, outcomes(path))
    known = {value for tensors in original.values() for value in tensors.ravel().tolist()}
    assert original
    for case in range(CASES):
        content = damage(whole, np.random.default_rng([case, len(kind)]))
        path.write_bytes(content)
        found = outcomes(path)
        labels = labels_of(path, found)
        for tensors in labels.values():
            if kind not in CONVERTED:
                strange = set(tensors.ravel().tolist()) - known - numbers_of(content)
                assert not strange, (case, strange)
        counts.update("refused" if isinstance(outcome, InputError) else "read" for outcome in found)
        counts["label"] += len(labels)
        counts["changed label"] += sum(
            not np.array_equal(tensors, original.get(where)) for where, tensors in labels.items()
        )
    print(kind, damage.__name__, CASES, dict(counts))
    assert counts["label"]
    assert counts["refused"]


@pytest.mark.parametrize("kind", sorted(set(MAKERS) - CONVERTED))
def test_a_changed_byte_never_moves_a_number(tmp_path, kind):
    path = MAKERS[kind](tmp_path)
    whole = path.read_bytes()
    original = labels_of(path, outcomes(path))
    seen = 0
    for case in range(CASES):
        rng = np.random.default_rng([case, 1])
        content = bytearray(whole)
        place = int(rng.integers(len(content)))
        # Every second digit becomes another one: anything else leaves most of these files unreadable.
        is_digit = chr(content[place]).isdigit() and case % 2
        content[place] = rng.integers(*((48, 58) if is_digit else (32, 127)))
        path.write_bytes(content)
        for where, tensors in labels_of(path, outcomes(path)).items():
            if where in original:
                assert (tensors != original[where]).sum() <= 1
                seen += 1
    assert seen
