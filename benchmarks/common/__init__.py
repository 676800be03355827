"""What all benchmarks share: clocks, the machine in words, shapes, pictures, tables."""
