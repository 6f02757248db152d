"""`report.html`: a dataset that a person can look at, in one file that opens anywhere."""

from tpbench.extraction.report.page import write_report

__all__ = ["write_report"]
