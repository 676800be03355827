"""Everything about a GPU, measured by one command in eight minutes: `python -m benchmarks.gpu`."""
