"""What all benchmarks share: clocks, a description of the machine, structures, pictures, tables."""
