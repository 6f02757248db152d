"""Runs: clips that models generated from a dataset, scored, compared and published.

`benchmark` is the only package that depends on datasets, generators and metrics at once.
"""
