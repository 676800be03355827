"""What people do with Born effective charges: fields, polarisation, spectra, LO-TO splitting, dielectrics.

Functions take tensors (N, 3, 3) in e with index order [atom, field, displacement], or, where tensors change
along a path, any function from `ase.Atoms` to them, such as the `predict` of a loaded model.
"""

from pathlib import Path

__path__ = [*__path__, str(Path(__file__).parents[1] / "old_places" / "response")]  # see `forwarded`
