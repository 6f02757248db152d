"""A local host, and a patience that does not wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fetching.server import Site, running_site


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A host of videos on this machine."""
    monkeypatch.setenv("no_proxy", "*")
    with running_site() as site:
        yield site
