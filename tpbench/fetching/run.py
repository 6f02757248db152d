"""`fetch`: an id list in, a folder of raw videos out, politely and as often as it takes.

A video that can't be had never stops a run. A host that refuses this machine does: after waiting
longer and longer, the run ends, and what is left stays pending for the next one.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from tpbench.errors import number_of
from tpbench.fetching.cookies import Cookies
from tpbench.fetching.download import (
    About,
    Downloaded,
    Downloader,
    DownloadOptions,
    NotFetchedError,
)
from tpbench.fetching.lists import IdList, ListedVideo, read_list
from tpbench.fetching.outcomes import (
    FAILED,
    FETCH_FOLDER,
    FETCHED_TABLE,
    METADATA_ENDING,
    TRIED_AGAIN,
    FetchOutcome,
    FetchRecord,
    FetchRecords,
    count_outcomes,
    write_table,
)
from tpbench.fetching.reasons import Reason
from tpbench.fetching.request import FetchRequest, FetchResult, Pace
from tpbench.fetching.selection import Selection, read_selection
from tpbench.privacy import public_text
from tpbench.work import Progress, ProgressListener, explain_halts
from tpbench.work.locks import locked

logger = logging.getLogger(__name__)

_LOCK: Final = "lock"
_TOLD_S: Final = 30.0
"""Of a wait that is longer, the user is told."""
_NO_FFMPEG: Final = (
    "no ffmpeg on this machine: where a host keeps picture and sound apart, as YouTube does for "
    "large pictures, only small ready-made files can be fetched; install it first"
)


class BlockedError(Exception):
    """The host refuses this machine, or can't be reached: the run ends, the rest stays pending."""


