"""Physics with Born effective charges: dynamics in a field, polarisation, spectra, LO-TO splitting.

Functions take tensors (N, 3, 3) in e with index order [atom, field, displacement]. Where the tensors change
along a path, they take a function from `ase.Atoms` to such tensors, for example `predict` of a loaded model.
"""

from pathlib import Path

__path__ = [*__path__, str(Path(__file__).parents[1] / "old_places" / "response")]  # see `forwarded`
