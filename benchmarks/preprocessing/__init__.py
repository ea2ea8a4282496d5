"""Benchmarks of preprocessing: speed, memory, accuracy, damaged files. See `python -m benchmarks.preprocessing -h`."""
