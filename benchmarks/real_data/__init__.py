"""Accuracy on real DFPT data, and the weights of the package."""
