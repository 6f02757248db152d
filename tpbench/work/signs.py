"""What a driver says of itself while it works: a small file that `tpbench status` reads.

It is written aside and renamed every few seconds, beside the records, under a lock that the driver
holds. It names no machine and no time of day: only how far the run is, and for how long. A driver
that ends says so; one that was killed leaves a number that stands still, as the signs of a lock do
(`tpbench.work.locks`), so the clocks of two machines are never compared.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tpbench.files import atomic_write_text
from tpbench.work.progress import IN_WORK, ProgressCounter
from tpbench.work.records import Record

SIGNS_NAME: Final = ".driver.json"
"""The file in a folder that one driver at a time works in: a run, or scores. Private."""
BEAT_S: Final = 5.0
"""Between two writings."""
MISSED_BEATS: Final = 3
"""A driver that misses so many is told as silent. That stops nobody and takes nothing from it: a
lock is taken over only after twelve signs."""
RECENT_S: Final = 300.0
"""How far "the last minutes" go back."""
_ENOUGH: Final = 8
"""Items that must have been finished in the last minutes, or else the whole run is looked at."""
_MOST_NAMED: Final = 64
"""Items in work that are named; a cluster may have a thousand."""

_LEAST: Final = 1e-3
"""Of a time, s, that a speed is computed from; what is shorter says nothing of it."""
_Count = Annotated[int, Field(ge=0, le=10**15)]
_Seconds = Annotated[float, Field(ge=0, le=1e12)]
"""Thirty thousand years: a file that holds more was not written by a driver."""
_Word = Annotated[str, Field(pattern="^[a-z_]{1,40}$")]

Ending = Literal["", "finished", "interrupted", "stopped"]
"""Empty while it works; stopped: by an error, which it has told its user."""


class ItemInWork(BaseModel):
    """One item that is being processed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    item: str
    """Its name, without folders."""
    for_s: _Seconds


