"""Objects of a bucket: listed, fetched whole, put whole.

A put is atomic: readers see the former object or the new one. Fetched files are written aside and
renamed. What the network does is tried again, with longer and longer pauses; what then still fails
is told in one line.

Requests: a list costs one for each 1,000 objects; `fetch`, `put`, `read`, `write` and `delete` cost
one each (files above 100 MB are put in parts of 50 MB, one request each and two for the whole).
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from tpbench.errors import ConfigError, DatasetError, MissingDependencyError, TPBenchError
from tpbench.files import atomic_write
from tpbench.storage.addresses import Address
from tpbench.work.faults import why_halt

logger = logging.getLogger(__name__)

T = TypeVar("T")
Item = TypeVar("Item")
ATTEMPTS: Final = 4
"""Of a request that fails through the network, beyond those that the libraries make."""
FIRST_PAUSE_S: Final = 0.5
"""Before the second attempt; doubled before each further one."""
PARALLEL: Final = 16
"""Requests at a time: each waits for the network, and costs little processor time."""
_GOOGLE_TRIES: Final = 2
_PIECE_BYTES: Final = 1 << 20
_NO_ACCESS: Final = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound")
_OTHER_NOW: Final = ("pre-condition", "preconditionfailed", "precondition failed", "conflict")
_CANT_COMPARE: Final = ("notimplemented", "not implemented")
_PLAIN_FILES: Final = {"s3": {"max_concurrency": 1}}
"""One request for a whole file, where it would be several ones for parts of it."""


class UnreachableError(TPBenchError):
    """Object storage can't be reached, or refuses access: no fault of what is stored."""


class NoObjectError(UnreachableError):
    """An object or its bucket does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object, as it was listed."""

    address: Address
    size_bytes: int
    modified_ns: int
    """By the clock of the server, which often counts whole seconds."""
    etag: str
    """Changes with the content; of some objects it is the MD5. Empty where there is none."""


def list_objects(address: Address) -> Iterator[StoredObject]:
    """Yield all objects below an address, and the one at it, sorted by key.

    Raises:
        NoObjectError: the bucket does not exist.
        UnreachableError: it can't be read.
    """
    found = _asked(address, lambda: _files(address).find(address.stored_name, detail=True))
    for name in sorted(found):
        stored = _stored(address, found[name])
        if stored is not None and address.holds(stored.address):
            yield stored


def look(address: Address) -> StoredObject | None:
    """Return what is known of one object; None if there is none.

    Raises:
        UnreachableError: its bucket can't be read.
    """
    if not address.key:
        return None
    try:
        return _stored(address, _asked(address, lambda: _files(address).info(address.stored_name)))
    except NoObjectError:
        return None


def fetch(
    address: Address,
    path: Path,
    *,
    size_bytes: int | None = None,
    sha256: str | None = None,
    on_bytes: Callable[[], None] = lambda: None,
) -> None:
    """Fetch an object whole: written aside, checked, renamed.

    Args:
        address: of the object.
        path: of the file to write.
        size_bytes: it must have; None: any.
        sha256: it must have; None: any.
        on_bytes: called whenever more has arrived.

    Raises:
        NoObjectError: there is no such object.
        UnreachableError: it can't be read, or is another one than was wanted.
    """
    from fsspec.callbacks import Callback

    class Watch(Callback):  # type: ignore[misc]
        def call(self, *_: object, **__: object) -> None:
            on_bytes()

    files, options = _files(address), _PLAIN_FILES.get(address.scheme, {})
    with atomic_write(path) as temporary:

        def get() -> None:
            files.get_file(address.stored_name, str(temporary), callback=Watch(), **options)
            size = temporary.stat().st_size
            if size_bytes is not None and size != size_bytes:
                raise _OtherContentError(f"has {size:,} bytes, expected {size_bytes:,}")

        _asked(address, get)
        if sha256 is not None:
            with temporary.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                raise UnreachableError(
                    f"{address}: is not the file that was written down (sha256 differs)"
                )


