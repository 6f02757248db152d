"""The published folder with its list of own files, and stored results of `verify`."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from tpbench.benchmark.run_folder import ClipRecord
from tpbench.benchmark.run_info import RunInfo
from tpbench.canonical import digest_of
from tpbench.errors import ConfigError
from tpbench.files import atomic_write_text, sha256_of
from tpbench.foreign import (
    ForeignFileError,
    copy_checked,
    opened_inside,
    printable,
    read_bytes,
    read_json,
)

logger = logging.getLogger(__name__)

STATE_VARIABLE: Final = "TPBENCH_STATE"
"""Environment variable with the state folder; default: the system's folder for user state."""
Found = Literal["digest", "rerun"]
"""digest: every file had the recorded sha256. rerun: and recomputed scores agreed."""


def state_dir() -> Path:
    """Return the folder with results of `verify`. It need not exist."""
    chosen = os.environ.get(STATE_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_dir("tpbench"))


def fingerprint(info: RunInfo, records: Mapping[str, ClipRecord], scores_digest: str) -> str:
    """Digest a whole run: `run.json`, the records with the sha256 of their files, and the scores.

    `scores.json` has the sha256 of the per-frame values, so its digest covers them too.
    """
    content = {
        "run": info.content(),
        "records": {name: records[name].model_dump() for name in sorted(records)},
        "scores": scores_digest,
    }
    return digest_of(content)


def what_was_found(key: str) -> Found | None:
    """Return the level that `verify` on this machine gave to this fingerprint; None: none."""
    try:
        content = read_json(_path(key))
    except (OSError, ForeignFileError):
        return None
    level = content.get("level") if isinstance(content, dict) else None
    return next((known for known in ("digest", "rerun") if known == level), None)


def note(key: str, found: Found | None, *, date: str) -> None:
    """Store the verified level of a run; None, for a run with problems, deletes it."""
    path = _path(key)
    try:
        if found is None:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write_text(path, json.dumps({"level": found, "date": date}) + "\n")
    except OSError as error:
        logger.warning(
            "%s: can't be written (%s): leaderboards here won't show this result; set %s to "
            "another folder",
            path.parent,
            error.strerror,
            STATE_VARIABLE,
        )


def _path(key: str) -> Path:
    return state_dir() / "verified" / f"{key}.json"


LIST_NAME: Final = ".tpbench-site.sha256"
"""Lines `<sha256>  <path>`, paths relative to the folder."""
_LINE: Final = re.compile(r"([0-9a-f]{64})  (.+)")
_LEFTOVER: Final = re.compile(r"\.tpbench-[0-9a-f]{16}\.tmp")