class DriverState(Record):
    """How far one driver is. Durations are by its own clock.

    The limits are those of what a driver can say: a file beyond them is damaged, or made by hand.
    """

    indent = None

    step: _Word
    """The kind of work: "extract", "import", "generate", "score"."""
    part: str = Field(default="", pattern=r"^([0-9]{1,5}/[0-9]{1,5})?$")
    """The shard, as `2/4`; empty: all."""
    start: str = Field(max_length=64)
    """Random: another one each time that a driver is started."""
    beat: _Count
    """Goes up with every writing."""
    every_s: float = Field(ge=0.1, le=60)
    """Between two writings."""
    ending: Ending = ""
    for_s: _Seconds = 0.0
    """Since its items began."""
    total: _Count = 0
    """Items asked for, finished ones included."""
    done: _Count = 0
    """Finished ones, by whatever run, also in vain."""
    counts: dict[_Word, _Count] = Field(default_factory=dict, max_length=64)
    """The finished ones by outcome."""
    frames: _Count = 0
    """Frames that this driver's workers have processed."""
    workers: _Count = 0
    in_work: list[ItemInWork] = Field(default_factory=list, max_length=_MOST_NAMED)
    """The oldest first, at most 64."""
    n_in_work: _Count = 0
    media_done_s: _Seconds | None = None
    """Duration of the finished videos; None: not counted."""
    media_left_s: _Seconds | None = None
    """Of those that are left; None: not known."""
    is_guessed: bool = False
    """Whether some of `media_left_s` is guessed by the size of files."""
    recent_s: _Seconds = 0.0
    """The time that the next three count: the last minutes, or all of a slow run."""
    recent_done: _Count = 0
    recent_frames: _Count = 0
    recent_media_s: _Seconds | None = None

    @property
    def left(self) -> int:
        """Items that are not finished."""
        return max(0, self.total - self.done)

    @property
    def items_per_h(self) -> float | None:
        """Items finished per hour, lately."""
        return self.recent_done / self.recent_s * 3600 if self.recent_s >= _LEAST else None

    @property
    def frames_per_s(self) -> float | None:
        """Frames per second, lately."""
        return self.recent_frames / self.recent_s if self.recent_s >= _LEAST else None

    @property
    def left_s(self) -> float | None:
        """Time left at this speed: by durations where they are known, else by items."""
        if not self.left:
            return 0.0
        if self.recent_s < _LEAST:
            return None
        recent_media_s = self.recent_media_s or 0.0
        if self.media_left_s is not None and recent_media_s >= _LEAST:
            return self.media_left_s / recent_media_s * self.recent_s
        return self.left / self.recent_done * self.recent_s if self.recent_done else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a run is beyond what its progress counts."""

    counts: Mapping[str, int]
    """Finished items by outcome, those of earlier runs included."""
    media_done_s: float | None = None
    """See `DriverState`, as for the next two."""
    media_left_s: float | None = None
    is_guessed: bool = False


@contextmanager
def signs(
    path: Path,
    progress: ProgressCounter,
    *,
    part: str = "",
    workers: int = 0,
    standing: Callable[[], Standing] | None = None,
    tell: Callable[[DriverState], None] | None = None,
) -> Iterator[None]:
    """Give signs of life for the duration of a block.

    Args:
        path: of the file; only one driver at a time writes it.
        progress: of the run.
        part: the shard.
        workers: processes at work.
        standing: called from another thread; None: what the progress counts.
        tell: called with each state, too.
    """
    giver = _Giver(
        path=path,
        progress=progress,
        part=part,
        workers=workers,
        standing=standing or (lambda: _plain(progress)),
        tell=tell or (lambda _: None),
    )
    thread = threading.Thread(target=giver.go_on, name="signs", daemon=True)
    giver.give("")
    thread.start()
    ending: Ending = "stopped"
    try:
        yield
        ending = "finished"
    except KeyboardInterrupt:
        ending = "interrupted"
        raise
    finally:
        giver.ended.set()
        thread.join()
        giver.give(ending)


def _plain(progress: ProgressCounter) -> Standing:
    state = progress.state()
    failed = state.counts.get("failed", 0)
    return Standing(counts={"done": state.done - failed, "failed": failed})


@dataclass(frozen=True, slots=True)
class _Sample:
    at_s: float
    done: int
    """By this driver."""
    frames: int
    media_s: float


@dataclass(kw_only=True)
class _Giver:
    """Writes the states of one driver."""

    path: Path
    progress: ProgressCounter
    part: str
    workers: int
    standing: Callable[[], Standing]
    tell: Callable[[DriverState], None]
    ended: threading.Event = field(default_factory=threading.Event)
    start: str = field(default_factory=lambda: secrets.token_hex(8))
    beat: int = 0
    samples: deque[_Sample] = field(default_factory=deque)
    """Of the last minutes; the first one of the run stays."""

    def go_on(self) -> None:
        """Give a sign every few seconds, until the end."""
        while not self.ended.wait(BEAT_S):
            self.give("")

    def give(self, ending: Ending) -> None:
        """Give one sign."""
        state = self._state(ending)
        self.beat += 1
        self.tell(state)
        # A full disk, a share that is away: the run itself will tell.
        with suppress(OSError):
            atomic_write_text(self.path, state.text(), make_folder=False)

    def _state(self, ending: Ending) -> DriverState:
        now, standing = self.progress.state(), self.standing()
        ages_s = {} if ending else IN_WORK.ages_s()
        media_s = standing.media_done_s or 0.0
        latest = _Sample(time.monotonic(), now.done - now.before, now.frames, media_s)
        first, since = self._since(latest, len(ages_s))
        knows_media = standing.media_done_s is not None
        return DriverState(
            step=now.step,
            part=self.part,
            start=self.start,
            beat=self.beat,
            every_s=BEAT_S,
            ending=ending,
            for_s=latest.at_s - first.at_s,
            total=now.total,
            done=now.done,
            counts=dict(standing.counts),
            frames=now.frames,
            workers=self.workers,
            in_work=[
                ItemInWork(item=PurePosixPath(key).name or key, for_s=age_s)
                for key, age_s in list(ages_s.items())[:_MOST_NAMED]
            ],
            n_in_work=len(ages_s),
            media_done_s=standing.media_done_s,
            media_left_s=standing.media_left_s,
            is_guessed=standing.is_guessed,
            recent_s=latest.at_s - since.at_s,
            recent_done=latest.done - since.done,
            recent_frames=latest.frames - since.frames,
            recent_media_s=max(0.0, latest.media_s - since.media_s) if knows_media else None,
        )

    def _since(self, latest: _Sample, n_in_work: int) -> tuple[_Sample, _Sample]:
        """Return the first sample of the run, and the one that "lately" begins with."""
        samples = self.samples
        samples.append(latest)
        while len(samples) > 2 and latest.at_s - samples[1].at_s > RECENT_S:
            del samples[1]
        first, since = samples[0], samples[min(1, len(samples) - 1)]
        if latest.at_s - first.at_s <= RECENT_S:
            return first, first
        is_enough = latest.done - since.done >= max(_ENOUGH, 2 * n_in_work)
        return first, since if is_enough else first
