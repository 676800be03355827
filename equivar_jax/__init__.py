"""Born effective charges from a crystal structure: the Equivar network in JAX."""
