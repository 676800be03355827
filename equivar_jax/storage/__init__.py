"""Memory-mapped columns on disk, and structures kept in them: very many structures open at once."""

from equivar_jax.storage.store import Columns, ColumnWriter, open_columns, piece_starts
from equivar_jax.storage.structure_table import StructureTable, cached_table

__all__ = [
    "ColumnWriter",
    "Columns",
    "StructureTable",
    "cached_table",
    "open_columns",
    "piece_starts",
]
