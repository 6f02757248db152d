"""Texts for publication, without paths, secrets and the names of this machine and its user.

Runs, scores, datasets and pages are shared. They must hold what reproduces a result (names,
options, digests), but no local folders, user names or secrets.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

HIDDEN: Final = "(hidden)"

_SECRET_NAME: Final = re.compile(
    r"""token | secret | passw | passphrase | pwd | api_?key | credential | cookie | auth | bearer
    | private | signature | session_?(id|key) | (^|_)(key|pat|pw|pin|user|username|login|sid|sig)$
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Names of options and query parameters whose values are secret."""
_SECRET_VALUE: Final = re.compile(
    r"""\b( hf_\w{8,} | gh[a-z]_\w{16,} | github_pat_\w{16,} | glpat-[\w-]{12,} | sk-[\w-]{12,}
    | xox[a-z]-[\w-]{8,} | A[KS]IA[0-9A-Z]{12,} | AIza[\w-]{20,} | npm_\w{20,} | pypi-[\w-]{20,}
    | eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)? )""",
    re.VERBOSE,
)
"""Secrets that are recognised by their form."""
_ASSIGNED: Final = re.compile(
    r"""(?P<name>[A-Za-z][\w-]*) (?P<sign> (?: ['"]?\s*= | ['"]\s*: ) \s*['"]? )
    (?P<value>[^\s,;&'")}]+)""",
    re.VERBOSE,
)
"""`name=value`, and `'name': 'value'` as Python and JSON write it."""
_USER_INFO: Final = re.compile(r"(?<=://)[^/\s@?#]*@")

_QUERY: Final = re.compile(r"(?P<sign>[?&;#])(?P<name>[^=&#\s;?]+)=(?P<value>[^&#\s;]*)")

_CREDENTIALS: Final = re.compile(
    r"\b(?P<name>authorization\s*:\s*(?:\w+\s+)?|bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE
)
"""HTTP headers."""
_REMOTE: Final = re.compile(r"(?<![\w.-])[\w.-]+@[\w.-]+:(?=[/~])")
"""`user@host:/` of ssh."""
_SHARE: Final = re.compile(r"\\\\(?:[^\\\n:\"'<>|]+\\+)+(?P<last>[^\s\\:\"'<>|,;)\]]*)")
"""`\\\\server\\share\\folder\\file`."""
_HOME: Final = re.compile(r"(?:[A-Za-z]:)?[/\\](?:home|Users)[/\\]+[^/\\]+[/\\]*")
"""A home folder itself: its last part is the user's name."""
_COMMON_NAMES: Final = frozenset(
    {"localhost", "root", "user", "admin", "test", "data", "video", "ubuntu", "debian", "runner"}
)
"""Host and user names that reveal nothing and occur as ordinary words."""
_PATH: Final = re.compile(
    r"""(?: file:// | (?<![\w/.~<-]) (?<!\{env\}) (?<!\{checkout\}) (?<!\{out\})
    | (?<=[\s'"(\[,]-[A-Za-z]) )
    (?: ~[\w.-]*/ | [A-Za-z]:[/\\] | / )
    (?![/\\\s]) (?: [^/\\\n:"'<>|]+ [/\\]+ )* (?P<last> [^\s/\\:"'<>|,;)\]]* )""",
    re.VERBOSE,
)
"""An absolute path, or one below a home folder. Its folders may contain blanks. A path after a
placeholder of a method's spec does not match."""


def public_text(text: str, *, own: Iterable[Path] = ()) -> str:
    """Return text without absolute paths, credentials in URLs, and secrets.

    Files are named relative to the `own` folders; of other paths only the last part is kept.

    >>> public_text("/home/me/talks/a b/x.mp4: broken"), public_text("https://me:pw@x.org/v?t=1")
    ('x.mp4: broken', 'https://x.org/v?t=1')
    """
    for root in _roots(own):
        text = text.replace(f"{root}{os.sep}", "")
        text = re.sub(rf"{re.escape(root)}(?![\w-])", _last_part(root).replace("\\", ""), text)
    text = _REMOTE.sub("", _USER_INFO.sub("", text))
    text = _QUERY.sub(lambda match: "" if is_secret_name(match["name"]) else match[0], text)
    text = _ASSIGNED.sub(_shown_assignment, text)
    text = _CREDENTIALS.sub(lambda match: f"{match['name']}{HIDDEN}", text)
    text = _SHARE.sub(lambda match: match["last"], _SECRET_VALUE.sub(HIDDEN, text))
    return _PATH.sub(lambda match: _last_part(match[0], match["last"]), text)


def public_message(text: str, *, own: Iterable[Path] = ()) -> str:
    """Return an error's `public_text`, also without the names of this machine and its user."""
    text = public_text(text, own=own)
    with suppress(OSError, KeyError):  # a user without a name
        text = _without_name(text, getpass.getuser(), "(user)")
    return _without_name(text, socket.gethostname().partition(".")[0], "(host)")


def public_option(assignment: str) -> str:
    """Return `key=value` of a model's option without a private value.

    A secret or a local folder is replaced by its key in capitals: `hf_token=HF_TOKEN`.
    """
    key, equals, value = assignment.partition("=")
    if not equals:
        return public_text(assignment)
    shown = public_text(value)
    if is_secret_name(key) or shown != value:
        shown = re.sub(r"\W+", "_", key.strip()).upper()
    return f"{key}={shown}"


def public_command(words: Sequence[str]) -> tuple[str, ...]:
    """Return a command as it was typed; folders become their last part, secrets are hidden."""
    shown: list[str] = []
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        option, equals, value = word.partition("=")
        if before == "--option":
            shown.append(public_option(word))
        elif option == "--option" and equals:
            shown.append(f"--option={public_option(value)}")
        elif before.startswith("--") and "=" not in before and is_secret_name(before[2:]):
            shown.append(HIDDEN)
        elif word.startswith("--") and equals:
            hidden = is_secret_name(option[2:])
            shown.append(f"{option}={HIDDEN if hidden else public_text(value)}")
        else:
            shown.append(public_text(word))
    return tuple(shown)


def public_values(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a JSON value in which every text is public and values with secret names are hidden."""
    if isinstance(value, str):
        return public_text(value)
    if isinstance(value, dict):
        return {
            public_text(str(name)): HIDDEN
            if is_secret_name(str(name)) and isinstance(inner, str)
            else public_values(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [public_values(inner) for inner in value]
    return value


def is_secret_name(name: str) -> bool:
    """Whether an option of that name may hold a secret."""
    return bool(_SECRET_NAME.search(name.strip().replace("-", "_")))


def _roots(own: Iterable[Path]) -> list[str]:
    """Return the folders to cut off paths, in all their spellings, longest first."""
    spelt = {os.fspath(folder.absolute()) for folder in own}
    with suppress(FileNotFoundError):  # the working folder may have been deleted
        spelt.add(os.getcwd())  # noqa: PTH109 - another spelling
    spelt |= {os.path.realpath(root) for root in spelt}
    return sorted((root for root in spelt if len(root) > 1), key=len, reverse=True)


def _without_name(text: str, name: str, instead: str) -> str:
    if len(name) < 3 or name.lower() in _COMMON_NAMES:  # too common in ordinary text
        return text
    return re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])(?:\.[\w-]+)*", instead, text)


def _last_part(path: str, last: str = "") -> str:
    """Return the last part of an absolute path, or `~` for a home folder."""
    if _HOME.fullmatch(path.removeprefix("file://")):
        return "~"
    return last or Path(path.rstrip("/\\")).name


def _shown_assignment(match: re.Match[str]) -> str:
    if not is_secret_name(match["name"]):
        return match[0]
    return f"{match['name']}{match['sign']}{HIDDEN}"
