"""Prediction by the C++ form of the networks (see `kernels.whole_network`): on a CPU, without JAX."""

import functools
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float, Int

from equivar_jax.config.schema import ModelConfig
from equivar_jax.graphs.batch import Sample
from equivar_jax.kernels.compiler import NotCompiledError
from equivar_jax.kernels.whole_network import (
    LastFeatures,
    Structures,
    Tape,
    Watch,
    fills_vectors,
    is_small,
    reason_unavailable,
    run,
    run_polarisation,
    thread_count,
)
from equivar_jax.network.compiled import write_tape
from equivar_jax.prediction.members import Prediction, mean_and_spread, predictions_of
from equivar_jax.progress import ProgressBar
from equivar_jax.uncertainty.features import FeatureDomain

ATOMS_AT_ONCE = {"direct": 4096, "polarisation": 1024}
"""Structures are computed together up to about this many atoms, by the form of the network."""
LARGE = 16384
"""A structure of more atoms shows its progress, can be interrupted, and has its members accumulated."""
_POLL_SECONDS = 0.2
_PASSES = {"direct": 1, "polarisation": 4}  # an interaction backwards is counted thrice


class NetworksInCpp:
    """The networks of a checkpoint in C++.

    Args:
        config: The network.
        members: Weights of each network.
        dtype: Precision of the computation.
        features: What the last features of the training data of each network were like; none if not known.
    """

    def __init__(
        self,
        config: ModelConfig,
        members: Sequence[dict],
        dtype: np.dtype,
        features: Sequence[FeatureDomain] = (),
    ):
        self.form = config.form
        self._passes = _PASSES[config.form] * config.interactions
        self._element_charges: Float[np.ndarray, "members species"] | None = None
        if config.form == "polarisation":
            tables = [weights["params"]["element_charge"] for weights in members]
            self._element_charges = np.array(tables, np.float64)
        self.known = [one.written_down(config.species, dtype) for one in features]
        self._threads: tuple[int, ThreadPoolExecutor | None] = (0, None)
        self.tapes: tuple[Tape, ...] = tuple(write_tape(config, weights, dtype) for weights in members)

    def stage(self, samples: Sequence[Sample]) -> list[tuple[list[int], Structures]]:
        """Join samples to batches; another thread may do this ahead of `run`."""
        groups: list[list[int]] = []
        room = 0
        for k, sample in enumerate(samples):
            atoms = len(sample.graph.nodes["species"])
            if room < atoms:
                groups.append([])
                room = ATOMS_AT_ONCE[self.form]
            groups[-1].append(k)
            room -= atoms
        return [(group, structures_of([samples[k] for k in group])) for group in groups]

    def run(
        self,
        samples: Sequence[Sample],
        staged: Iterable[tuple[list[int], Structures]],
        progress: bool,
        advance: Callable[[int], object],
    ) -> list[Prediction]:
        """Predict samples that were staged; see `Predictor.predict_samples`."""
        found: list[Prediction] = []
        for group, structures in staged:
            charges = [float(samples[k].graph.globals["charge"][0]) for k in group]
            sizes = [len(samples[k].graph.nodes["species"]) for k in group]
            wanted = self._wanted(structures)
            added = self._charges(structures.species, sizes, charges)
            if len(structures.species) > LARGE:
                each = self._tensors_of_each(structures, wanted, progress)
                if added is not None:
                    each = map(_add_charges, each, added)
                moments = mean_and_spread(each, len(self.tapes))
                far = self._distances(wanted)
                found.append(Prediction.of(moments, charges[0], None if far is None else far.mean(axis=0)))
            else:
                raw = _add_charges(self._tensors(structures, wanted), added)
                found += predictions_of(raw, sizes, charges, self._distances(wanted))
            advance(len(structures.species))
        return found

    def dielectric(self, samples: Sequence[Sample]) -> Float[np.ndarray, "members structures 3 3"]:
        """Compute the mean over the atoms of the dielectric readout, for each network and structure."""
        means = []
        for group, structures in self.stage(samples):
            sizes = np.array([len(samples[k].graph.nodes["species"]) for k in group])
            atomic = np.stack([_not_none(run(tape, structures, dielectric=True)[1]) for tape in self.tapes])
            sums = np.add.reduceat(atomic, np.cumsum(sizes) - sizes, axis=1)
            means.append(sums / sizes[:, None, None])
        return np.concatenate(means, axis=1)

    def dipoles(
        self, samples: Sequence[Sample], staged: Iterable[tuple[list[int], Structures]]
    ) -> list[Float[np.ndarray, "members atoms 3"]]:
        """Compute the dipoles of the atoms in e Å, of a network in the form of a polarisation."""
        found: list[np.ndarray] = []
        for group, structures in staged:
            each = [run_polarisation(tape, structures, tensors=False)[1] for tape in self.tapes]
            ends = np.cumsum([len(samples[k].graph.nodes["species"]) for k in group])
            found += np.split(np.stack(each), ends[:-1], axis=1)
        return found

    def _charges(
        self, species: Int[np.ndarray, " nodes"], sizes: Sequence[int], charges: Sequence[float]
    ) -> Float[np.ndarray, "members nodes"] | None:
        """Return what each network adds to the diagonal of the tensors that the C++ functions give, in e.

        These are charges of the elements, shifted so that they sum up to the net charge of each structure.
        """
        if self._element_charges is None:
            return None
        own, counts = self._element_charges[:, species], np.asarray(sizes)
        excess = np.add.reduceat(own, np.cumsum(counts) - counts, axis=1) - np.asarray(charges)
        return own - np.repeat(excess / counts, counts, axis=1)

    def _wanted(self, structures: Structures) -> list[LastFeatures]:
        """Return for each network what it shall compute beside the tensors."""
        if not self.known:
            return [LastFeatures()] * len(self.tapes)
        return [LastFeatures(known, np.empty(len(structures.species))) for known in self.known]

    def _distances(self, wanted: Sequence[LastFeatures]) -> Float[np.ndarray, "members nodes"] | None:
        """Return the distances that were computed, or None."""
        return np.stack([_not_none(one.distances) for one in wanted]) if self.known else None

    def _tensors(
        self, structures: Structures, wanted: Sequence[LastFeatures]
    ) -> Float[np.ndarray, "members nodes 3 3"]:
        """Compute the tensors by each network; of a few atoms by several at a time, a thread each."""

        def compute(tape: Tape, wish: LastFeatures) -> Float[np.ndarray, "nodes 3 3"]:
            return self._run(tape, structures, wish)

        if len(self.tapes) == 1:
            return compute(self.tapes[0], wanted[0])[None]
        if is_small(structures):
            return np.stack(list(self._pool().map(compute, self.tapes, wanted)))
        return np.stack(list(map(compute, self.tapes, wanted)))

    def _run(
        self, tape: Tape, structures: Structures, wanted: LastFeatures, watch: Watch | None = None
    ) -> Float[np.ndarray, "nodes 3 3"]:
        """Compute the tensors by one network, of a polarisation without the charges."""
        compute = run_polarisation if self.form == "polarisation" else run
        return _not_none(compute(tape, structures, watch=watch, wanted=wanted)[0])

    def _pool(self) -> ThreadPoolExecutor:
        """Return the threads of this process; those of a parent do not come along with a fork."""
        process, pool = self._threads
        if pool is None or process != os.getpid():
            pool = ThreadPoolExecutor(min(len(self.tapes), thread_count()))
            self._threads = os.getpid(), pool
        return pool

    def _tensors_of_each(
        self, structures: Structures, wanted: Sequence[LastFeatures], progress: bool
    ) -> Iterable[Float[np.ndarray, "atoms 3 3"]]:
        """Compute the tensors of a large structure by each network, one after the other."""
        for tape, wish in zip(self.tapes, wanted, strict=True):
            compute = functools.partial(self._run, tape, structures, wish)
            yield _run_watched(compute, self._passes * len(structures.species), progress)


