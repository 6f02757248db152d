"""Which name means which: exactly, or in another Unicode form, and what may have been meant."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tpbench.errors import SubmissionError
from tpbench.video import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Names of two sides laid side by side; all by the first side's name, in order."""

    pairs: Mapping[str, str]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    hints: Mapping[str, str]
    """By missing name: which extra one looks like it."""

    notes: tuple[str, ...]


def match_names(real: Collection[str], generated: Collection[str]) -> Matching:
    """Match names that are equal, or would be in one Unicode form.

    File systems and archives change "é" from one sign (NFC) to two (NFD) and back, so forms are no
    difference. Upper and lower case, and blanks, are one, but get a hint.

    Raises:
        SubmissionError: one side has a name in several forms and the other side not the same ones.
    """
    ours, theirs = _by_form(real), _by_form(generated)
    pairs: dict[str, str] = {}
    for form in ours.keys() & theirs.keys():
        pairs |= _one_form(ours[form], theirs[form])
    missing = sorted(set(real) - pairs.keys())
    extra = sorted(set(generated) - set(pairs.values()))
    return Matching(
        pairs=dict(sorted(pairs.items())),
        missing=tuple(missing),
        extra=tuple(extra),
        hints=_hints(missing, extra),
        notes=_notes(pairs),
    )


def unicode_form(name: str) -> str:
    """Return a name in the form that all are compared in: composed (NFC)."""
    return unicodedata.normalize("NFC", name)


def form_of(name: str) -> str:
    """Return which Unicode form a name is in, for people who see no difference."""
    for form in ("NFC", "NFD"):
        if unicodedata.is_normalized("NFC" if form == "NFC" else "NFD", name):
            return form
    return "mixed"


def _by_form(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        found[unicode_form(name)].append(name)
    return found


def _one_form(real: list[str], generated: list[str]) -> dict[str, str]:
    if real == generated:
        return dict(zip(real, generated, strict=True))
    if len(real) == len(generated) == 1:
        return {real[0]: generated[0]}
    side = "real" if len(real) > 1 else "generated"
    shown = " and ".join(ascii(name) for name in (real if len(real) > 1 else generated))
    msg = f"two {side} clips have one name in two Unicode forms ({shown}): rename one"
    raise SubmissionError(msg)


def _notes(pairs: Mapping[str, str]) -> tuple[str, ...]:
    other = [name for name in sorted(pairs) if name != pairs[name]]
    if not other:
        return ()
    shown = f"'{other[0]}' (real {form_of(other[0])}, generated {form_of(pairs[other[0]])})"
    return (f"names in another Unicode form, taken for the same: {len(other):,}, such as {shown}",)


def _hints(missing: Iterable[str], extra: Iterable[str]) -> dict[str, str]:
    alike: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in extra:
        alike.setdefault(_loose(name), name)
        bare, dot, suffix = name.rpartition(".")
        if f"{dot}{suffix.lower()}" in VIDEO_SUFFIXES:  # the name of a video has lost it
            folders[bare] = name
    hints: dict[str, str] = {}
    for name in missing:
        other = alike.get(_loose(name))
        if name in folders:
            told = "a folder with the ending of a video: take that off"
            hints[name] = f"there is '{folders[name]}', {told}"
        elif other is not None:
            cases = name.casefold() == other.casefold()
            what = "upper and lower case" if cases else "blanks or look-alike signs"
            hints[name] = f"there is '{other}', which differs in {what}"
    return hints


def _loose(name: str) -> str:
    """Return what stays of a name where case, blanks and variants of signs count for nothing."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())
