"""Discovery of source videos: provenance, duplicates, and whether they are within reach."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from tpbench.dataset.folder import OLD_LEDGER, RECORDS_FOLDER
from tpbench.errors import ConfigError, MediaError
from tpbench.fetching.outcomes import FETCHED_TABLE, METADATA_ENDING
from tpbench.files import sha256_of
from tpbench.foreign import ForeignFileError, read_json
from tpbench.privacy import public_text
from tpbench.storage.addresses import Address, local_path, shown_address
from tpbench.video import VIDEO_SUFFIXES
from tpbench.video.source import open_container
from tpbench.work.faults import causes, is_out_of_reach

logger = logging.getLogger(__name__)

_PART: Final = re.compile(r"(?P<stem>.+)\.f(?P<format>[^.\s]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The known origin of a source; None where it is unknown."""

    url: str | None = None
    licence: str | None = None
    uploader: str | None = None
    retrieved_at: str | None = None
    """ISO 8601, UTC."""


def read_provenance(video: Path) -> Provenance:
    """Read `<stem>.info.json` beside a video, as `yt-dlp --write-info-json` writes it.

    If yt-dlp had no ffmpeg, video and audio are in separate files, such as `<stem>.f137.mp4`; the
    metadata file belongs to both.

    A missing file is ignored; one that can't be read is logged and ignored, and the video is still
    processed.
    """
    path = _metadata_path(video.parent, video.stem)
    if not path.exists() and (stem := part_of(video)):
        path = _metadata_path(video.parent, stem)
    try:
        data = read_json(path, strict=False)
    except FileNotFoundError:
        return Provenance()
    except (OSError, ForeignFileError) as error:
        logger.warning("%s: metadata is left out, so url and licence stay blank: %s", path, error)
        return Provenance()
    if not isinstance(data, dict):
        return Provenance()
    return Provenance(
        url=_public(data, "webpage_url"),
        licence=_public(data, "license"),
        uploader=_public(data, "uploader"),
        retrieved_at=_time(data.get("epoch")),
    )


def part_of(file: Path) -> str | None:
    """Return the stem of the video if a file is an unmerged part of it, downloaded by yt-dlp.

    Such a part has the id of its format in its name: `<stem>.f137.mp4`, `<stem>.f251-drc.webm`. An
    id that begins with a letter counts only if the video's metadata file exists, since any name may
    have such an ending.

    Returns:
        None for a file that is not such a part.
    """
    match = _PART.fullmatch(file.stem)
    if match is None:
        return None
    stem = match["stem"]
    is_id = match["format"][0].isdigit() or _metadata_path(file.parent, stem).exists()
    return stem if is_id else None


def _metadata_path(folder: Path, stem: str) -> Path:
    return folder / f"{stem}{METADATA_ENDING}"