def run_fetch(
    request: FetchRequest,
    on_progress: ProgressListener | None = None,
    *,
    pace: Pace | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> FetchResult:
    """Fetch the videos of a list that are not there yet.

    Args:
        request: what is to be fetched.
        on_progress: called after every video; counts are `fetched` and `failed`.
        pace: how patient to be.
        wait: waits some seconds.

    Raises:
        ConfigError: the list or an option is wrong.
        MissingDependencyError: yt-dlp is not installed.
        DatasetError: the folder is in use or can't be written, or a record is damaged.
        TPBenchError: the disk is full; what was fetched is kept.
    """
    with opened(request, pace=pace or Pace(), wait=wait) as run:
        todo = run.todo()
        asked = run.asked()
        before = len(asked) - len(todo)
        counts: Counter[str] = Counter()
        stopped = None

        def tell(done: int) -> None:
            if on_progress is not None:
                on_progress(
                    Progress(
                        step="fetch",
                        total=len(asked),
                        before=before,
                        done=before + done,
                        frames=0,
                        counts=Counter(counts),
                    )
                )

        tell(0)
        try:
            for done, video in enumerate(todo, start=1):
                record = run.fetch(video)
                counts["fetched"] += record.outcome == "ok"
                counts["failed"] += record.outcome in FAILED
                tell(done)
        except BlockedError as error:
            stopped = str(error)
        except KeyboardInterrupt:
            run.write_table()
            raise
        run.write_table()
        return run.result(stopped)


def preview_fetch(request: FetchRequest) -> FetchResult:
    """Return what is known of a list without fetching or writing anything.

    Raises:
        ConfigError: the list or an option is wrong.
        DatasetError: a record is damaged.
    """
    run = FetchRun(
        request=request,
        id_list=read_list(request.id_list, sha256=request.list_sha256),
        selection=_selection(request),
        records=FetchRecords(request.out),
        cookies=_cookies(request),
        downloader=None,
        pace=Pace(),
        wait=time.sleep,
    )
    return run.result(None)


@contextmanager
def opened(
    request: FetchRequest,
    *,
    pace: Pace,
    wait: Callable[[float], None] = time.sleep,
    must_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FetchRun]:
    """Check everything, and hold the lock of the folder, before anything is fetched.

    Args:
        request: what is to be fetched.
        pace: how patient to be.
        wait: waits some seconds; may raise to end the run.
        must_stop: ends a download when it returns True.
    """
    # The list first: a wrong one must not leave a folder behind.
    id_list = read_list(request.id_list, sha256=request.list_sha256)
    selection, cookies = _selection(request), _cookies(request)
    options = DownloadOptions(
        max_height_px=request.max_height_px,
        rate_limit_mb_s=request.rate_limit_mb_s,
        pause_s=request.pause_s,
        retry_s=pace.retry_s,
    )
    with (
        Downloader(request.out, options, cookies, must_stop) as downloader,
        locked(request.out / FETCH_FOLDER / _LOCK),
        explain_halts(request.out),
    ):
        records = FetchRecords(request.out)
        records.sweep()
        yield FetchRun(
            request=request,
            id_list=id_list,
            selection=selection,
            records=records,
            cookies=cookies,
            downloader=downloader,
            pace=pace,
            wait=wait,
        )


def _selection(request: FetchRequest) -> Selection:
    return read_selection(
        exclude=request.exclude, datasets=request.datasets, licence=request.licence
    )


def _cookies(request: FetchRequest) -> Cookies:
    return Cookies() if request.cookies is None else Cookies.read(request.cookies)


@dataclass(slots=True, kw_only=True)
class FetchRun:
    """One run over a list; create it with `opened`."""

    request: FetchRequest
    id_list: IdList
    selection: Selection
    records: FetchRecords
    cookies: Cookies
    downloader: Downloader | None
    """None: nothing is fetched."""
    pace: Pace
    wait: Callable[[float], None]
    _tried: int = field(default=0, init=False)
    _fetched: list[int] = field(default_factory=list, init=False)
    """Bytes of each video of this run."""
    _doubts: int = field(default=0, init=False)
    _unreached: int = field(default=0, init=False)

    def asked(self) -> list[ListedVideo]:
        """Return the videos of this run: those of the list up to the limit, none excluded."""
        left_out = {"excluded", "licence"}
        videos = self.id_list.videos[: self.request.limit]
        return [video for video in videos if self.outcome(video) not in left_out]

    def todo(self) -> list[ListedVideo]:
        """Return the videos that are to be tried, in the order of the list."""
        return [video for video in self.asked() if not self.is_settled(video)]

    def is_settled(self, video: ListedVideo) -> bool:
        """Whether a video need not be tried (again)."""
        return self.records.is_settled(
            video, with_cookies=bool(self.cookies), retry_failed=self.request.retry_failed
        )

    def outcome(self, video: ListedVideo) -> FetchOutcome:
        """Return what became of a video, as the choice of this run sees it."""
        record = self.records.known.get(video.video_id)
        if self.selection.excludes(video, sha256=None if record is None else record.sha256):
            return "excluded"
        if record is None:
            return "pending"
        if record.outcome in {"ok", "licence"}:
            if not self.selection.allows(record.licence):
                return "licence"
            there = record.deleted or self.records.file_of(video.video_id) is not None
            return "ok" if record.outcome == "ok" and there else "pending"
        return record.outcome

    def fetch(self, video: ListedVideo) -> FetchRecord:
        """Fetch a video, patiently, and record what became of it.

        Raises:
            BlockedError: after this video, no other need be tried now. Its record is written.
            StoppedError: the run was stopped; the video stays as it was.
            HaltError: the disk is full or can't be written.
        """
        waited = 0
        while True:
            if self._tried:
                self.wait(self.request.pause_s)
            elif not self._client().has_ffmpeg:
                logger.warning(_NO_FFMPEG)
            self._tried += 1
            try:
                record, reason = self._downloaded(video), None
            except NotFetchedError as error:
                reason = error.reason
                record = self._failed(video, reason)
            waits_s = () if reason is None else self.pace.waits_s(reason)
            if reason is None or waited >= len(waits_s):
                break
            wait_s = max(waits_s[waited], reason.retry_after_s or 0.0)
            level = logging.WARNING if wait_s >= _TOLD_S else logging.INFO
            logger.log(level, "%s: %s; waiting %.0f s", record.url, record.detail, wait_s)
            self.wait(wait_s)
            waited += 1
        self.records.put(record)
        if record.outcome in FAILED - TRIED_AGAIN:
            self._client().discard(video)
        self._judge(reason, record)
        return record

    def write_table(self) -> None:
        """Write `fetched.parquet`."""
        videos = self.id_list.videos
        outcomes = {video.video_id: self.outcome(video) for video in videos}
        write_table(self.request.out, videos, self.records.known, outcomes)

    def result(self, stopped: str | None) -> FetchResult:
        """Return what the run found and left."""
        outcomes = {video.video_id: self.outcome(video) for video in self.id_list.videos}
        return FetchResult(
            id_list=self.id_list,
            outcomes=count_outcomes(outcomes.values()),
            fetched=len(self._fetched),
            fetched_bytes=sum(self._fetched),
            stopped=stopped,
            left_files=tuple(
                path.name
                for name, outcome in outcomes.items()
                if outcome == "excluded" and (path := self.records.file_of(name)) is not None
            ),
            table=self.request.out / FETCHED_TABLE,
        )

    def _client(self) -> Downloader:
        if self.downloader is None:
            raise RuntimeError("a preview fetches nothing")
        return self.downloader

    def _downloaded(self, video: ListedVideo) -> FetchRecord:
        found = self._client().download(video, self._refusal)
        if self.selection.excludes(video, sha256=found.sha256):
            # The bytes of a removed source under another address: nothing of it is kept.
            found.path.unlink()
            (found.path.parent / f"{video.video_id}{METADATA_ENDING}").unlink(missing_ok=True)
            return self._record(video, outcome="excluded")
        self._fetched.append(found.size_bytes)
        former = self.records.file_of(video.video_id)
        if former is not None and former != found.path:
            former.unlink()
        return self._record(video, outcome="ok", found=found)

    def _refusal(self, about: About) -> FetchOutcome | None:
        return None if self.selection.allows(about.licence) else "licence"

    def _failed(self, video: ListedVideo, reason: Reason) -> FetchRecord:
        detail = self.cookies.public(reason.message)
        record = self._record(video, outcome=reason.outcome, detail=detail)
        if reason.outcome != "licence":
            return record
        return record.model_copy(update={"licence": reason.licence})

    def _record(
        self,
        video: ListedVideo,
        *,
        outcome: FetchOutcome,
        detail: str | None = None,
        found: Downloaded | None = None,
    ) -> FetchRecord:
        former = self.records.known.get(video.video_id)
        record = FetchRecord(
            video_id=video.video_id,
            url=public_text(video.url),
            outcome=outcome,
            detail=detail,
            with_cookies=bool(self.cookies),
            attempts=1 if former is None else former.attempts + 1,
            tried_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        if found is None:
            return record
        about = found.about
        return record.model_copy(
            update={
                "file": found.path.name,
                "size_bytes": found.size_bytes,
                "sha256": found.sha256,
                "title": about.title,
                "uploader": about.uploader,
                "licence": about.licence,
                "published_on": about.published_on,
                "duration_s": about.duration_s,
                "width_px": about.width_px,
                "height_px": about.height_px,
            }
        )

    def _judge(self, reason: Reason | None, record: FetchRecord) -> None:
        """Count refusals in a row.

        Raises:
            BlockedError: they are a block of this machine, or of its network.
        """
        if reason is None or reason.outcome not in TRIED_AGAIN:
            self._doubts = self._unreached = 0
            return
        self._doubts += reason.may_be_block
        self._unreached += reason.outcome == "network"
        if reason.is_block or self._doubts >= self.pace.max_doubts:
            raise BlockedError(
                f"the host refuses this machine ({record.detail}); wait some hours, then run the "
                "same command again; a longer --pause or --cookies of a signed-in browser may help"
            )
        if self._unreached >= self.pace.max_unreached:
            raise BlockedError(
                f"{number_of(self._unreached, 'video')} in a row could not be reached "
                f"({record.detail}); check the network, then run the same command again"
            )
