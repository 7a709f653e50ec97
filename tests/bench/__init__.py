"""What demesh costs: `python -m tests.bench` measures it and prints a table (docs/benchmarks.md)."""
