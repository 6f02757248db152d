"""Addresses of object storage: `s3://bucket/key` and `gs://bucket/key`.

They hold no credentials: those come from the environment or the files of the provider's own tools,
as fsspec, s3fs and gcsfs find them. `file://` addresses are paths, and need no extra.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Self
from urllib.parse import unquote

from tpbench.errors import ConfigError
from tpbench.foreign import printable

SCHEMES: Final = {"s3": "s3", "gs": "gs", "gcs": "gs"}
"""Schemes that are understood -> how they are written."""
# A `Path` of an address has one slash where the address has two.
_ADDRESS: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/{1,2}(?P<rest>.*)", re.S)
_FILE: Final = re.compile(r"file:(?://(?P<host>[^/]*)(?P<path>/.*)?|(?P<short>/.*))", re.S | re.I)
_WEB: Final = frozenset({"http", "https"})
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,221}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A bucket, or an object or all objects below a key in it."""

    scheme: str
    bucket: str
    key: str
    """Without a slash at either end; empty: the whole bucket."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.stored_name}"

    @property
    def stored_name(self) -> str:
        """`bucket/key`, as fsspec names it."""
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    @property
    def name(self) -> str:
        """The last part of the key; the bucket where there is none."""
        return self.stored_name.rpartition("/")[2]

    def below(self, relative: str) -> Address:
        """Return the address of what lies below this one."""
        key = f"{self.key}/{relative}" if self.key else relative
        return Address(scheme=self.scheme, bucket=self.bucket, key=key)

    def holds(self, other: Address) -> bool:
        """Whether another address is this one or lies below it."""
        if (self.scheme, self.bucket) != (other.scheme, other.bucket):
            return False
        return not self.key or other.key == self.key or other.key.startswith(f"{self.key}/")

    def relative(self, other: Address) -> str:
        """Return the key of what lies below this address, from here; empty for itself."""
        return other.key[len(self.key) + 1 :] if self.key else other.key

    @classmethod
    def of(cls, given: Path | str) -> Self | None:
        """Return the address that a user gave, also as a `Path`; None for a path of this machine.

        Web addresses are none of ours: None.

        >>> str(Address.of("s3://talks/raw/")), Address.of("raw/s3")
        ('s3://talks/raw', None)

        Raises:
            ConfigError: the scheme is unknown, or the address has no bucket, holds credentials, a
                query or parts that lead elsewhere.
        """
        match = _ADDRESS.fullmatch(str(given))
        if match is None or match["scheme"].lower() in {*_WEB, "file"}:
            return None
        shown = shown_address(given)
        scheme = SCHEMES.get(match["scheme"].lower())
        if scheme is None:
            raise ConfigError(
                f"{shown}: addresses of {match['scheme']}:// are not understood; known: "
                "s3://bucket/folder, gs://bucket/folder, file:///folder"
            )
        bucket, _, key = match["rest"].partition("/")
        if "@" in bucket or (":" in bucket and "@" in key):
            raise ConfigError(
                f"{shown}: the address holds credentials, which would be written down with it; "
                "set them in the environment (AWS_ACCESS_KEY_ID, ... or AWS_PROFILE)"
            )
        if "?" in key or "#" in key:
            what = "a query (?)" if "?" in key else "a fragment (#)"
            raise ConfigError(f"{shown}: an address with {what}; name the object itself")
        if not _BUCKET.fullmatch(bucket):
            raise ConfigError(f"{shown}: no bucket is named; want {scheme}://bucket/folder")
        key = key.strip("/")
        if key and safe_relative(key) is None:
            raise ConfigError(f"{shown}: has empty parts, '.' or '..'; name the object itself")
        return cls(scheme=scheme, bucket=bucket, key=key)

    @classmethod
    def of_listed(cls, text: str) -> Self:
        """Return the address of an object that was listed; its key may hold any character."""
        scheme, _, rest = text.partition("://")
        bucket, _, key = rest.partition("/")
        return cls(scheme=scheme, bucket=bucket, key=key)


def local_path(given: Path | str) -> Path:
    """Return a path as it is, and that of a `file://` address.

    >>> local_path("file:///data/a%20b").as_posix(), local_path("talks").as_posix()
    ('/data/a b', 'talks')

    Raises:
        ConfigError: the `file://` address names another machine, or no folder.
    """
    match = _FILE.fullmatch(str(given))
    if match is None:
        return Path(given)
    path = match["path"] or match["short"]
    if path is None or (match["host"] or "localhost").lower() != "localhost":
        # The address may hold a password, so it is not shown.
        raise ConfigError(
            "a file:// address names a folder of this machine, and no host or user: file:///folder"
        )
    return Path(unquote(path))


def plain_argument(text: str) -> str:
    """Return a word of a command, or one with its option, `file://` addresses as paths.

    >>> plain_argument("file:///data"), plain_argument("--out=file:///data"), plain_argument("a=b")
    ('/data', '--out=/data', 'a=b')

    Raises:
        ConfigError: as `local_path`.
    """
    option, equals, value = text.partition("=")
    if equals and option.startswith("-"):
        return f"{option}={plain_argument(value)}"
    return str(local_path(text)) if _FILE.fullmatch(text) else text


def shown_address(given: Path | str) -> str:
    """Return an address for a message: without credentials and query, in one line.

    >>> shown_address(Path("https://me:se/cret@x.org/raw?key=1")), shown_address("s3://talks/a@b")
    ('https://x.org/raw', 's3://talks/a@b')
    """
    text = re.sub(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)", r"\1://", str(given))
    # A password may hold slashes.
    text = re.sub(r"(?<=://)(?:[^/]*:.*@|[^/@]*@)", "", text, flags=re.S)
    return printable(re.split(r"[?#]", text)[0])


def require_local(given: Path | str, what: str) -> Path:
    """Return a path of this machine.

    Args:
        given: by the user.
        what: works only on folders, as the beginning of the sentence "<what> works on ...".

    Raises:
        ConfigError: it is an address of object storage.
    """
    if (address := Address.of(given)) is not None:
        raise ConfigError(
            f"{address}: {what} works on local folders; copy it to this machine first"
        )
    return local_path(given)


def safe_relative(key: str) -> str | None:
    """Return the key of an object as a path below a folder; None if it would lead elsewhere.

    >>> safe_relative("clips/ab/a.mp4"), safe_relative("../a"), safe_relative("a//b")
    ('clips/ab/a.mp4', None, None)
    """
    parts = key.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        return None
    if any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
        return None
    return PurePosixPath(*parts).as_posix()