def why_not_in_cpp(config: ModelConfig, dtype: np.dtype) -> str | None:
    """Return why the C++ form of a network cannot be used here, or None if it can.

    Args:
        config: The network.
        dtype: Precision of the computation.
    """
    if config.kernel not in ("auto", "native"):
        return f"the kernel is {config.kernel}"
    if not fills_vectors(config.channels, dtype):
        return f"{config.channels} channels of {dtype} do not fill the vectors of a processor"
    if config.kernel == "auto" and not runs_on_cpu():
        return "JAX has another device than a CPU"
    return reason_unavailable()


def runs_on_cpu() -> bool:
    """Return whether JAX's device is a CPU, asking JAX only if it could be another one."""
    if "jax" not in sys.modules:
        if os.environ.get("JAX_PLATFORMS", "") == "cpu":
            return True
        if not any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu")):
            return True
    import jax

    return jax.default_backend() == "cpu"


def structures_of(samples: Sequence[Sample]) -> Structures:
    """Join the graphs of samples for the C++ functions."""
    graphs = [sample.graph for sample in samples]
    return Structures.join(
        [graph.nodes["species"] for graph in graphs],
        [graph.senders for graph in graphs],
        [graph.receivers for graph in graphs],
        [graph.edges["vectors"] for graph in graphs],
    )


def _add_charges(
    tensors: Float[np.ndarray, "*members nodes 3 3"], charges: Float[np.ndarray, "*members nodes"] | None
) -> Float[np.ndarray, "*members nodes 3 3"]:
    """Add charges, if there are any, to the diagonals of tensors."""
    return tensors if charges is None else tensors + charges[..., None, None] * np.eye(3)


def _run_watched(
    compute: Callable[[Watch], Float[np.ndarray, "atoms 3 3"]], total: int, progress: bool
) -> Float[np.ndarray, "atoms 3 3"]:
    """Run a network in a thread; show how far it is, and stop it on an interruption.

    Args:
        compute: The call, which counts the nodes that are done in what it is given.
        total: How many that will be.
        progress: Show a bar.
    """
    watch = Watch()
    outcome: list[np.ndarray | Exception] = []

    def work() -> None:
        try:
            outcome.append(compute(watch))
        except (NotCompiledError, MemoryError) as error:
            outcome.append(error)

    worker = threading.Thread(target=work)
    with ProgressBar(total=total, unit="atom", unit_scale=True, disable=not progress) as bar:
        worker.start()
        try:
            while True:
                worker.join(_POLL_SECONDS)
                bar.update(watch.done - bar.n)
                if not worker.is_alive():
                    break
        finally:
            watch.stop = 1  # no more than a wish if it is done already
            worker.join()
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _not_none(array: np.ndarray | None) -> np.ndarray:
    assert array is not None
    return array