def _public(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    if not isinstance(value, str) or not value:
        return None
    value = public_text(value) if key == "webpage_url" else value
    return value.encode("utf-8", "replace").decode()  # Parquet refuses unpaired surrogates


def _time(epoch_s: object) -> str | None:
    if not isinstance(epoch_s, int) or isinstance(epoch_s, bool):
        return None
    try:
        return datetime.fromtimestamp(epoch_s, tz=UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return None


_SHOWN_ENDINGS: Final = 8
"""Endings of skipped files that a message lists; the others are added up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source video."""

    path: Path
    """Absolute; of an object that is not fetched yet, its address as a relative path."""
    shown_path: str
    """Relative path that begins with the name of the folder the user gave; nothing above it. Of an
    object: its address."""
    size_bytes: int
    mtime_ns: int
    sha256: str | None = None
    """None until the file had to be read."""
    duplicate_of: str | None = None
    """`shown_path` of an equal source that is processed instead."""
    id_digits: int = 8
    """Digits of its sha256 in its id; more where another source would have the same id."""
    address: str | None = None
    """Of an object in a bucket; None for a file. See `tpbench.extraction.remote`."""
    etag: str | None = None
    """Of an object: changes with its content."""

    @property
    def key(self) -> str:
        """Name in the records."""
        return _text(self.path) if self.address is None else self.address

    @property
    def place(self) -> str | Path:
        """Where it lies for good: its address or path."""
        return self.path if self.address is None else self.address

    @property
    def is_remote(self) -> bool:
        """Whether it has to be fetched before it can be read."""
        return self.address is not None and not self.path.is_absolute()

    @property
    def stamp(self) -> tuple[int, int, str | None]:
        """What changes when its bytes do."""
        return self.size_bytes, self.mtime_ns, self.etag

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values; those of objects only where it is one."""
        fields = {**asdict(self), "path": str(self.path)}
        if self.address is None:
            del fields["address"], fields["etag"]
        return fields

    @classmethod
    def from_json(cls, fields: Any) -> Source:  # noqa: ANN401 - any JSON value
        """Return the source that `to_json` stored.

        Raises:
            ValueError: a field is missing or has the wrong type.
        """
        return _SOURCE.validate_python(fields)


_SOURCE: Final = TypeAdapter(Source)

_ADDRESS: Final = re.compile(r"https?:/")
_LISTS: Final = frozenset({".csv", ".tsv", ".txt", ".json"})
_NOT_FETCHED: Final = "pass --fetch for the videos of an id list, or run `tpbench fetch` first"


def plain_path(path: Path) -> Path:
    """Return the path absolute and without `~` and `..`, links left as they are."""
    # resolve() would follow links; expanduser() of pathlib fails for a file whose name is `~x.mp4`.
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111 - see above


def find_sources(
    inputs: Sequence[Path], *, excluded: Path, excluded_address: Address | None = None
) -> list[Source]:
    """Return all videos below the inputs, sorted by path; those in buckets after the others.

    Links to folders are followed, once. Skipped are hidden files and folders, other datasets of
    tpbench, and files with other suffixes, which a warning counts; a file given as an input is used
    whatever its suffix. Unmerged downloads of yt-dlp are reported, too: an audio-only file is not a
    source, and its sound is not part of any clip.

    Args:
        inputs: folders and files, or addresses of object storage.
        excluded: the dataset being built; never its own source.
        excluded_address: where that dataset lies, if in object storage.

    Raises:
        ConfigError: an input does not exist or belongs to `excluded`, or no video is found.
        UnreachableError: a bucket can't be listed.
    """
    found: dict[Path, Source] = {}
    remote: dict[str, Source] = {}
    left_out: Counter[str] = Counter()
    excluded = _real(excluded)
    for given in inputs:
        if (address := Address.of(given)) is not None:
            from tpbench.extraction.remote import remote_sources

            for source in remote_sources(address, excluded_address, left_out):
                remote.setdefault(source.key, source)
            continue
        root = plain_path(local_path(given))
        if not root.exists():
            raise _not_there(given)
        if root.is_file() and root.suffix.lower() in _LISTS:
            raise ConfigError(f"input {given} is no video; {_NOT_FETCHED}")
        if _real(root).is_relative_to(excluded):
            raise ConfigError(
                f"input {given} lies in the dataset {excluded} itself; name the raw videos"
            )
        paths = _videos_below(root, excluded, left_out) if root.is_dir() else [root]
        for path in paths:
            found.setdefault(path, _source(path, root))
    names = ", ".join(str(Address.of(given) or given) for given in inputs)
    if not found and not remote:
        held = f", which holds {_counted(left_out)}" if left_out else ""
        raise ConfigError(
            f"no video found in {names}{held} (looked for {' '.join(sorted(VIDEO_SUFFIXES))})"
        )
    if left_out:
        logger.warning("%s: left out files without a video ending: %s", names, _counted(left_out))
    _drop_audio_only(found)
    return [found[path] for path in sorted(found)] + [remote[key] for key in sorted(remote)]


def _not_there(given: Path) -> ConfigError:
    if _ADDRESS.match(str(given)):
        return ConfigError(f"input {shown_address(given)} is an address; {_NOT_FETCHED}")
    return ConfigError(f"input {given} does not exist")


def is_there(source: Source) -> bool:
    """Whether the file or object of a source still exists.

    Raises:
        UnreachableError: its bucket can't be read.
    """
    if source.address is None:
        return source.path.exists()
    from tpbench.storage.objects import look

    return look(Address.of_listed(source.address)) is not None


def mark_duplicates(sources: Sequence[Source], known: Mapping[str, Source]) -> list[Source]:
    """Mark sources with the same bytes as another, so that only one is processed.

    Only files of equal size are read: equal bytes have equal size.

    Args:
        sources: the sources to process, in order; the first of several equal ones is processed.
        known: sha256 -> source of an earlier run.
    """
    first_of = dict(known)
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for position, source in enumerate(sources):
        by_size[source.size_bytes].append(position)
    known_sizes = {source.size_bytes for source in known.values()}
    marked = list(sources)
    for size, positions in by_size.items():
        if len(positions) == 1 and size not in known_sizes:
            continue
        for position in positions:
            marked[position] = _marked(marked[position], first_of)
    return marked


def source_id(source: Source) -> str:
    """Return a name for files and columns: the file's stem made safe, and 8 digits of its sha256.

    The same video under the same name has the same id in any folder; if two different ones would
    share an id, the second gets more digits (see `SourceNames`). A file that can't be read is
    identified by its path instead.
    """
    mark = source.sha256 or hashlib.sha256(source.shown_path.encode("utf-8", "replace")).hexdigest()
    return f"{id_stem(source)}-{mark[: source.id_digits]}"


def id_stem(source: Source) -> str:
    """Return the part of a source's id that its file name gives."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(source.shown_path).stem)[:80].strip("-") or "video"


def hashed(source: Source) -> Source:
    """Return the source with its sha256.

    Raises:
        MediaError: the file can't be read, or is not a regular file.
    """
    if source.sha256 is not None:
        return source
    if source.is_remote:
        from tpbench.extraction.remote import hashed_remote

        return hashed_remote(source)
    try:
        if not stat.S_ISREG(source.path.stat().st_mode):  # reading a pipe would never end
            raise MediaError(source.shown_path, "is not a regular file")
        return replace(source, sha256=sha256_of(source.path))
    except OSError as error:
        raise MediaError(source.shown_path, f"can't be read: {error.strerror}") from error


def _marked(source: Source, first_of: dict[str, Source]) -> Source:
    try:
        source = hashed(source)
    except MediaError:
        return source  # the worker reports it in the row of this source
    first = first_of.setdefault(source.sha256 or "", source)
    if first.key == source.key:
        return source
    return replace(source, duplicate_of=first.shown_path)


def _counted(left_out: Counter[str]) -> str:
    """Return the number of files by ending, the most frequent first."""
    ranked = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count} {ending}" for ending, count in ranked[:_SHOWN_ENDINGS]]
    if rest := sum(count for _, count in ranked[_SHOWN_ENDINGS:]):
        shown.append(f"{rest} others")
    return ", ".join(shown)


def _drop_audio_only(found: dict[Path, Source]) -> None:
    """Remove audio-only files, as yt-dlp leaves them, and warn of videos that lack their sound."""
    for path in list(found):
        stem = part_of(path)
        if stem is None:
            continue
        if _is_sound(path):
            del found[path]
        elif any(
            other != path and part_of(other) == stem and _is_sound(other)
            for other in _siblings(path, stem)
        ):
            logger.warning(
                "%s: its sound is in a separate file, so its clips have none; merge both with"
                " ffmpeg first to keep it",
                found[path].shown_path,
            )


def _siblings(path: Path, stem: str) -> list[Path]:
    """Return the regular files beside `path` whose names begin with `<stem>.f`."""
    try:
        return sorted(
            other
            for other in path.parent.iterdir()
            if other.name.startswith(f"{stem}.f") and other.is_file()
        )
    except OSError:
        return []


def _is_sound(path: Path) -> bool:
    """Whether a file holds audio and no video; False if it can't be read."""
    try:
        with open_container(path) as container:
            return bool(container.streams.audio) and not container.streams.video
    except MediaError:
        return False


def _videos_below(root: Path, excluded: Path, left_out: Counter[str]) -> Iterator[Path]:
    """Yield the videos; count the endings of other files in `left_out`."""
    seen = {_real(root)}
    for folder, subfolders, names in _walk(root):
        wanted = []
        for name in sorted(subfolders):
            real = _real(folder / name)
            if name.startswith(".") or real == excluded or real in seen:
                continue
            if any((real / name).is_dir() for name in (RECORDS_FOLDER, OLD_LEDGER.parts[0])):
                logger.warning("%s is a dataset of tpbench, no source of videos", folder / name)
                continue
            seen.add(real)
            wanted.append(name)
        subfolders[:] = wanted
        for name in sorted(names):
            if name.startswith("."):
                continue
            if is_video_name(name, left_out):
                yield folder / name


def is_video_name(name: str, left_out: Counter[str]) -> bool:
    """Whether a file is a video by its ending; other endings are counted in `left_out`."""
    ending = Path(name).suffix.lower()
    if ending in VIDEO_SUFFIXES:
        return True
    if not name.lower().endswith(METADATA_ENDING) and name != FETCHED_TABLE:
        left_out[ending or "without an ending"] += 1
    return False


def _walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """`Path.walk`, which Python 3.11 lacks."""

    def log_error(error: OSError) -> None:
        logger.warning("%s can't be searched: %s", error.filename, error.strerror)

    for folder, subfolders, names in os.walk(root, onerror=log_error, followlinks=True):
        yield Path(folder), subfolders, names


def _source(path: Path, root: Path) -> Source:
    shown_path = _text(path.relative_to(root.parent))
    try:
        found = path.stat()
    except OSError:
        # For example a dead link. It gets a row like any file that can't be read.
        return Source(path=path, shown_path=shown_path, size_bytes=0, mtime_ns=0)
    return Source(
        path=path, shown_path=shown_path, size_bytes=found.st_size, mtime_ns=found.st_mtime_ns
    )


def _real(path: Path) -> Path:
    """Return the path with its links followed; Path.resolve() fails for a link to itself."""
    return Path(os.path.realpath(path))


def _text(path: Path) -> str:
    """Return a path that JSON and Parquet can hold: bytes that are not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


_PIECE_BYTES: Final = 1 << 20


def why_out_of_reach(source: Source, error: BaseException) -> str | None:
    """Return why a failed source was out of reach; None if that was not the reason.

    libav's error is not enough: it reports "input/output error" for a truncated file as well as for
    a failing disk. So the file is read again without libav.

    Args:
        source: as it was when the run was planned.
        error: the error that its worker raised.
    """
    if not _is_about(source, error):
        return None
    for cause in causes(error):
        if _not_libav(cause) and (is_out_of_reach(cause) or isinstance(cause, FileNotFoundError)):
            return f"can't be read: {os.strerror(getattr(cause, 'errno', 0) or 0)}"
    return _read_without_libav(source)


def _is_about(source: Source, error: BaseException) -> bool:
    if isinstance(error, MediaError):
        return str(error.path) in {str(source.path), source.shown_path}
    named = error.filename if isinstance(error, OSError) else None
    return named is not None and Path(os.fsdecode(named)) == source.path


def _not_libav(error: BaseException) -> bool:
    """Whether it is Python's own error and not libav's."""
    return isinstance(error, OSError) and not type(error).__module__.startswith("av")


def _read_without_libav(source: Source) -> str | None:
    try:
        found = source.path.stat()
        if stat.S_ISREG(found.st_mode):  # reading a pipe would never end
            with source.path.open("rb", buffering=0) as file:
                while file.read(_PIECE_BYTES):
                    pass
    except OSError as error:
        return f"can't be read: {error.strerror}"
    if (found.st_size, found.st_mtime_ns) != (source.size_bytes, source.mtime_ns):
        return "changed while it was being read"
    return None
