"""Reproducible metrics: pure functions, one file for each kind of metric."""
