"""Every error that a user can cause, and nothing else.

    TPBenchError
    ├── ConfigError            an option, preset or registry name is wrong
    ├── MediaError             a video or picture can't be used (names the file)
    │   └── DamageError            it is damaged at one place; the rest may be intact
    ├── MissingWeightsError    a model file is not on this machine (names how to get it)
    ├── MissingDependencyError a package or system library is absent (names the extra)
    ├── DatasetError           a dataset folder is broken, foreign or in the way
    ├── GeneratorError         a model failed on a clip
    └── SubmissionError        a run or row can't be accepted

The command line prints one of these as one line and exits with 2. Any other exception is a bug and
keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Final


class TPBenchError(Exception):
    """Base of all errors that one clear line explains: what, where, and what to do."""


class ConfigError(TPBenchError):
    """An option, a preset or a name in a registry is wrong."""


class MediaError(TPBenchError):
    """A video or picture can't be used.

    Args:
        path: the file, as the user named it.
        reason: what is wrong with it, as the end of the sentence "<path>: <reason>".
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[MediaError], tuple[Path | str, str]]:
        # Errors cross process borders; the default would call __init__ with the joined message.
        return type(self), (self.path, self.reason)


class TransparentError(MediaError):
    """A video is transparent in places."""


class DamageError(MediaError):
    """A video is damaged at one place; frames before it, and maybe after it, can be read."""


class MissingWeightsError(TPBenchError):
    """A model file is not on this machine.

    Args:
        name: the name `tpbench weights list` shows.
        how: what to do about it, as a sentence.
    """

    def __init__(self, name: str, how: str) -> None:
        super().__init__(f"weights '{name}' are missing: {how}")
        self.name = name
        self.how = how

    def __reduce__(self) -> tuple[type[MissingWeightsError], tuple[str, str]]:
        return type(self), (self.name, self.how)


class MissingDependencyError(TPBenchError):
    """A package or system library that a feature needs is absent.

    Args:
        feature: what can't be done without it.
        remedy: what to install, as a command (`pip install 'tpbench[talkingpose]'`).
    """

    def __init__(self, feature: str, remedy: str) -> None:
        super().__init__(f"{feature} is not available: {remedy}")
        self.feature = feature
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[MissingDependencyError], tuple[str, str]]:
        return type(self), (self.feature, self.remedy)


class DatasetError(TPBenchError):
    """A dataset folder is broken, foreign or in the way."""


class NewerVersionError(DatasetError):
    """A file of a dataset was written by a newer tpbench: nothing is broken."""


class GeneratorError(TPBenchError):
    """A model failed on a clip."""


class SubmissionError(TPBenchError):
    """A run or a leaderboard row can't be accepted."""


_MAX_LISTED: Final = 6
"""Names that `did_you_mean` offers."""


def number_of(n: int, noun: str) -> str:
    """Return a number with its noun, for messages.

    >>> number_of(1, "clip"), number_of(2000, "clip"), number_of(2, "identity")
    ('1 clip', '2,000 clips', '2 identities')
    """
    if n == 1:
        return f"1 {noun}"
    return f"{n:,} {noun[:-1]}ies" if noun.endswith("ty") else f"{n:,} {noun}s"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the closest known name in any case, else the known names.

    Of a name that is the first part of several ones (`tje` of `tje_d2`), all of these are returned.

    >>> did_you_mean("psrn", ["psnr", "ssim"])
    "; did you mean 'psnr'?"
    >>> did_you_mean("zzz", ["psnr", "ssim"])
    '; known: psnr, ssim'
    >>> did_you_mean("TJE", ["tje_d2", "psnr", "tje_d1"])
    "; did you mean 'tje_d1' or 'tje_d2'?"
    """
    names = sorted(known)
    longer = [known_name for known_name in names if known_name.startswith(f"{name.lower()}_")]
    if 1 < len(longer) <= _MAX_LISTED and name.lower() not in names:
        first = ", ".join(f"'{known_name}'" for known_name in longer[:-1])
        return f"; did you mean {first} or '{longer[-1]}'?"
    by_lower = {known_name.lower(): known_name for known_name in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean '{by_lower[close[0]]}'?" if close else f"; known: {', '.join(names)}"
