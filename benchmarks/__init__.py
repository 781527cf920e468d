"""Benchmarks: agreement first, then all candidates interleaved in one process; medians, spread and ratios."""
