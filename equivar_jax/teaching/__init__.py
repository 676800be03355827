"""Teaching: a committee in the form of a polarisation labels frames for a fast network."""

from equivar_jax.teaching.displacements import find_displacements
from equivar_jax.teaching.made_frames import make_frames, mix_frames
from equivar_jax.teaching.pipeline import teach

__all__ = ["find_displacements", "make_frames", "mix_frames", "teach"]
