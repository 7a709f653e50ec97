"""Whether a node stays what it was while its mesh comes and goes: `python -m tests.churn` (docs/benchmarks.md)."""
