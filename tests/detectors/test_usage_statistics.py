from __future__ import annotations

import os

import pytest

from tpbench.detectors.mediapipe_tasks import no_usage_statistics, send_no_usage_statistics


def test_the_way_out_is_closed_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    monkeypatch.delenv("HTTPS_PROXY", raising=False)

    with no_usage_statistics():
        assert os.environ["https_proxy"] == os.environ["HTTPS_PROXY"] == "http://127.0.0.1:9"

    assert os.environ["https_proxy"] == "http://proxy:3128"
    assert "HTTPS_PROXY" not in os.environ


def test_it_is_opened_again_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("https_proxy", raising=False)

    with pytest.raises(RuntimeError), no_usage_statistics():
        raise RuntimeError

    assert "https_proxy" not in os.environ


def test_a_worker_closes_it_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://proxy:3128")

    send_no_usage_statistics()

    assert os.environ["https_proxy"] == os.environ["HTTPS_PROXY"] == "http://127.0.0.1:9"
