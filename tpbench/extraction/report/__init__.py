"""`report.html`: a visual summary of a dataset, in one file that opens in any browser.

page.py         what the page shows; page.html.j2 and style.css lay it out
histograms.py   clips by one measurement
samples.py      pictures: frames with skeletons, players, rejected stretches
thresholds.py   what other thresholds would keep; thresholds.js moves the dials

Extraction writes it after every run; `write_report` writes it anew.
"""

from tpbench.extraction.report.page import REPORT_NAME, write_report

__all__ = ["REPORT_NAME", "write_report"]
