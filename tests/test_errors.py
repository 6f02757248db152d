from __future__ import annotations

import pytest

from tpbench.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("psrn", "; did you mean 'psnr'?"),
        ("PSNR", "; did you mean 'psnr'?"),
        ("zzz", "; known: psnr, ssim"),
    ],
)
def test_a_slip_gets_the_closest_name(name: str, hint: str) -> None:
    assert did_you_mean(name, ["ssim", "psnr"]) == hint


def test_the_name_is_given_as_it_is_written() -> None:
    assert did_you_mean("mirror", ["Mirror"]) == "; did you mean 'Mirror'?"
