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


def test_the_first_part_of_several_names_gets_all_of_them() -> None:
    names = ["tje_d1", "psnr", "tje_d2"]
    assert did_you_mean("TJE", names) == "; did you mean 'tje_d1' or 'tje_d2'?"
    assert did_you_mean("tje_d", names) == "; did you mean 'tje_d2'?"
