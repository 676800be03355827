"""Born effective charges of structures: `load(RUN).predict(atoms)`, and `python -m equivar_jax.predict`."""

import dataclasses
import functools
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import jax
import jraph
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from jaxtyping import Float
from tqdm import tqdm

from equivar_jax.batch import Batch, Sample, collate, prefetch
from equivar_jax.checkpoint import Metadata, check_parameters, read_checkpoint
from equivar_jax.cli import OptionParser
from equivar_jax.errors import InputError, exit_on_input_error
from equivar_jax.graph import build_graph, neighbour_counts
from equivar_jax.io import check_output
from equivar_jax.kernels import needs_slots
from equivar_jax.layerwise import tensors_layer_by_layer
from equivar_jax.model import Equivar
from equivar_jax.packing import Budget
from equivar_jax.prediction_batches import BATCH_NODES, LARGE, prediction_batches
from equivar_jax.runtime import enable_compilation_cache
from equivar_jax.structures import source

WINDOW_ATOMS = 16 * BATCH_NODES
"""Structures whose graphs are built together."""
_Joined = tuple[list[int], Batch]  # places of samples, and the batch made of them


class IsolatedAtomWarning(UserWarning):
    """An atom has no neighbour within the cutoff."""


class UnseenElementWarning(UserWarning):
    """An element did not occur in the training data, and its tensors mean nothing."""


