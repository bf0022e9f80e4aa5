"""Measured comparisons. ``python -m tests.benchmarks`` prints them; none of them is a test."""
