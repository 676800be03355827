"""Data sets: load files as the two parts of a run; the demonstration set; the textbook table."""

from equivar_jax.datasets.demonstration import demonstration_set
from equivar_jax.datasets.load import (
    Dataset,
    LabelledStructures,
    load_dataset,
    load_structures,
    make_samples,
    read_labelled,
)
from equivar_jax.datasets.splits import split

__all__ = [
    "Dataset",
    "LabelledStructures",
    "demonstration_set",
    "load_dataset",
    "load_structures",
    "make_samples",
    "read_labelled",
    "split",
]
