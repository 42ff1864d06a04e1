"""Benchmarks that measure speeds as ratios: contestants take turns, and their medians are compared."""
