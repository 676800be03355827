"""Graphs of structures, and padded batches of them: `ase.Atoms` in, `jraph.GraphsTuple` in NumPy out."""

from equivar_jax.graphs.batch import Batch, Sample, collate, graph_of, prefetch
from equivar_jax.graphs.graph import build_graph, neighbour_counts
from equivar_jax.graphs.graph_table import SampleTable, cached_samples
from equivar_jax.graphs.packing import Budget, GraphSizes, epoch_batches, pack, plan_budgets

__all__ = [
    "Batch",
    "Budget",
    "GraphSizes",
    "Sample",
    "SampleTable",
    "build_graph",
    "cached_samples",
    "collate",
    "epoch_batches",
    "graph_of",
    "neighbour_counts",
    "pack",
    "plan_budgets",
    "prefetch",
]
