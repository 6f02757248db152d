"""One video, by yt-dlp as a library: asked about, downloaded aside, then moved into its place.

A download goes on where it was cut off: unfinished files lie in a folder of their own, under the id
of their format, so that the halves of two formats are never joined. What lies under a final name is
whole. yt-dlp writes no file of its own: its metadata would hold signed addresses and cookies.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from tpbench.errors import ConfigError, MissingDependencyError
from tpbench.fetching.cookies import Cookies
from tpbench.fetching.lists import ListedVideo
from tpbench.fetching.outcomes import FETCH_FOLDER, METADATA_ENDING, FetchOutcome
from tpbench.fetching.reasons import Reason, reason_of
from tpbench.files import atomic_write, sha256_of
from tpbench.privacy import public_text

logger = logging.getLogger(__name__)

_PARTS: Final = "parts"
_RETRIES: Final = 5
_SLOWEST_RETRY_S: Final = 60.0
_LIVE: Final = frozenset({"is_live", "is_upcoming", "post_live"})
_MB: Final = 1e6
_ABSURD: Final = 1e9
"""No duration in seconds and no width in px is as large."""


class StoppedError(Exception):
    """The download was stopped from outside."""


class NotFetchedError(Exception):
    """A video was not fetched; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.message)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a host says about a video; None where it says nothing."""

    title: str | None = None
    uploader: str | None = None
    licence: str | None = None
    published_on: str | None = None
    """ISO 8601 date."""
    duration_s: float | None = None
    width_px: int | None = None
    height_px: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """A fetched video."""

    path: Path
    size_bytes: int
    sha256: str
    about: About


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadOptions:
    """How videos are downloaded."""

    max_height_px: int = 1080
    """Larger pictures are left out, unless there are no others."""
    rate_limit_mb_s: float | None = None
    pause_s: float = 5.0
    """Between two requests of one video, an eighth of it."""
    retry_s: float = 1.0
    """Before a cut connection is taken up again; doubles each time."""


class Downloader:
    """Downloads videos into a folder, one at a time.

    Args:
        folder: of raw videos.
        options: see there.
        cookies: for the requests.
        must_stop: asked many times a second; True ends a download.

    Raises:
        MissingDependencyError: yt-dlp is not installed.
        ConfigError: the folder's name holds what yt-dlp would replace.
    """

    def __init__(
        self,
        folder: Path,
        options: DownloadOptions,
        cookies: Cookies,
        must_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        try:
            import yt_dlp
        except ImportError as error:
            raise MissingDependencyError(
                "fetching videos", "pip install 'tpbench[fetch]'"
            ) from error
        self._parts = folder / FETCH_FOLDER / _PARTS
        if os.path.expandvars(self._parts) != str(self._parts):
            raise ConfigError(f"{folder}: yt-dlp replaces $NAMES in folders; choose another folder")
        self._folder, self._cookies, self._must_stop = folder, cookies, must_stop
        self.has_ffmpeg = _has_ffmpeg()
        self._client = yt_dlp.YoutubeDL(self._parameters(options))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def download(
        self, video: ListedVideo, refuse: Callable[[About], FetchOutcome | None]
    ) -> Downloaded:
        """Download a video, and write its metadata file.

        Args:
            video: of a list.
            refuse: asked before the download; an outcome ends it.

        Raises:
            NotFetchedError: it can't be had, or was refused.
            StoppedError: it was stopped; what is there of it stays.
            HaltError: the disk is full or can't be written.
        """
        info = self._asked(lambda: self._client.extract_info(video.url, download=False))
        info = _single(info)
        about = _about(info)
        if (outcome := refuse(about)) is not None:
            message = f"licence: {about.licence or 'none stated'}"
            raise NotFetchedError(Reason(outcome=outcome, message=message, licence=about.licence))
        # Ends in `_id`, so that yt-dlp puts it into the path as it is.
        info["tpbench_id"] = video.video_id
        is_taken_up = (self._parts / video.video_id).exists()
        try:
            done = self._asked(lambda: self._client.process_ie_result(info, download=True))
        except NotFetchedError as error:
            if not is_taken_up or error.reason.outcome != "unusable":
                raise
            # What is left of an earlier run may be to blame: yt-dlp can't take up a file that was
            # stopped at its last byte.
            self.discard(video)
            return self.download(video, refuse)
        return self._moved(video, _file_of(done, self._parts), done)

    def discard(self, video: ListedVideo) -> None:
        """Delete what there is of an unfinished download."""
        shutil.rmtree(self._parts / video.video_id, ignore_errors=True)

    def _asked(self, ask: Callable[[], Any]) -> dict[str, Any]:
        from yt_dlp.networking.exceptions import network_exceptions
        from yt_dlp.utils import DownloadCancelled, YoutubeDLError

        try:
            answer = ask()
        except DownloadCancelled as error:
            raise StoppedError from error
        except (YoutubeDLError, OSError, *network_exceptions) as error:
            raise NotFetchedError(reason_of(error)) from error
        if not isinstance(answer, dict):
            raise NotFetchedError(Reason(outcome="unusable", message="yt-dlp found no video there"))
        return answer

    def _moved(self, video: ListedVideo, path: Path, info: Mapping[str, Any]) -> Downloaded:
        """Move a finished download to its place; its metadata is there first."""
        about = _about(info)
        target = self._folder / f"{video.video_id}{path.suffix.lower()}"
        _write_metadata(self._folder / f"{video.video_id}{METADATA_ENDING}", video, info, about)
        found = Downloaded(
            path=target, size_bytes=path.stat().st_size, sha256=sha256_of(path), about=about
        )
        path.replace(target)
        self.discard(video)
        return found

    def _parameters(self, options: DownloadOptions) -> dict[str, Any]:
        limit = options.rate_limit_mb_s
        folder = str(self._parts).replace("%", "%%")
        return {
            "outtmpl": {"default": f"{folder}/%(tpbench_id)s/%(format_id)s.%(ext)s"},
            # Without ffmpeg, picture and sound that come apart can't be put together.
            "format": "bv*+ba/b" if self.has_ffmpeg else "b/bv*",
            "format_sort": [f"res:{options.max_height_px}"],
            "ratelimit": None if limit is None else limit * _MB,
            "sleep_interval_requests": options.pause_s / 8,
            "retries": _RETRIES,
            "fragment_retries": _RETRIES,
            "file_access_retries": 1,
            "retry_sleep_functions": dict.fromkeys(
                ("http", "fragment", "extractor", "file_access"),
                lambda n: min(options.retry_s * 2**n, _SLOWEST_RETRY_S),
            ),
            "cookiefile": self._cookies.stream(),
            "noplaylist": True,
            "extract_flat": "in_playlist",
            "continuedl": True,
            "updatetime": False,
            "noprogress": True,
            "color": {"stdout": "never", "stderr": "never"},
            "logger": _Log(self._cookies),
            "progress_hooks": [self._on_progress],
        }

    def _on_progress(self, _: Mapping[str, Any]) -> None:
        from yt_dlp.utils import DownloadCancelled

        if self._must_stop():
            raise DownloadCancelled


class _Log:
    """Passes what yt-dlp says on to our log, without cookies."""

    def __init__(self, cookies: Cookies) -> None:
        self._cookies = cookies

    def debug(self, message: str) -> None:
        logger.debug("%s", self._cookies.public(message))

    def info(self, message: str) -> None:
        logger.debug("%s", self._cookies.public(message))

    def warning(self, message: str) -> None:
        logger.info("%s", self._cookies.public(message))

    def error(self, message: str) -> None:
        logger.debug("%s", self._cookies.public(message))  # its record and the table say it


def _has_ffmpeg() -> bool:
    from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor

    return bool(FFmpegPostProcessor().available)


def _single(info: dict[str, Any]) -> dict[str, Any]:
    """Return the one finished video that a page holds.

    Raises:
        NotFetchedError: there are several, or it is live.
    """
    if info.get("_type") in {"playlist", "multi_video"}:
        raise NotFetchedError(
            Reason(outcome="unusable", message="a playlist or a page of several videos")
        )
    if info.get("live_status") in _LIVE or info.get("is_live"):
        raise NotFetchedError(Reason(outcome="unusable", message="a live stream, not finished"))
    return info


def _file_of(info: Mapping[str, Any], parts: Path) -> Path:
    """Return the file that yt-dlp wrote, which names it by its whole path.

    Raises:
        NotFetchedError: it is no video, by its name.
    """
    from tpbench.video import VIDEO_SUFFIXES

    written = info.get("requested_downloads") or [{}]
    path = Path(str(written[0].get("filepath") or ""))
    whole = os.path.abspath(parts)  # noqa: PTH100 - as yt-dlp does; resolve() would follow links
    if not path.is_relative_to(whole) or not path.is_file():
        raise NotFetchedError(Reason(outcome="unusable", message="yt-dlp wrote no file"))
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise NotFetchedError(Reason(outcome="unusable", message=f"no video, but {path.suffix}"))
    return path


def _about(info: Mapping[str, Any]) -> About:
    return About(
        title=_text(info, "title"),
        uploader=_text(info, "uploader") or _text(info, "channel"),
        licence=_text(info, "license"),
        published_on=_date(info.get("upload_date")),
        duration_s=_number(info.get("duration")),
        width_px=_whole(info.get("width")),
        height_px=_whole(info.get("height")),
    )


def _write_metadata(path: Path, video: ListedVideo, info: Mapping[str, Any], about: About) -> None:
    """Write the metadata under the names that yt-dlp gives them, and nothing private."""
    page = _text(info, "webpage_url") or video.url
    content = {
        "id": _text(info, "id") or video.video_id,
        "title": about.title,
        "uploader": about.uploader,
        "uploader_id": _text(info, "uploader_id"),
        "channel": _text(info, "channel"),
        "channel_id": _text(info, "channel_id"),
        "license": about.licence,
        "upload_date": _text(info, "upload_date"),
        "duration": about.duration_s,
        "width": about.width_px,
        "height": about.height_px,
        "format_id": _text(info, "format_id"),
        "extractor": _text(info, "extractor"),
        "webpage_url": public_text(page),
        "epoch": int(datetime.now(UTC).timestamp()),
    }
    with atomic_write(path) as temporary:
        text = json.dumps({name: value for name, value in content.items() if value is not None})
        temporary.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def _text(info: Mapping[str, Any], name: str) -> str | None:
    value = info.get(name)
    if not isinstance(value, str) or not value:
        return None
    return value.encode("utf-8", "replace").decode()  # Parquet refuses unpaired surrogates


def _date(value: object) -> str | None:
    """Return `20260102` as `2026-01-02`."""
    with suppress(ValueError):
        if isinstance(value, str):
            return datetime.strptime(value, "%Y%m%d").replace(tzinfo=UTC).date().isoformat()
    return None


def _number(value: object) -> float | None:
    """Return a number that a host names, unless it is absurd."""
    if not isinstance(value, int | float) or not 0 <= value < _ABSURD:
        return None
    return float(value)


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
