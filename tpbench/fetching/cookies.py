"""Cookies of a browser session: used for requests, and never written or shown."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from tpbench.errors import ConfigError
from tpbench.foreign import ForeignFileError, read_bytes
from tpbench.privacy import HIDDEN, public_message

_LIMIT_BYTES: Final = 4 << 20
_FIELDS: Final = 7
_HTTP_ONLY: Final = "#HttpOnly_"
_SHORTEST_SECRET: Final = 5
"""Shorter values, such as `1` and `true`, reveal nothing and occur everywhere."""
_MAX_CHARS: Final = 300
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookies:
    """Cookies in the memory of this process; empty without `--cookies`."""

    text: str = field(default="", repr=False)
    """Lines of a Netscape cookie file."""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    """Their values, which no message may hold."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a Netscape cookie file, as browsers' extensions write it.

        Raises:
            ConfigError: it can't be read, or holds no cookie in that form. Says nothing of what
                it holds.
        """
        try:
            text = read_bytes(path, max_bytes=_LIMIT_BYTES).decode("utf-8-sig")
        except FileNotFoundError as error:
            raise ConfigError(f"--cookies: {path.name} does not exist") from error
        except (OSError, ForeignFileError) as error:
            raise ConfigError(f"--cookies: {path.name} can't be read") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"--cookies: {path.name} is no text file") from error
        # yt-dlp prints the lines that it can't read, so it only gets those that it can.
        lines = [line for line in text.splitlines() if _is_cookie(line)]
        if not lines:
            raise ConfigError(
                f"--cookies: {path.name} holds no cookie in Netscape format (7 columns, tabs "
                "between them), as browsers' extensions export it as cookies.txt"
            )
        return cls(
            text="\n".join(["# Netscape HTTP Cookie File", *lines, ""]),
            secrets=frozenset(
                value for line in lines if len(value := line.split("\t")[-1]) >= _SHORTEST_SECRET
            ),
        )

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.text)

    def stream(self) -> io.StringIO | None:
        """Return the cookies as a file in memory, to which yt-dlp may write; None without any."""
        return io.StringIO(self.text) if self.text else None

    def public(self, message: str) -> str:
        """Return a message of yt-dlp as one line without cookies, paths, secrets and colours."""
        line = " ".join(_COLOURS.sub("", message).split()).removeprefix("ERROR: ")
        for secret in sorted(self.secrets, key=len, reverse=True):
            line = line.replace(secret, HIDDEN)
        return public_message(line)[:_MAX_CHARS]


def _is_cookie(line: str) -> bool:
    if line.startswith("#") and not line.startswith(_HTTP_ONLY):
        return False
    fields = line.split("\t")
    return len(fields) == _FIELDS and bool(re.fullmatch(r"[0-9]*(\.[0-9]+)?", fields[4]))
