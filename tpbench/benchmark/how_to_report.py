"""How numbers were made, as a sentence or two for the caption of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tpbench.metrics.bootstrap import MIN_IDENTITIES, STATISTICS_VERSION
from tpbench.metrics.scoring.report import ScoreReport

_DIGITS: Final = 12
"""Of a digest."""
_LISTED: Final = 3
_MEANS: Final = {
    "mean_of_clips": "values are means over clips",
    "mean_of_frames": "values are means over all frames of all clips",
}
_POLICIES: Final = {
    ("length", "truncate"): "compared until the shorter clip ends",
    ("resize", "area"): "generated frames resized to the real ones",
    ("rate", "ignore"): "frame rates not looked at",
}


def first_frame_rule(policies: Mapping[str, Any]) -> str:
    """Return which frames were scored, in words.

    Args:
        policies: as recorded in `scores.json`.

    >>> first_frame_rule({"first_frame": 1})
    'frame 0, the reference, is not scored'
    """
    first = int(policies.get("first_frame", 0))
    if first == 0:
        return "all frames are scored, the first one (frame 0) too"
    if first == 1:
        return "frame 0, the reference, is not scored"
    return f"frames 0 to {first - 1} are not scored"


def how_to_report(reports: Sequence[ScoreReport], *, digests: Sequence[str] = ()) -> str:
    """Return what a paper has to say of its numbers: what scored which clips, and how.

    Args:
        reports: of one protocol: all seeds and all methods of a table.
        digests: of their scores (`load_report`), to be named if they are few.
    """
    protocol, policies = reports[0].protocol, reports[0].policies
    versions = sorted({str(report.environment.get("tpbench", "")) for report in reports} - {""})
    code = f"tpbench {' and '.join(versions)}" if versions else "tpbench"
    by = (
        f"Scored with {code}, protocol {protocol['id']} v{protocol['version']} "
        f"(digest {str(protocol['digest'])[:_DIGITS]}), on {_clips(reports)}."
    )
    means = _MEANS.get(str(protocol.get("clips_to_set")), _MEANS["mean_of_clips"])
    said = [_upper(first_frame_rule(policies)), *_deviations(policies), means]
    parts = [by, f"{'; '.join([*said, _intervals(reports)])}."]
    if 0 < len(digests) <= _LISTED:
        parts.append(f"Scores: {', '.join(digest[:_DIGITS] for digest in digests)}.")
    return " ".join(parts)


def _clips(reports: Sequence[ScoreReport]) -> str:
    """Return on which clips: "12 clips of 6 identities (Talks, test split, dataset 1a2b3c)"."""
    expected = max(report.coverage.n_expected for report in reports)
    found = sorted({report.coverage.n_scored for report in reports})
    range_of = f"{found[0]} to {found[-1]}" if len(found) > 1 else f"{found[0]}"
    clips = f"{range_of} of {expected} clips" if found[0] < expected else f"{expected} clips"
    if expected == 1:
        clips = clips.replace("clips", "clip")
    names = _identities(reports)
    people = f" of {len(names)} identit{'y' if len(names) == 1 else 'ies'}" if names else ""
    real = reports[0].real
    about = [str(real.get("name") or ""), f"{real['split']} split" if real.get("split") else ""]
    if real.get("digest"):
        about.append(f"{real.get('kind') or 'digest'} {str(real['digest'])[:_DIGITS]}")
    return f"{clips}{people} ({', '.join(part for part in about if part)})"


def _identities(reports: Iterable[ScoreReport]) -> set[str]:
    """Return the identities of all clips; none if that of any clip is not known."""
    names = {clip.identity for report in reports for clip in report.clips.values()}
    return {name for name in names if name is not None} if None not in names else set()


def _deviations(policies: Mapping[str, Any]) -> list[str]:
    """Return what was done to clips that did not fit."""
    return [said for (name, value), said in _POLICIES.items() if policies.get(name) == value]


def _intervals(reports: Sequence[ScoreReport]) -> str:
    has = any(score.low is not None for report in reports for score in report.metrics.values())
    if not has:
        return f"no intervals: they need {MIN_IDENTITIES} known identities"
    versions = {report.statistics for report in reports}
    # Intervals of several methods are made anew, all by the current method.
    version = versions.pop() if len(versions) == 1 else STATISTICS_VERSION
    return f"95 % intervals by bootstrap over identities (statistics v{version})"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
