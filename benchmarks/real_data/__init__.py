"""Accuracy on real DFPT data, and the training of the weights of the package."""
