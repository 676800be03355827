"""Accuracy by the protocols of the paper, the result files and their report."""
