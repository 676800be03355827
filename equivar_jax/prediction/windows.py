"""Windows: runs of structures whose graphs are built together, ahead of the network."""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

from equivar_jax.graphs.batch import Sample, prefetch
from equivar_jax.prediction.members import Networks, Prediction
from equivar_jax.prediction.trained_model import TrainedModel
from equivar_jax.progress import ProgressBar
from equivar_jax.uncertainty.domain import DomainWarning, gather_warnings

if TYPE_CHECKING:  # brings JAX along
    from equivar_jax.prediction.giant import NetworksOnDevices

WINDOW_ATOMS = 4096
"""Graphs are built together for structures of about this many atoms in all."""


def split_into_windows(structures: Sequence[Atoms]) -> Iterator[Sequence[Atoms]]:
    """Cut a sequence into runs of about `WINDOW_ATOMS` atoms, each of which makes several batches."""
    if len(structures) == 1:  # the usual case takes no time
        yield structures
        return
    ends = np.cumsum([len(atoms) for atoms in structures]) // WINDOW_ATOMS
    starts = np.flatnonzero(np.diff(ends, prepend=-1)).tolist()
    for start, stop in itertools.pairwise([*starts, len(structures)]):
        yield structures[start:stop]


def predict_in_windows(
    predictor: TrainedModel,
    networks: "Networks | NetworksOnDevices",
    structures: Sequence[Atoms],
    allow_unseen: bool,
    progress: bool,
) -> list[Prediction]:
    """Predict structures whose elements were checked, and emit their warnings; see `Predictor.predictions`.

    Those about the domain of the training data come in the end, gathered to one of a kind.

    Args:
        predictor: What prepares structures, and knows what to warn of.
        networks: Those of the predictor, which compute the tensors.
        structures: The structures.
        allow_unseen: Only warn about elements that did not occur in the training data.
        progress: Show a progress bar, unless there is only one structure.
    """

    def prepare(window: Sequence[Atoms]) -> tuple[list[Sample], list[UserWarning], Any]:
        prepared = [predictor.prepare(atoms, allow_unseen=allow_unseen) for atoms in window]
        samples = [sample for sample, _ in prepared]
        remarks = [remark for _, own in prepared for remark in own]
        return samples, remarks, networks.stage(samples) if isinstance(networks, Networks) else window

    found: list[Prediction] = []
    outside: list[DomainWarning] = []
    windows = list(split_into_windows(structures))
    # The batches of a window are made while the network works on the window before it.
    ready = prefetch(prepare, windows, ahead=1) if len(windows) > 1 else map(prepare, windows)
    with _progress_of(structures, progress and len(structures) > 1) as advance:
        for samples, remarks, staged in ready:
            outside += [remark for remark in remarks if isinstance(remark, DomainWarning)]
            for remark in remarks:
                if not isinstance(remark, DomainWarning):
                    warnings.warn(remark, stacklevel=4)
            found += networks.run(samples, staged, progress, advance)
    for atoms, prediction in zip(structures, found, strict=True):
        outside += predictor.prediction_warnings(atoms, prediction)
    for warning in gather_warnings(outside, len(structures)):
        warnings.warn(warning, stacklevel=4)
    return found


@contextlib.contextmanager
def _progress_of(structures: Sequence[Atoms], is_shown: bool) -> Iterator[Callable[[int], object]]:
    """Show a bar of atoms if it is wanted; give the function that advances it."""
    if not is_shown:
        yield lambda _: None
        return
    with ProgressBar(total=sum(map(len, structures)), unit="atom", unit_scale=True, delay=0.5) as bar:
        yield bar.update
