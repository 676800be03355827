"""Columns on disk, memory-mapped: many structures opened at once."""

from equivar_jax.storage.store import Columns, ColumnWriter, open_columns, ragged
from equivar_jax.storage.structure_table import StructureTable, cached_table

__all__ = [
    "ColumnWriter",
    "Columns",
    "StructureTable",
    "cached_table",
    "open_columns",
    "ragged",
]
