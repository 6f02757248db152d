"""How numbers were made, as a sentence or two for the caption of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tpbench.errors import number_of
from tpbench.metrics.bootstrap import MIN_IDENTITIES, STATISTICS_VERSION
from tpbench.metrics.registry import metric_at
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
_NETWORKS: Final = {"lpips-alexnet": "LPIPS with AlexNet", "lpips-vgg16": "LPIPS with VGG-16"}
_DETECTORS: Final = {"mediapipe": "MediaPipe", "dwpose": "DWPose"}


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


def how_to_report(
    reports: Sequence[ScoreReport],
    *,
    digests: Sequence[str] = (),
    paired: bool = False,
    has_intervals: bool | None = None,
) -> str:
    """Return what a paper has to say of its numbers: what scored which clips, and how.

    Args:
        reports: of one protocol: all seeds and all methods of a table.
        digests: of their scores (`load_report`), to be named if they are few.
        paired: whether all values are over the clips that all reports have.
        has_intervals: whether any number has an interval; None: if any score has one.
    """
    protocol, policies = reports[0].protocol, reports[0].policies
    versions = sorted({str(report.environment.get("tpbench", "")) for report in reports} - {""})
    code = f"tpbench {' and '.join(versions)}" if versions else "tpbench"
    by = (
        f"Scored with {code}, protocol {protocol['id']} v{protocol['version']} "
        f"(digest {str(protocol['digest'])[:_DIGITS]}), on {_clips(reports, paired=paired)}."
    )
    means = _MEANS.get(str(protocol.get("clips_to_set")), _MEANS["mean_of_clips"])
    if not paired and len({frozenset(report.clips) for report in reports}) > 1:
        means += ", for each method over the clips that it has, which are not the same"
    if has_intervals is None:
        scores = (score for report in reports for score in report.metrics.values())
        has_intervals = any(score.low is not None for score in scores)
    said = [_upper(first_frame_rule(policies)), *_deviations(policies), means, *_tools(reports)]
    parts = [by, f"{'; '.join([*said, _intervals(reports, given=has_intervals)])}."]
    if 0 < len(digests) <= _LISTED:
        parts.append(f"Digest of the scores: {', '.join(each[:_DIGITS] for each in digests)}.")
    return " ".join(parts)


def _clips(reports: Sequence[ScoreReport], *, paired: bool) -> str:
    """Return on which clips: "12 clips of 6 identities (Talks, test split, dataset 1a2b3c)"."""
    expected = max(report.coverage.n_expected for report in reports)
    names = [set(report.clips) for report in reports]
    counts = {len(set.intersection(*names))} if paired else {len(clips) for clips in names}
    found = sorted(counts)
    range_of = f"{found[0]} to {found[-1]}" if len(found) > 1 else f"{found[0]}"
    clips = f"{range_of} of {expected} clips" if found[0] < expected else f"{expected} clips"
    if expected == 1:
        clips = clips.replace("clips", "clip")
    real = reports[0].real
    about = [str(real.get("name") or ""), _split(real.get("split"))]
    if real.get("digest"):
        about.append(f"{real.get('kind') or 'digest'} {str(real['digest'])[:_DIGITS]}")
    people = _people(reports, paired=paired)
    return f"{clips}{people} ({', '.join(part for part in about if part)})"


def _split(split: object) -> str:
    return f"{split} split" if split and split != "all" else ""


def _people(reports: Sequence[ScoreReport], *, paired: bool) -> str:
    """Return of how many identities the clips are; empty if that of any clip is not known."""
    if _each_clip(reports):
        return ""
    common = set.intersection(*(set(report.clips) for report in reports)) if paired else None
    names = {
        clip.identity
        for report in reports
        for clip_id, clip in report.clips.items()
        if common is None or clip_id in common
    }
    if not names or None in names:
        return ""
    return f" of {number_of(len(names), 'identity')}"


def _each_clip(reports: Sequence[ScoreReport]) -> bool:
    """Whether each clip was counted as another identity, which no dataset does."""
    clips = [clip for report in reports for clip in report.clips.values()]
    return bool(clips) and all(clip.identity == clip.clip_id for clip in clips)


def _tools(reports: Sequence[ScoreReport]) -> list[str]:
    """Return which networks and which detector the measured metrics rest on."""
    measured = {
        (name, score.version)
        for report in reports
        for name, score in report.metrics.items()
        if score.status == "measured"
    }
    rows = [row for name, version in measured if (row := metric_at(name, version)) is not None]
    networks = {weights for row in rows for weights in row.weights}
    said = [text for weights, text in _NETWORKS.items() if weights in networks]
    skeleton = str(reports[0].protocol.get("skeleton", ""))
    if skeleton and any("pose" in row.needs for row in rows):
        said.append(f"keypoints by {_DETECTORS.get(skeleton, skeleton)}")
    return said


def _deviations(policies: Mapping[str, Any]) -> list[str]:
    """Return what was done to clips that did not fit."""
    return [said for (name, value), said in _POLICIES.items() if policies.get(name) == value]


def _intervals(reports: Sequence[ScoreReport], *, given: bool) -> str:
    if not given:
        return f"no intervals: they need {MIN_IDENTITIES} known identities"
    versions = {report.statistics for report in reports}
    # Intervals of several methods are made anew, all by the current method.
    version = versions.pop() if len(versions) == 1 else STATISTICS_VERSION
    if _each_clip(reports):
        return (
            "95 % intervals by bootstrap over clips, each counted as another person's "
            f"(statistics v{version})"
        )
    return f"95 % intervals by bootstrap over identities (statistics v{version})"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
