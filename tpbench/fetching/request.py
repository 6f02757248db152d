"""What a user asks of `fetch`, how patient it is, and what it found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tpbench.errors import ConfigError
from tpbench.fetching.lists import IdList
from tpbench.fetching.outcomes import FAILED, FetchOutcome
from tpbench.fetching.reasons import Reason
from tpbench.fetching.selection import Licence

_MAX_PAUSE_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """What is to be fetched, and how; the fields are the options of `tpbench fetch`."""

    id_list: Path | str
    """Path or address."""
    out: Path
    """Folder of raw videos."""
    list_sha256: str | None = None
    max_height_px: int = 1080
    rate_limit_mb_s: float | None = None
    pause_s: float = 5.0
    """Between two videos."""
    cookies: Path | None = None
    licence: Licence | None = None
    exclude: Path | None = None
    datasets: Sequence[Path] = ()
    """What was removed from these is not fetched."""
    retry_failed: bool = False
    limit: int | None = None
    """Only the first videos of the list."""

    def __post_init__(self) -> None:
        if self.max_height_px < 1:
            raise ConfigError(f"--max-height must be at least 1 px, got {self.max_height_px}")
        if self.rate_limit_mb_s is not None and not 0 < self.rate_limit_mb_s < math.inf:
            raise ConfigError(f"--rate-limit must be above 0 MB/s, got {self.rate_limit_mb_s:g}")
        if not 0 <= self.pause_s <= _MAX_PAUSE_S:
            raise ConfigError(f"--pause must be 0 to {_MAX_PAUSE_S:g} s, got {self.pause_s:g}")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit must be at least 1, got {self.limit}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long a run waits before it asks again, and when it gives up for today."""

    network_waits_s: tuple[float, ...] = (5.0, 30.0)
    doubt_waits_s: tuple[float, ...] = (60.0,)
    """After a 403, which may concern one video only."""
    block_waits_s: tuple[float, ...] = (60.0, 300.0, 900.0)
    """After a 429, or the question whether we are a bot."""
    retry_s: float = 1.0
    """See `DownloadOptions`."""
    max_doubts: int = 3
    """So many videos refused in a row are a block of the machine."""
    max_unreached: int = 5
    """So many videos not reached in a row are a network that is down."""

    def waits_s(self, reason: Reason) -> tuple[float, ...]:
        """Return the waits before a video is tried again."""
        if reason.is_block:
            return self.block_waits_s
        if reason.may_be_block:
            return self.doubt_waits_s
        return self.network_waits_s if reason.outcome == "network" else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """What a run found and left."""

    id_list: IdList
    outcomes: dict[FetchOutcome, int]
    """How many videos of the list have which, after all runs so far."""
    fetched: int
    """Videos of this run."""
    fetched_bytes: int
    stopped: str | None
    """Why the run ended early."""
    left_files: tuple[str, ...]
    """Files of excluded videos that an earlier run fetched: the user decides about them."""
    table: Path

    @property
    def is_complete(self) -> bool:
        """Whether nothing failed and nothing stopped the run."""
        return self.stopped is None and not FAILED.intersection(self.outcomes)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "list": self.id_list.name,
            "list_sha256": self.id_list.sha256,
            "rows": self.id_list.rows,
            "videos": len(self.id_list.videos),
            "repeated_rows": self.id_list.repeated,
            "outcomes": dict(self.outcomes),
            "fetched": self.fetched,
            "fetched_bytes": self.fetched_bytes,
            "stopped": self.stopped,
            "left_files": list(self.left_files),
            "table": str(self.table),
        }
