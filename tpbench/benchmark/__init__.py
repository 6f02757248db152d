"""Runs: what models made of a dataset, scored, compared and published.

`benchmark` is the only package that knows datasets, generators and metrics alike.
"""