def put(path: Path, address: Address) -> None:
    """Put a file whole; the transport checks its bytes.

    Raises:
        UnreachableError: it can't be put.
    """
    _asked(address, lambda: _files(address).put_file(str(path), address.stored_name))


def read(address: Address) -> bytes | None:
    """Return the content of a small object; None if there is none.

    Raises:
        UnreachableError: it can't be read.
    """
    try:
        return bytes(_asked(address, lambda: _files(address).cat_file(address.stored_name)))
    except NoObjectError:
        return None


def write(address: Address, content: bytes) -> None:
    """Put a small object; raises as `put` does."""
    _asked(address, lambda: _files(address).pipe_file(address.stored_name, content))


def create(address: Address, content: bytes) -> bool:
    """Put a small object unless there is one; return whether it was put.

    Raises:
        UnreachableError: as `put`.
    """

    def attempt() -> bool:
        try:
            _files(address).pipe_file(address.stored_name, content, mode="create")
        except FileExistsError:
            return False
        return True

    return _asked(address, attempt)


def replace(stored: StoredObject, content: bytes) -> bool:
    """Put a small object in the place of one that was seen; return False if that is another by now.

    Servers that can't compare (`If-Match`) replace whatever is there.

    Raises:
        UnreachableError: as `put`.
    """
    address = stored.address
    compares = address.scheme == "s3" and bool(stored.etag)

    def attempt() -> bool:
        condition = {"IfMatch": f'"{stored.etag}"'} if compares else {}
        try:
            _files(address).pipe_file(address.stored_name, content, **condition)
        except Exception as error:
            text = str(error).lower()
            if condition and any(words in text for words in _OTHER_NOW):
                return False
            if condition and any(words in text for words in _CANT_COMPARE):
                _files(address).pipe_file(address.stored_name, content)
                return True
            raise
        return True

    return _asked(address, attempt)


def delete(address: Address) -> None:
    """Delete an object; it need not exist. Raises as `put` does."""
    try:
        _asked(address, lambda: _files(address).rm_file(address.stored_name))
    except NoObjectError:
        return


def copy(source: Address, target: Address) -> None:
    """Copy an object on the server; raises as `fetch` does."""
    _asked(source, lambda: _files(source).cp_file(source.stored_name, target.stored_name))


def sha256_of_object(address: Address) -> str:
    """Read an object to its end, keeping nothing, and return its sha256.

    Raises:
        UnreachableError: it can't be read.
    """

    def read_through() -> str:
        digest = hashlib.sha256()
        with _files(address).open(
            address.stored_name, "rb", block_size=32 * _PIECE_BYTES, cache_type="readahead"
        ) as file:
            while piece := file.read(_PIECE_BYTES):
                digest.update(piece)
        return digest.hexdigest()

    return _asked(address, read_through)


def in_parallel(work: Callable[[Item], object], items: Iterable[Item]) -> None:
    """Do the same with many objects, several at a time; the first error ends it."""
    with ThreadPoolExecutor(max_workers=PARALLEL, thread_name_prefix="storage") as pool:
        pending = [pool.submit(work, item) for item in items]
        try:
            for one in pending:
                one.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _OtherContentError(OSError):
    """What arrived is not what was wanted: cut short, or replaced meanwhile."""


def _asked(address: Address, ask: Callable[[], T]) -> T:
    """Ask the server, again where the network failed, and put its errors into words."""
    pause_s = FIRST_PAUSE_S
    for attempt in range(ATTEMPTS):
        try:
            return ask()
        except Exception as error:
            if why_halt(error) is not None or isinstance(error, TPBenchError):
                raise
            told = _told(address, error)
            if told is not None:
                raise told from error
            if attempt == ATTEMPTS - 1:
                reason = " ".join(str(error).split()) or type(error).__name__
                raise UnreachableError(
                    f"{address}: can't be reached ({reason}); check the network and the address "
                    "of the server, and try again"
                ) from error
            logger.info("%s: tried again in %.1f s: %s", address, pause_s, error)
        time.sleep(pause_s)
        pause_s *= 2
    raise AssertionError


