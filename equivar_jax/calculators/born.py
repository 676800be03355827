"""The network as an ASE calculator, made for trajectories."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import jraph
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from jaxtyping import Int

from equivar_jax.calculators.field import changes
from equivar_jax.calculators.skin import SkinList
from equivar_jax.graphs.batch import Sample, collate
from equivar_jax.graphs.graph import neighbour_counts
from equivar_jax.graphs.packing import EDGE_MULTIPLE, NODE_MULTIPLE, Budget
from equivar_jax.prediction.batches import LARGE
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.members import Moments, mean_and_spread
from equivar_jax.prediction.predictor import Prediction, Predictor
from equivar_jax.structures import BEC
from equivar_jax.uncertainty.domain import DomainWarning

ROOM = 1.2
"""Edges that a batch holds over those at hand, so that a trajectory is compiled for once."""


class EquivarCalculator(Calculator):
    """ASE's property `born_effective_charges`: float64 (N, 3, 3) in e, [atom, field, displacement].

    The numbers of `Predictor.predict`, to the rounding of the network's precision, at less cost along a
    trajectory: neighbours are kept with a skin, and one compiled batch shape serves until it is too small.
    The tensors sum to the net charge of the cell, `atoms.info["charge"]`. For tensors that are continuous in
    the positions the network needs its envelope (`--model.envelope True` in training).

    Args:
        model: What `equivar_jax.load` returns, or the run directory; None takes the weights of the package.
            Of a committee one network, `load(member=0)`, is as many times faster as it has members.
        skin: Of the neighbour list in Å (see `SkinList`).
        allow_unseen: Only warn about elements that the training data did not have.

    Raises:
        InputError: what `load` and `SkinList` refuse; when it calculates, what `Predictor.predict` refuses.
    """

    implemented_properties = [BEC]  # noqa: RUF012 (as ASE has it)

    def __init__(
        self, model: Predictor | str | Path | None = None, skin: float = 1.0, allow_unseen: bool = False
    ):
        super().__init__()
        self.model = model if isinstance(model, Predictor) else load(model)
        self.allow_unseen = allow_unseen
        self.neighbours = SkinList(self.model.model.config.cutoff, skin)
        self._budget: Budget | None = None
        self._warned: set[type[UserWarning]] = set()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation, the net charge included."""
        return changes(self.atoms, atoms, tol)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = (BEC,),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results`."""
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None  # ASE's base class has set it
        graph = self.neighbours.graph(self.atoms)
        self._warn(self.model.remarks(self.atoms, graph, self.allow_unseen))
        moments = self._moments(graph, neighbour_counts(graph))
        found = Prediction.of(moments, float(graph.globals["charge"][0]))
        self._warn(self.model.doubts(self.atoms, found))
        self.results = {BEC: found.tensors}

    def _moments(self, graph: jraph.GraphsTuple, counts: Int[np.ndarray, " atoms"]) -> Moments:
        """Mean and spread of the networks, before the sum rule."""
        if len(counts) > LARGE:
            return self.model.layer_by_layer(graph)
        batch = collate([Sample(graph, None)], self._room(counts), self.model.dtype)
        return mean_and_spread(self.model.raw(batch.graph)[:, : len(counts)])

    def _warn(self, remarks: Sequence[UserWarning]) -> None:
        """That a trajectory is outside the training data is said once for each way in which it is."""
        for remark in remarks:
            if type(remark) not in self._warned:
                warnings.warn(remark, stacklevel=3)
            if isinstance(remark, DomainWarning):
                self._warned.add(type(remark))

    def _room(self, counts: Int[np.ndarray, " atoms"]) -> Budget:
        """The batch shape of the calculation before, or a larger one where that is too small."""
        edges, most, budget = int(counts.sum()), int(counts.max()), self._budget
        nodes = NODE_MULTIPLE * math.ceil((len(counts) + 1) / NODE_MULTIPLE)
        dense = self.model.dense
        if (
            budget is None
            or budget.nodes != nodes
            or budget.edges < edges
            or (dense and budget.neighbours < most)
        ):
            width = max(1, math.ceil(ROOM * most)) if dense else 0
            room = EDGE_MULTIPLE * max(1, math.ceil(ROOM * edges / EDGE_MULTIPLE))
            self._budget = budget = Budget(nodes, room, width, 2)
        return budget