class Site:
    """A folder to publish. Open it with `Site.open` and end a build with `finish`.

    Every file is listed before it gets its final name, so the next build recognises all files of a
    build that was killed.
    """

    def __init__(self, folder: Path, known: dict[str, set[str]]) -> None:
        self.folder = folder
        self._known = known
        self._now: dict[str, str] = {}
        self._swept: set[Path] = set()

    @classmethod
    def open(cls, folder: Path) -> Site:
        """Open a folder, or create it.

        Raises:
            ConfigError: its list can't be read.
            OSError: it can't be created or read.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LIST_NAME
        known: dict[str, set[str]] = {}
        if os.path.lexists(path):
            try:
                if path.is_symlink():
                    raise ForeignFileError("a link")
                lines = read_bytes(path).decode("utf-8").splitlines()
            except ValueError as error:
                raise ConfigError(
                    f"{path}: can't be read as a list of files ({error}); choose another --out"
                ) from error
            for line in lines:
                # A killed build may have left an incomplete last line.
                if (match := _LINE.fullmatch(line)) and _is_plain(match[2]):
                    known.setdefault(match[2], set()).add(match[1])
        return cls(folder, known)

    def require_free(self, names: Iterable[str]) -> None:
        """Check that these names are free, or taken by unchanged files of an earlier build.

        Raises:
            ConfigError: another file is in the way.
        """
        for name in names:
            if problem := self._obstacle(name):
                raise ConfigError(
                    f"{self.folder / name}: {problem}; move it away, or choose another --out"
                )

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file.

        Raises:
            ConfigError: another file is in the way.
        """
        return self.write_bytes(name, text.encode("utf-8"))

    def write_bytes(self, name: str, data: bytes) -> Path:
        """Write a file.

        Raises:
            ConfigError: another file is in the way.
        """
        self.require_free([name])
        with self._temporary(name) as temporary:
            with temporary.open("xb") as file:
                file.write(data)
            self._rename(temporary, name, hashlib.sha256(data).hexdigest())
        return self.folder / name

    def copy(
        self,
        name: str,
        source: Path,
        *,
        inside: Path,
        sha256: str,
        is_good: Callable[[Path], bool],
    ) -> Path | None:
        """Copy a file from outside, if its bytes have the expected sha256.

        Args:
            name: in the site.
            source: the file.
            inside: folder that must contain it after all links are resolved.
            sha256: that its bytes must have.
            is_good: whether the copy at this path can be shown.

        Returns:
            Its path; None if it is left out, with a warning.
        """
        if problem := self._obstacle(name):
            logger.warning("%s: %s; left as it is", self.folder / name, problem)
            return None
        target = self.folder / name
        known = self._known.get(name, set())
        if target.exists() and sha256 in known and (len(known) == 1 or sha256_of(target) == sha256):
            self._now[name] = sha256
            return target
        with self._temporary(name) as temporary:
            if not copied(source, inside, temporary, sha256) or not is_good(temporary):
                return None
            self._rename(temporary, name, sha256)
        return target

    def finish(self, *, sweep: bool) -> None:
        """End a build.

        Args:
            sweep: delete unchanged files of earlier builds that this one did not write.
        """
        for name in sorted(self._known.keys() - self._now.keys()) if sweep else ():
            path = self.folder / name
            problem = self._obstacle(name)
            if problem:
                logger.warning("%s: %s; left as it is", path, problem)
            elif path.exists():
                path.unlink()
        known = {name: {sha256} for name, sha256 in self._now.items()}
        self._known = known if sweep else self._known | known
        lines = [f"{sha}  {name}\n" for name, all_of in self._known.items() for sha in all_of]
        atomic_write_text(self.folder / LIST_NAME, "".join(sorted(lines)))

    def _obstacle(self, name: str) -> str | None:
        """Return why a name may not be written or deleted; None if it may."""
        path = self.folder
        for part in PurePosixPath(name).parts:
            path /= part
            if path.is_symlink():
                return "is a link" if path == self.folder / name else f"{path} is a link"
        if not os.path.lexists(path):
            return None
        if not path.is_file():
            return "is not a file"
        if name not in self._known:
            return "was not written by `tpbench leaderboard build`"
        if sha256_of(path) not in self._known[name]:
            return "was changed after it was written"
        return None

    @contextmanager
    def _temporary(self, name: str) -> Iterator[Path]:
        folder = (self.folder / name).parent
        if folder not in self._swept:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.iterdir():
                if _LEFTOVER.fullmatch(left.name):
                    left.unlink()
            self._swept.add(folder)
        temporary = folder / f".tpbench-{secrets.token_hex(8)}.tmp"
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    def _rename(self, temporary: Path, name: str, sha256: str) -> None:
        self._known.setdefault(name, set()).add(sha256)
        self._now[name] = sha256
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(self.folder / LIST_NAME, flags, 0o644), "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{sha256}  {name}\n")
        temporary.replace(self.folder / name)


def copied(source: Path, inside: Path, target: Path, sha256: str) -> bool:
    """Copy a file from outside to a new one; return whether its bytes have the expected sha256.

    Args:
        source: the file; if it is left out a warning is logged, unless it does not exist.
        inside: folder that must contain it after all links are resolved.
        target: must not exist yet.
        sha256: that its bytes must have.
    """
    try:
        with opened_inside(inside, source) as file:
            if copy_checked(file, target, sha256):
                return True
        logger.warning("%s: not the recorded file (sha256 differs); left out", source)
    except FileNotFoundError:
        pass
    except ForeignFileError as error:
        logger.warning("%s: %s; left out", source, error)
    except OSError as error:
        if target.exists():  # the error is of the site's disk, not of the source
            raise
        logger.warning("%s: can't be read (%s); left out", source, error.strerror)
    return False


def _is_plain(name: str) -> bool:
    """Whether a listed name stays inside the folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and printable(name) == name
