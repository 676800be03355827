"""Tensors read out directly, and as derivatives of a polarisation, beside programs that do the latter."""
