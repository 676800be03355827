"""Born effective charges of structures by a loaded network or committee: `Predictor`."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, overload

import jax
import jraph
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float
from tqdm import tqdm

from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Batch, Sample, collate, prefetch
from equivar_jax.graphs.graph import build_graph, neighbour_counts
from equivar_jax.graphs.packing import Budget
from equivar_jax.kernels import needs_slots
from equivar_jax.network.model import Equivar
from equivar_jax.prediction.batches import LARGE, prediction_batches, windows
from equivar_jax.prediction.members import (
    Moments,
    Prediction,
    Uncertain,
    apply,
    mean_and_spread,
    moments_layer_by_layer,
)
from equivar_jax.structures import source
from equivar_jax.uncertainty.calibration import Calibration
from equivar_jax.uncertainty.domain import DomainWarning, gathered
from equivar_jax.weights.checkpoint import Metadata
from equivar_jax.weights.stacking import member_of

_Joined = tuple[list[int], Batch]  # places of samples, and the batch made of them


class IsolatedAtomWarning(UserWarning):
    """An atom has no neighbour within the cutoff."""


class UnseenElementWarning(UserWarning):
    """An element did not occur in the training data, and its tensors mean nothing."""


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained network, or a committee of them, whose mean is predicted.

    `model.apply` and `params` are the pure function for JAX pipelines (of a committee: those of a `member`).
    """

    model: Equivar
    weights: dict
    """Of the network; those of a committee have a leading axis, one entry a member."""
    metadata: Metadata

    @property
    def members(self) -> int:
        """Networks in the committee, or 1."""
        return self.metadata.members

    @property
    def params(self) -> dict:
        """Weights of the network.

        Raises:
            InputError: there is more than one network.
        """
        if self.members > 1:
            raise InputError(
                f"this takes the weights of one network, and the model is a committee of {self.members}; "
                "take one of them: load(..., member=0), or model.member(0)"
            )
        return self.weights

    def member(self, number: int) -> "Predictor":
        """One network of a committee, by its number from 0: faster, without uncertainty.

        Raises:
            InputError: no member of this number.
        """
        if not 0 <= number < self.members:
            raise InputError(f"member={number}: the model has {self.members}; count from 0")
        if self.members == 1:
            return self
        metadata = dataclasses.replace(self.metadata, members=1, calibration=None)
        return Predictor(self.model, member_of(self.weights, number), metadata)

    @property
    def calibration(self) -> Calibration:
        """What makes standard deviations of the spread of the members.

        Raises:
            InputError: there is no committee, or it was not calibrated.
        """
        how = "python -m equivar_jax.committee RUN RUN ... -o FOLDER"
        if self.members == 1:
            raise InputError(
                "uncertainty needs a committee, and the model is one network; train a few with different "
                f"--train.seed and join them: {how}"
            )
        if self.metadata.calibration is None:
            raise InputError(f"uncertainty needs a calibrated committee; join the members anew: {how}")
        return self.metadata.calibration

    @overload
    def predict(
        self, structures: Atoms, *, allow_unseen: bool = False, uncertainty: Literal[False] = False
    ) -> Float[np.ndarray, "atoms 3 3"]: ...

    @overload
    def predict(
        self, structures: Sequence[Atoms], *, allow_unseen: bool = False, uncertainty: Literal[False] = False
    ) -> list[Float[np.ndarray, "atoms 3 3"]]: ...

    @overload
    def predict(
        self, structures: Atoms, *, allow_unseen: bool = False, uncertainty: Literal[True]
    ) -> Uncertain: ...

    @overload
    def predict(
        self, structures: Sequence[Atoms], *, allow_unseen: bool = False, uncertainty: Literal[True]
    ) -> list[Uncertain]: ...

    def predict(self, structures, *, allow_unseen=False, uncertainty=False):
        """Born effective charges of a structure, or of each of a list.

        Args:
            structures: `ase.Atoms`, or a sequence of them; `info["charge"]` is the net charge of a cell in e.
            allow_unseen: Only warn about elements that the training data did not have.
            uncertainty: Return pairs (Z, sigma), sigma the standard deviation of each component in e, of the
                same shape (see `equivar_jax.uncertainty.calibration`); for a calibrated committee.

        Returns:
            float64 (N, 3, 3) in e, [atom, field direction, displacement direction]; a list for a list. The
            sum over atoms is the net charge times the identity within 1e-8 e.

        Raises:
            InputError: a structure that cannot be used, an element the model has never seen, or there is no
                calibrated committee for the uncertainty.
        """
        calibration = self.calibration if uncertainty else None  # before anything is computed
        if isinstance(structures, Atoms):
            return self.predict([structures], allow_unseen=allow_unseen, uncertainty=uncertainty)[0]
        found = self.predictions(structures, allow_unseen=allow_unseen)
        if calibration is None:
            return [prediction.tensors for prediction in found]
        spreads = [prediction.spread for prediction in found if prediction.spread is not None]
        sigmas = map(calibration.sigma, spreads)
        return [(prediction.tensors, sigma) for prediction, sigma in zip(found, sigmas, strict=True)]

    def predictions(
        self, structures: Sequence[Atoms], *, allow_unseen: bool = False, progress: bool = False
    ) -> list[Prediction]:
        """As `predict` for a list, with the tensors before the sum rule beside those after it."""
        for atoms in structures:  # before anything is computed
            self.check_elements(atoms, allow_unseen)

        def prepare(window: Sequence[Atoms]) -> tuple[list[Sample], list[UserWarning], list[_Joined]]:
            prepared = [self.prepare(atoms, allow_unseen=allow_unseen) for atoms in window]
            samples = [sample for sample, _ in prepared]
            remarks = [remark for _, remarks in prepared for remark in remarks]
            return samples, remarks, [self._join(samples, plan) for plan in self._plans(samples)]

        found: list[Prediction] = []
        outside: list[DomainWarning] = []
        total = sum(map(len, structures))
        hidden = not progress or len(structures) == 1
        with tqdm(total=total, unit="atom", unit_scale=True, disable=hidden, delay=0.5) as bar:
            # Batches of a window are made while the network works on the one before.
            for samples, remarks, batches in prefetch(prepare, list(windows(structures)), ahead=1):
                outside += [remark for remark in remarks if isinstance(remark, DomainWarning)]
                for remark in remarks:
                    if not isinstance(remark, DomainWarning):
                        warnings.warn(remark, stacklevel=3)
                found += self._predict(samples, batches, progress, bar.update)
        if self.metadata.calibration is not None:
            for atoms, prediction in zip(structures, found, strict=True):
                outside += self.doubts(atoms, prediction)
        for warning in gathered(outside, len(structures)):
            warnings.warn(warning, stacklevel=3)
        return found

    def prepare(self, atoms: Atoms, *, allow_unseen: bool = False) -> tuple[Sample, list[UserWarning]]:
        """The graph of a structure, and what there is to warn of.

        Raises:
            InputError: a structure that cannot be used, or an element the model has never seen.
        """
        graph = build_graph(atoms, self.model.config.cutoff)
        return Sample(graph, None), self.remarks(atoms, graph, allow_unseen)

    def remarks(self, atoms: Atoms, graph: jraph.GraphsTuple, allow_unseen: bool) -> list[UserWarning]:
        """What there is to warn of in a structure with this graph.

        Raises:
            InputError: an element the model has never seen, if that is not allowed.
        """
        remarks = self.check_elements(atoms, allow_unseen)
        isolated = int(np.sum(neighbour_counts(graph) == 0))
        if isolated:
            message = (
                f"{source(atoms)}: {isolated} atoms have no neighbour within {self.model.config.cutoff} Å"
            )
            remarks.append(IsolatedAtomWarning(message))
        if self.metadata.domain is not None:
            remarks += self.metadata.domain.remarks(atoms, graph)
        return remarks

    def doubts(self, atoms: Atoms, prediction: Prediction) -> list[DomainWarning]:
        """What there is to warn of in the uncertainties of a structure; nothing without a calibration."""
        domain, calibration = self.metadata.domain, self.metadata.calibration
        if domain is None or calibration is None or prediction.spread is None:
            return []
        return domain.doubts(atoms, calibration.sigma(prediction.spread))

    def predictions_of(
        self,
        samples: Sequence[Sample],
        *,
        progress: bool = False,
        advance: Callable[[int], object] = lambda _: None,
    ) -> list[Prediction]:
        """As `predictions`, of prepared structures.

        Args:
            samples: Of `prepare`; their order changes nothing but the order of the result.
            progress: Show a bar for the layers of large structures.
            advance: Called with numbers of atoms, as they are done.
        """
        join = functools.partial(self._join, samples)
        return self._predict(samples, prefetch(join, self._plans(samples)), progress, advance)

    def _plans(self, samples: Sequence[Sample]) -> list[tuple[list[int], Budget]]:
        return list(prediction_batches(samples, self.dense))

    def _join(self, samples: Sequence[Sample], plan: tuple[list[int], Budget]) -> _Joined:
        return plan[0], collate([samples[k] for k in plan[0]], plan[1], self.dtype)

    def _predict(
        self,
        samples: Sequence[Sample],
        batches: Iterable[_Joined],
        progress: bool,
        advance: Callable[[int], object],
    ) -> list[Prediction]:
        """The network on batches of samples, and on those too large for batches."""
        found: list[Prediction | None] = [None] * len(samples)

        def keep(k: int, moments: Moments) -> None:
            found[k] = Prediction.of(moments, float(samples[k].graph.globals["charge"][0]))

        for joined, batch in batches:
            raw = self.raw(batch.graph)
            sizes = batch.graph.n_node[: len(joined)]
            for k, tensors in zip(joined, np.split(raw, np.cumsum(sizes), axis=1), strict=False):
                keep(k, mean_and_spread(tensors))
            advance(int(sizes.sum()))
        for k, sample in enumerate(samples):
            if len(sample.graph.nodes["species"]) > LARGE:
                keep(k, self.layer_by_layer(sample.graph, progress))
                advance(len(sample.graph.nodes["species"]))
        return [prediction for prediction in found if prediction is not None]

    def raw(self, graph: jraph.GraphsTuple) -> Float[np.ndarray, "members nodes 3 3"]:
        """Tensors of the nodes of a batch by each network, before the sum rule, in e."""
        return np.asarray(apply(self.model, self.weights, graph, self.members), np.float64)

    def layer_by_layer(self, graph: jraph.GraphsTuple, progress: bool = False) -> Moments:
        """Mean and spread of a structure too large for `raw`, with bounded memory."""
        return moments_layer_by_layer(self.model, self.weights, self.members, graph, progress)

    @property
    def dense(self) -> bool:
        """Whether batches need slots (see `Budget`)."""
        return needs_slots(self.model.config.kernel, self.model.config.channels, self.dtype)

    @property
    def dtype(self) -> type[np.floating]:
        """Precision of the weights, and so of the network."""
        return jax.tree.leaves(self.weights)[0].dtype.type

    def check_elements(self, atoms: Atoms, allow_unseen: bool) -> list[UserWarning]:
        """What there is to warn of: elements that the training data did not have.

        Raises:
            InputError: there are some, and they are not allowed, or the network has no place for them.
        """
        unseen = sorted(set(atoms.numbers.tolist()) - set(self.metadata.elements))
        if not unseen:
            return []
        names = ", ".join(chemical_symbols[number] for number in unseen if number < len(chemical_symbols))
        message = f"{source(atoms)}: the model has never seen {names}"
        if not allow_unseen or unseen[-1] >= self.model.config.species:
            known = " ".join(chemical_symbols[number] for number in self.metadata.elements)
            raise InputError(f"{message}; it knows {known}; train on such data, or allow it (--allow-unseen)")
        return [UnseenElementWarning(f"{message}; the tensors mean nothing there")]
