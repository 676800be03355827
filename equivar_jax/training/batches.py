"""Batches of a run: whole for one device, in parts on several, with the same structures in either case."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from equivar_jax.graphs.batch import Batch, Sample, collate
from equivar_jax.graphs.packing import Budget, GraphSizes
from equivar_jax.graphs.parts import divide, fits
from equivar_jax.training.devices import Devices


@dataclass(frozen=True)
class BatchMaker:
    """Builds batches of some structures."""

    samples: Sequence[Sample]
    sizes: GraphSizes
    """Of the samples."""
    budgets: tuple[Budget, ...]
    """Shapes of whole batches."""
    devices: Devices | None
    """The devices that share each batch; None for a single one."""
    part_budgets: tuple[Budget, ...]
    """For each of `budgets` the usual shape of the part of a device."""

    def count_atoms(self, batch: tuple[int, list[int]]) -> int:
        """Count the atoms of a batch, given by the number of its budget and its structures."""
        return int(self.sizes.atoms[batch[1]].sum())

    def whole(self, batch: tuple[int, list[int]], displacements: np.ndarray | None = None) -> Batch:
        """Build a batch as a whole, in NumPy; see `make`."""
        bucket, members = batch
        return self._collate(members, self.budgets[bucket], displacements)

    def make(
        self, batch: tuple[int, list[int]], displacements: Float[np.ndarray, "atoms 3"] | None = None
    ) -> Batch:
        """Build a batch for the compiled functions; on several devices its parts are put there.

        If some part does not fit into the usual shape, all have the shape of the whole batch.

        Args:
            batch: Number of its budget, and its structures.
            displacements: Of the atoms, one structure after the other, in Å; there may be more than atoms.
        """
        if self.devices is None:
            return self.whole(batch, displacements)
        bucket, members = batch
        parts = divide(self.sizes, members, self.devices.count)
        usual = self.part_budgets[bucket]
        all_fit = all(fits(self.sizes, [members[k] for k in part], usual) for part in parts)
        budget = usual if all_fit else self.budgets[bucket]
        ends = np.cumsum(self.sizes.atoms[members])
        own = []
        for part in (parts[k] for k in self.devices.own):
            moved = None
            if displacements is not None:
                rows = [np.arange(ends[k] - self.sizes.atoms[members[k]], ends[k]) for k in part]
                moved = displacements[np.concatenate([np.zeros(0, int), *rows])]
            own.append(self._collate([members[k] for k in part], budget, moved))
        return self.devices.place(own)

    def _collate(self, members: Sequence[int], budget: Budget, displacements: np.ndarray | None) -> Batch:
        batch = collate([self.samples[k] for k in members], budget)
        if displacements is None:
            return batch
        graph = batch.graph
        moved = np.zeros((budget.nodes, 3))
        moved[: len(displacements)] = displacements[: budget.nodes]
        vectors = graph.edges["vectors"]
        # Edges of padding stay as long as they are: they lead from a node to itself.
        vectors = vectors + (moved[graph.senders] - moved[graph.receivers]).astype(vectors.dtype)
        return batch._replace(graph=graph._replace(edges={**graph.edges, "vectors": vectors}))
