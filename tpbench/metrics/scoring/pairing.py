"""Pairing of generated clips with real ones, by id or path, and their identities."""

from __future__ import annotations

import csv
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, NoReturn

from tpbench.errors import ConfigError, MediaError, SubmissionError, number_of
from tpbench.files import missing_folder, read_bounded
from tpbench.foreign import from_spreadsheet_safe, printable
from tpbench.video import VIDEO_SUFFIXES, PassedOver, is_frame_folder, passed_over


def lines_of(
    notes: Iterable[str], extra: Sequence[str], of_clips: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return one line for each kind of event.

    Args:
        notes: of the whole set.
        extra: generated clips that belong to no real one.
        of_clips: by clip, what policies did; the text before the colon is the kind.
    """
    lines = list(notes)
    if extra:
        such = f"'{extra[0]}'" + (f" and {len(extra) - 1:,} more" if len(extra) > 1 else "")
        lines.append(f"generated, but no real clip has the name, so not scored: {such}")
    kinds: dict[str, list[tuple[str, str]]] = {}
    for clip_id in sorted(of_clips):
        for note in of_clips[clip_id]:
            kind, _, detail = note.partition(": ")
            kinds.setdefault(kind, []).append((clip_id, detail))
    for kind, found in kinds.items():
        clip_id, detail = found[0]
        such = f"'{clip_id}'" if len(found) == 1 else f"such as '{clip_id}'"
        clips = "1 clip" if len(found) == 1 else f"{len(found):,} clips"
        lines.append(f"{kind}: {clips}, {such}" + (f": {detail}" if detail else ""))
    return tuple(lines)


_FORMS: Final[tuple[Literal["NFC", "NFD"], ...]] = ("NFC", "NFD")
_COLUMNS: Final = ("clip", "identity")
_MAX_BYTES: Final = 64 << 20

_LINE_END: Final = re.compile(r"\r\n|\n|\r")
_FIELD: Final = r'(?:"(?:[^"]|"")*"|[^",]*)'
_RECORD: Final = re.compile(rf"{_FIELD}(?:,{_FIELD})*")
"""One line with its quotes in pairs and around whole fields (RFC 4180, without line ends)."""
_OTHER_DELIMITERS: Final = {";": "';'", "\t": "tabs", "|": "'|'"}


def read_identities(path: Path) -> dict[str, str]:
    """Read a CSV table with the columns `clip` and `identity`; other columns are ignored.

    Clips and identities are in Unicode's composed form (NFC), without blanks at their ends.

    Raises:
        ConfigError: it can't be read, lacks a column, or is ambiguous; the message names the line.
    """
    return _Table(path).identities()


def with_identities(pairing: Pairing, identities: Mapping[str, str], path: Path) -> Pairing:
    """Return the pairs with the identities of a table.

    Table rows of unknown clips become a note, and so do identities that differ only in case.

    Raises:
        ConfigError: the table lacks a clip.
    """
    lacking = [pair.clip_id for pair in pairing.pairs if _composed(pair.clip_id) not in identities]
    if lacking:
        stems = {name.rpartition(".")[0]: name for name in identities}
        close = stems.get(_composed(lacking[0]))
        hint = f"; write it without the ending of '{close}'" if close else ""
        raise ConfigError(
            f"{path}: has no identity for {number_of(len(lacking), 'clip')}, the first is "
            f"'{lacking[0]}'{hint}"
        )
    pairs = tuple(
        replace(pair, identity=identities[_composed(pair.clip_id)]) for pair in pairing.pairs
    )
    known = {_composed(pair.clip_id) for pair in pairs} | set(map(_composed, pairing.missing))
    unknown = sorted(identities.keys() - known)
    notes = []
    if unknown:
        more = f" and {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        notes.append(f"{path.name} names clips that are not there: '{unknown[0]}'{more}")
    notes += _similar_names({pair.identity for pair in pairs if pair.identity})
    return replace(pairing, pairs=pairs, notes=(*pairing.notes, *notes))


def _similar_names(identities: Iterable[str]) -> Iterator[str]:
    forms: dict[str, str] = {}
    for identity in sorted(identities):
        form = " ".join(identity.casefold().split())
        if form in forms:
            yield f"identities '{forms[form]}' and '{identity}' count as two people"
        forms[form] = identity


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


class _Table:
    """A table being read; keeps the current line number for error messages."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 1

    def identities(self) -> dict[str, str]:
        lines = _LINE_END.split(self._text())
        head = self._head(lines[0])
        places = [head.index(name) for name in _COLUMNS]
        found: dict[str, str] = {}
        for self._line, line in enumerate(lines[1:], start=2):
            if not line:
                continue
            fields = self._fields(line)
            if len(fields) < len(head):
                clip = fields[places[0]] if places[0] < len(fields) else ""
                self._refuse(f"clip '{clip}' lacks a name: {_count(fields, head)}")
            if len(fields) > len(head):
                advice = "put a field that has a comma in it between double quotes"
                self._refuse(f"{_count(fields, head)}: {advice}")
            clip, identity = (fields[place] for place in places)
            if not clip or not identity:
                self._refuse(f"clip '{clip}' lacks a name")
            if clip in found:
                self._refuse(f"clip '{clip}' comes twice")
            found[clip] = from_spreadsheet_safe(identity)
        return found

    def _text(self) -> str:
        try:
            raw = read_bounded(self._path, _MAX_BYTES)
        except OSError as error:
            raise ConfigError(
                f"{self._path}: no table that can be read ({error.strerror or error})"
            ) from error
        if b"\0" in raw:
            self._line = raw[: raw.index(b"\0")].count(b"\n") + 1
            self._refuse("no table that can be read (a NUL byte: save it as UTF-8)")
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self._line = raw[: error.start].count(b"\n") + 1
            self._refuse(f"no table that can be read (not UTF-8: {error.reason}; save it as UTF-8)")

    def _head(self, line: str) -> list[str]:
        marks = [name for mark, name in _OTHER_DELIMITERS.items() if mark in line]
        if marks and "," not in line:
            self._refuse(f"fields are separated by {marks[0]}: save it with commas")
        head = self._fields(line)
        if not set(_COLUMNS) <= set(head):
            found = ", ".join(head) if line else "none"
            self._refuse(f"want the columns 'clip' and 'identity', found {found}")
        forms = [name.casefold() for name in head]
        for at, form in enumerate(forms):
            if not form:
                self._refuse(f"column {at + 1} has no name")
            if form in forms[:at]:
                self._refuse(f"two columns are called '{head[at]}': keep one")
        return head

    def _fields(self, line: str) -> list[str]:
        # Blanks beside commas don't change an identity, but may precede a quote.
        if not _RECORD.fullmatch(line):
            advice = "quotes go around a whole field, and a quote in it is doubled"
            self._refuse(f"has a double quote that can be read in two ways: {advice}")
        fields = [_composed(value.strip()) for value in next(csv.reader([line], strict=True), [""])]
        for value in fields:
            if printable(value) != value:
                self._refuse(f"'{printable(value)}' contains an invisible character")
        return fields

    def _refuse(self, reason: str) -> NoReturn:
        raise ConfigError(f"{self._path}, line {self._line}: {reason}")


def _count(fields: Sequence[str], head: Sequence[str]) -> str:
    return f"{len(fields)} fields, where the head has {len(head)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A real clip and the generated clip that is compared with it."""

    clip_id: str
    """A dataset's clip id, or the path below the folder without its ending: `sub/name`."""
    real: Path
    generated: Path
    """Each a video, or a folder of pictures."""
    identity: str | None = None
    """The person shown; None if not known."""
    real_sha256: str | None = None
    """Of the real clip's content; None if it was not hashed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """All pairs of two folders, and the clips without a partner."""

    pairs: tuple[Pair, ...]
    """By clip id."""
    missing: tuple[str, ...]
    """Real clips without a generated clip."""
    extra: tuple[str, ...]
    """Generated clips without a real clip; they are not scored."""
    hints: Mapping[str, str] = field(default_factory=dict)
    """By missing clip: the file that may be meant for it, and why it does not count."""
    notes: tuple[str, ...] = ()
    """What else a reader of the scores has to know, one line each."""

    @property
    def n_expected(self) -> int:
        """Real clips."""
        return len(self.pairs) + len(self.missing)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealClip:
    """A real clip and the person it shows."""

    path: Path
    identity: str | None = None
    sha256: str | None = None
    """Of its content; None if it was not hashed yet."""


def pair_up(
    real: Mapping[str, RealClip],
    generated: Mapping[str, Path],
    *,
    left_out: PassedOver | None = None,
    by_own_name: bool = False,
) -> Pairing:
    """Match names that are equal in Unicode's composed form.

    File systems and archives change "é" from one code point (NFC) to two (NFD) and back, so both
    match. Names that differ in case or blanks don't match, but get a hint.

    Args:
        real: by clip id.
        generated: by name.
        left_out: files beside the generated ones that are not read.
        by_own_name: as passed to `videos_below`.

    Raises:
        SubmissionError: nothing matches (the message shows a name of each side), or one side has a
            name in several Unicode forms and the other side lacks some of them.
    """
    names = _matched(real, generated)
    missing = tuple(sorted(real.keys() - names.keys()))
    extra = tuple(sorted(generated.keys() - set(names.values())))
    hints, notes = _hints(missing, extra), _other_forms(names)
    if left_out is not None:
        hints = {**left_out.hints(missing, by_own_name=by_own_name), **hints}
        notes += filter(None, [left_out.note("generated")])
    if not names:
        one = min(real, default="none")
        theirs = f" (first: '{min(generated)}')" if generated else ""
        also = "".join(f"; {said}" for said in [*list(hints.values())[:1], *notes][:1])
        raise SubmissionError(
            f"no generated video has the name of a real one: {len(real)} real (first: '{one}'), "
            f"{len(generated)} generated{theirs}; name them by clip id or relative path"
            f"{also}"
        )
    pairs = (
        Pair(
            clip_id=clip_id,
            real=real[clip_id].path,
            generated=generated[name],
            identity=real[clip_id].identity,
            real_sha256=real[clip_id].sha256,
        )
        for clip_id, name in names.items()
    )
    return Pairing(
        pairs=tuple(pairs), missing=missing, extra=extra, hints=hints, notes=tuple(notes)
    )


def _matched(real: Iterable[str], generated: Iterable[str]) -> dict[str, str]:
    """Return generated names by real names, sorted."""
    ours, theirs = _by_form(real), _by_form(generated)
    pairs: dict[str, str] = {}
    for form in ours.keys() & theirs.keys():
        if ours[form] != theirs[form] and max(len(ours[form]), len(theirs[form])) > 1:
            side, twice = ("real", ours) if len(ours[form]) > 1 else ("generated", theirs)
            shown = " and ".join(map(ascii, twice[form]))
            raise SubmissionError(
                f"two {side} clips have one name in two Unicode forms ({shown}): rename one"
            )
        pairs.update(zip(ours[form], theirs[form], strict=True))
    return dict(sorted(pairs.items()))


def _by_form(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        found[_composed(name)].append(name)
    return found


def _other_forms(pairs: Mapping[str, str]) -> list[str]:
    other = [name for name in pairs if name != pairs[name]]
    if not other:
        return []
    shown = f"'{other[0]}' (real {form_of(other[0])}, generated {form_of(pairs[other[0]])})"
    return [f"names in another Unicode form, taken for the same: {len(other):,}, such as {shown}"]


def form_of(name: str) -> str:
    """Return which Unicode form a name is in, for messages about names that look the same."""
    return next((form for form in _FORMS if unicodedata.is_normalized(form, name)), "mixed")


def _hints(missing: Iterable[str], extra: Iterable[str]) -> dict[str, str]:
    alike: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in extra:
        alike.setdefault(_loose(name), name)
        bare, dot, suffix = name.rpartition(".")
        if f"{dot}{suffix.lower()}" in VIDEO_SUFFIXES:  # names of videos come without it
            folders[bare] = name
    hints: dict[str, str] = {}
    for name in missing:
        other = alike.get(_loose(name))
        if name in folders:
            advice = "a folder with the ending of a video: take that off"
            hints[name] = f"there is '{folders[name]}', {advice}"
        elif other is not None:
            cases = name.casefold() == other.casefold()
            what = "upper and lower case" if cases else "blanks or look-alike signs"
            hints[name] = f"there is '{other}', which differs in {what}"
    return hints


def _loose(name: str) -> str:
    """Return a name without differences of case, blanks and variants of characters (NFKC)."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def real_clips(root: Path, *, split: str | None = None) -> dict[str, RealClip]:
    """Return the clips of a dataset, or of any folder of videos, by clip id.

    Args:
        root: a dataset's folder (it holds a `dataset.json`), or one with videos below it.
        split: of a dataset, or its frozen test split; None for all of it.

    Raises:
        ConfigError: there is no such folder, it holds no clip, or `split` needs a dataset.
        DatasetError: the dataset is broken or has no such split.
    """
    if (root / "dataset.json").is_file():
        from tpbench.dataset import Dataset

        dataset = Dataset.open(root)
        clips = {
            clip.clip_id: RealClip(path=dataset.clip_path(clip), identity=clip.identity)
            for clip in dataset.clips(split=split)
        }
    elif split is not None:
        raise ConfigError(f"{root}: is no dataset (no dataset.json), so it has no split '{split}'")
    else:
        clips = {key: RealClip(path=path) for key, path in videos_below(root).items()}
    if not clips:
        said = passed_over(root, ()).note("real")
        raise ConfigError(f"{root}: holds no clip to score against" + (f"; {said}" if said else ""))
    return clips


def videos_below(root: Path, *, by_own_name: bool = False) -> dict[str, Path]:
    """Return all videos and frame folders below a folder, by path relative to it without ending.

    Links to folders are followed. Hidden files and folders are skipped. Pictures in a folder with
    a video are not frames.

    Args:
        root: the folder to search, with its sub-folders.
        by_own_name: name them by the last part of the path only, as clip ids of a dataset are
            unique in all of its folders. The folder `clips` of a dataset is always read so.

    Raises:
        ConfigError: there is no such folder, or all it holds is one clip's pictures.
        MediaError: it, or a folder below it, can't be listed.
        SubmissionError: two have the same name, or a name is not UTF-8.
    """
    if not root.is_dir():
        raise ConfigError(f"{root}: {missing_folder(root)}")
    by_own_name = by_own_name or is_clip_folder(root)
    found: dict[str, Path] = {}
    for path in _footage_below(root):
        # The name of a frame folder may have dots in it that begin no ending.
        named = path if path.is_dir() else path.with_suffix("")
        key = named.name if by_own_name else named.relative_to(root).as_posix()
        _require_text(key, root)
        if key in found:
            raise SubmissionError(f"{found[key]} and {path} are both '{key}': keep one")
        found[key] = path
    if not found and is_frame_folder(root):
        raise ConfigError(
            f"{root}: its pictures lie in it directly; give each clip a folder of its own"
        )
    return found


def is_clip_folder(root: Path) -> bool:
    """Whether a folder is one of those of a dataset over whose sub-folders the clips are spread."""
    from tpbench.dataset.folder import CLIP_FILES
    from tpbench.dataset.info import INFO_NAME

    real = root.resolve()
    return (real.parent / INFO_NAME).is_file() and real.name in {k.folder_name for k in CLIP_FILES}


def _require_text(key: str, root: Path) -> None:
    """Reject a name that can't be written to a JSON file."""
    try:
        key.encode()
    except UnicodeEncodeError as error:
        shown = key.encode(errors="backslashreplace").decode()
        raise SubmissionError(
            f"{root}: the name of '{shown}' is not UTF-8; rename it, or check the locale"
        ) from error


def _footage_below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Yield videos and frame folders; `above` holds the parent folders, links resolved."""
    above |= {folder.resolve()}
    try:
        children = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise MediaError(folder, error.strerror or str(error)) from error
    for path in children:
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises without permission
            if path.resolve() in above:  # a link back up
                continue
            if is_frame_folder(path):
                yield path
            yield from _footage_below(path, above)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            yield path
