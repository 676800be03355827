"""Accuracy by the protocols of the paper: `python -m benchmarks.accuracy PROTOCOL`."""