def _told(address: Address, error: Exception) -> TPBenchError | None:
    """Return the error that trying again does not mend; None where it may."""
    bucket = f"{address.scheme}://{address.bucket}"
    text = str(error).lower()
    if isinstance(error, FileNotFoundError):
        if "bucket does not exist" in text:
            return NoObjectError(f"{bucket}: no such bucket; create it, or check its name")
        return NoObjectError(f"{address}: does not exist")
    if type(error).__name__ in _NO_ACCESS or "anonymous caller" in text:
        return ConfigError(
            f"{bucket}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "AWS_PROFILE or, for gs://, GOOGLE_APPLICATION_CREDENTIALS"
        )
    if isinstance(error, PermissionError):
        return UnreachableError(f"{address}: access denied; check the credentials and their rights")
    if type(error).__name__ in {"ParamValidationError", "InvalidRegionError"}:
        return DatasetError(f"{address}: the server's client refuses it ({error})")
    return None


def _files(address: Address) -> Any:  # noqa: ANN401 - fsspec has no types
    return _filesystem(address.scheme)


@cache
def _filesystem(scheme: str) -> Any:  # noqa: ANN401 - fsspec has no types
    remedy = "pip install 'tpbench[cloud]'"
    try:
        import fsspec
    except ImportError as error:
        raise MissingDependencyError(f"{scheme}:// (object storage)", remedy) from error
    options: dict[str, object] = {"use_listings_cache": False, "skip_instance_cache": True}
    if scheme == "s3":
        # A server that stays silent is a network fault, and no reason to wait for ever.
        options["config_kwargs"] = {
            "connect_timeout": 10,
            "read_timeout": 60,
            "retries": {"mode": "standard", "max_attempts": 2},
        }
    try:
        if scheme == "gs":
            return _google(options)
        return fsspec.filesystem(scheme, **options)
    except ImportError as error:
        raise MissingDependencyError(f"{scheme}:// (object storage)", remedy) from error


def _google(options: Mapping[str, object]) -> Any:  # noqa: ANN401 - gcsfs has no types
    """Return the file system of `gs://`, which tries as often as that of `s3://`."""
    # fsspec's default first asks what kind of bucket it is, which keys often may not know: a
    # warning for each request. tpbench only needs what every kind can do.
    from gcsfs.core import GCSFileSystem
    from gcsfs.retry import retry_request

    # It logs what it raises, with a traceback each time.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    once = getattr(GCSFileSystem._request, "__wrapped__", None)
    if once is None:  # a gcsfs that is made otherwise: slower to give up, but as good
        return GCSFileSystem(**options)

    class Google(GCSFileSystem):  # type: ignore[misc]
        # gcsfs tries 6 times within half a minute, and `_asked` each time again.
        _request = retry_request(retries=_GOOGLE_TRIES)(once)

    return Google(**options)


def _stored(base: Address, found: Mapping[str, Any]) -> StoredObject | None:
    if found.get("type") != "file" or str(found["name"]).endswith("/"):
        return None
    bucket, _, key = str(found["name"]).partition("/")
    return StoredObject(
        address=Address(scheme=base.scheme, bucket=bucket, key=key),
        size_bytes=int(found["size"] or 0),
        modified_ns=_time_ns(found),
        etag=str(found.get("ETag") or found.get("etag") or "").strip('"'),
    )


def _time_ns(found: Mapping[str, Any]) -> int:
    for name in ("LastModified", "last_modified", "updated", "mtime"):
        value = found.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return round(value.timestamp() * 1000) * 1_000_000
    return 0