class Prediction(NamedTuple):
    """Tensors of one structure."""

    tensors: Float[np.ndarray, "atoms 3 3"]
    """[atom, field, displacement] in e; the sum rule holds to 1e-8 e."""
    raw: Float[np.ndarray, "atoms 3 3"]
    """The same before the sum rule was applied."""


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A trained network. `model.apply` and `params` are the pure function for JAX pipelines."""

    model: Equivar
    params: dict
    metadata: Metadata

    @overload
    def predict(self, structures: Atoms, *, allow_unseen: bool = False) -> Float[np.ndarray, "atoms 3 3"]: ...

    @overload
    def predict(
        self, structures: Sequence[Atoms], *, allow_unseen: bool = False
    ) -> list[Float[np.ndarray, "atoms 3 3"]]: ...

    def predict(self, structures, *, allow_unseen=False):
        """Born effective charges of a structure, or of each of a list.

        Args:
            structures: `ase.Atoms`, or a sequence of them; `info["charge"]` is the net charge of a cell in e.
            allow_unseen: Only warn about elements that the training data did not have.

        Returns:
            float64 (N, 3, 3) in e, [atom, field direction, displacement direction]; a list for a list. The
            sum over atoms is the net charge times the identity within 1e-8 e.

        Raises:
            InputError: a structure that cannot be used, or an element the model has never seen.
        """
        if isinstance(structures, Atoms):
            return self.predict([structures], allow_unseen=allow_unseen)[0]
        return [found.tensors for found in self.predictions(structures, allow_unseen=allow_unseen)]

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
        total = sum(map(len, structures))
        hidden = not progress or len(structures) == 1
        with tqdm(total=total, unit="atom", unit_scale=True, disable=hidden, delay=0.5) as bar:
            # Batches of a window are made while the network works on the one before.
            for samples, remarks, batches in prefetch(prepare, list(_windows(structures)), ahead=1):
                for remark in remarks:
                    warnings.warn(remark, stacklevel=3)
                found += self._predict(samples, batches, progress, bar.update)
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
        return remarks

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

        def keep(k: int, raw: np.ndarray) -> None:
            found[k] = Prediction(with_sum_rule(raw, float(samples[k].graph.globals["charge"][0])), raw)

        for members, batch in batches:
            raw = np.asarray(apply(self.model, self.params, batch.graph), np.float64)
            sizes = batch.graph.n_node[: len(members)]
            for k, tensors in zip(members, np.split(raw, np.cumsum(sizes)), strict=False):
                keep(k, tensors)
            advance(int(sizes.sum()))
        for k, sample in enumerate(samples):
            if len(sample.graph.nodes["species"]) > LARGE:
                keep(k, tensors_layer_by_layer(self.model, self.params, sample.graph, progress=progress))
                advance(len(sample.graph.nodes["species"]))
        return [prediction for prediction in found if prediction is not None]

    @property
    def dense(self) -> bool:
        """Whether batches need slots (see `Budget`)."""
        return needs_slots(self.model.config.kernel, self.model.config.channels, self.dtype)

    @property
    def dtype(self) -> type[np.floating]:
        """Precision of the weights, and so of the network."""
        return jax.tree.leaves(self.params)[0].dtype.type

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


def load(location: str | Path, dtype: str = "float32") -> Predictor:
    """The best model of a run directory (or of one checkpoint folder).

    Args:
        location: What `equivar_jax.train` wrote.
        dtype: Precision of the computation; "float64" needs `jax.config.update("jax_enable_x64", True)`.

    Raises:
        InputError: no readable checkpoint of this architecture there, or float64 without 64 bits in JAX.
    """
    if jax.dtypes.canonicalize_dtype(dtype) != np.dtype(dtype):
        raise InputError('float64 needs jax.config.update("jax_enable_x64", True) before the model is loaded')
    state, metadata = read_checkpoint(location)
    model = Equivar(metadata.config.model)
    tiny = collate([Sample(build_graph(Atoms("H"), 1.0), None)], Budget(8, 8, 1, 2))
    expected = jax.eval_shape(model.init, jax.random.key(0), tiny.graph)
    check_parameters(state["params"], expected, str(location))
    params = jax.tree.map(lambda leaf: jax.numpy.asarray(leaf, dtype), state["params"])
    return Predictor(model, params, metadata)


@functools.partial(jax.jit, static_argnums=0)
def apply(model: Equivar, params, graph):
    """One compilation for a network and batch shape, whoever holds the network."""
    return model.apply(params, graph)


def _windows(structures: Sequence[Atoms]) -> Iterator[Sequence[Atoms]]:
    """Runs of structures that make several batches each."""
    ends = np.cumsum([len(atoms) for atoms in structures]) // WINDOW_ATOMS
    starts = np.flatnonzero(np.diff(ends, prepend=-1)).tolist()
    for start, stop in itertools.pairwise([*starts, len(structures)]):
        yield structures[start:stop]


def with_sum_rule(tensors: Float[np.ndarray, "atoms 3 3"], charge: float) -> Float[np.ndarray, "atoms 3 3"]:
    """`tensor.apply_sum_rule` for one structure in float64, whatever the precision of the model."""
    return tensors - (tensors.sum(axis=0) - charge * np.eye(3)) / len(tensors)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read structures, predict and write, few or very many."""
    # These are made of what this module defines.
    from equivar_jax.sweep import sweep
    from equivar_jax.sweep_inputs import input_files

    parser = OptionParser(prog="python -m equivar_jax.predict", description=__doc__)
    parser.add_argument(
        "inputs",
        nargs="+",
        help="structure files (CIF, POSCAR, extxyz, anything ASE reads), folders, patterns",
    )
    parser.add_argument("--checkpoint", required=True, help="run directory of the trained model")
    parser.add_argument(
        "-o", "--output", required=True, help=".csv (one atom a line), .extxyz, .db, .traj or BORN"
    )
    parser.add_argument(
        "--allow-unseen", action="store_true", help="only warn about elements never trained on"
    )
    parser.add_argument(
        "--restart", action="store_true", help="begin anew where an interrupted run would go on"
    )
    with exit_on_input_error():
        options = parser.parse_args(arguments)
        enable_compilation_cache()
        check_output(options.output)
        files = input_files(options.inputs, Path(options.output))
        predictor = load(options.checkpoint)
        interrupted = sweep(
            predictor,
            files,
            Path(options.output),
            allow_unseen=options.allow_unseen,
            restart=options.restart,
        )
        if interrupted is not None:
            raise SystemExit(128 + interrupted)


if __name__ == "__main__":
    main()
