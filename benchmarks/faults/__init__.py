"""Runs, sweeps and caches when something goes wrong: `python -m benchmarks.faults COMMAND`."""
