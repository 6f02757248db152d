"""The protocols: named and versioned sets of metrics with the settings that their values depend on.

They are data: `protocol_data/<id>.yaml`. A number means something together with the id and the
digest of its protocol.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from tpbench.errors import ConfigError, did_you_mean
from tpbench.metrics.registry import MetricRow, metric
from tpbench.metrics.row_files import LazyTable, by_id, checked_rows, read_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_PROTOCOL: Final = "tpbench-v2"

RETIRED_PROTOCOLS: Final[Mapping[str, str]] = {"tpbench-v1": "tpbench-v2"}
"""What is no longer scored by, and what took its place. A published protocol's numbers never change
under its name, and some of its metrics are defined anew: so nothing is computed under it any more,
and what was scored by it is still read, compared and tabled among its own kind."""

Pooling = Literal["mean_of_clips", "mean_of_frames"]
"""See `Protocol.clips_to_set`."""

POOLINGS: Final[Mapping[Pooling, str]] = {
    "mean_of_clips": "mean over clips, each weighing the same, with an interval over identities",
    "mean_of_frames": "mean over all frames of all clips, with an interval over identities",
}
"""What each does, for readers."""

_CUSTOM = "+custom"
_SQUASHING = frozenset({"talkingpose"})
_PROSE = frozenset({"title", "description", "quirks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How a set of generated clips is scored."""

    id: str
    """With "+custom" behind it where the metrics are not the protocol's own."""

    version: int
    """1 or more; raised whenever a setting or the list of metrics changes."""

    title: str
    description: str

    metrics: tuple[str, ...]
    """Ids, in the order of a table's columns."""

    length: Literal["fail", "truncate"]
    """What becomes of clips that have more or fewer frames than the real ones: an error, or both
    are compared until the shorter one ends."""

    resize: Literal["fail", "area"]
    """What becomes of clips of another size: an error, or they are resized to the real one's by
    averaging areas (OpenCV's INTER_AREA)."""

    rate: Literal["fail", "ignore"]
    """What becomes of clips of another frame rate: an error, or frames are compared by index."""

    frames_to_clip: Literal["reduction"]
    """How the frames of a clip become its value: as each metric's own reduction says, which is the
    mean over frames for most (`tpbench metrics show METRIC`, "per clip")."""

    clips_to_set: Pooling
    """How clips become the value of the set, for metrics with a value per clip. "mean_of_clips":
    the mean over clips, each weighing the same, however long. "mean_of_frames": the mean over all
    frames of all clips, so that a clip weighs as many times as it has frames; for metrics whose
    value per clip is a mean over frames, while the others keep the mean over clips. Metrics of all
    clips together (FID, KID, FVD, restricted lasting) pool by their own definition."""

    told_beside: Literal["none", "mean_of_frames"]
    """Which other mean the protocol's source prints, and the terminal too."""

    skeleton: Literal["mediapipe", "dwpose"]
    """The detector for regions and pose accuracy."""

    window_frames: int
    """Frames of a window of FVD, and from one to the next; `disco_fvd` has its own stride."""

    fid_window_frames: int
    """Frames of a clip that one FID of the drift over windows takes in."""

    levels: Mapping[str, float] = field(hash=False)
    """For each `lasting_*` share the level below which a frame fails, in the unit of the curve;
    the restricted means over clips have that of their share."""

    hold_frames: int
    """Measured frames in a row that a failure of `lasting_*` lasts: one second at 25 a second."""

    vote_frames: int
    """Measured frames around each of which more than half must miss the level for it to miss."""

    quirks: tuple[str, ...]
    """What it does that one would not expect, a sentence each."""

    @property
    def squashes(self) -> bool:
        """Whether clips of another shape are resized as well, as its source does."""
        return self.id.removesuffix(_CUSTOM) in _SQUASHING

    @property
    def digest(self) -> str:
        """The sha256 of all settings and of the versions of its metrics, 64 hex digits.

        Canonical JSON; neither the order of the metrics nor what is only said about it counts.
        """
        settings = {name: value for name, value in asdict(self).items() if name not in _PROSE}
        settings["metrics"] = {name: metric(name).version for name in self.metrics}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()

    def with_metrics(self, metric_ids: Iterable[str]) -> Protocol:
        """Return the protocol with these metrics instead of its own.

        Args:
            metric_ids: any metrics, in the order of a table's columns; repeated ones count once.

        Returns:
            The protocol itself if these are its own metrics in whatever order; else another one,
            with "+custom" behind its id.

        Raises:
            ConfigError: no metric is given, one is unknown, or one needs a level that the protocol
                doesn't state.
        """
        chosen = tuple(dict.fromkeys(metric_ids))
        if not chosen:
            msg = f"name at least one metric for protocol '{self.id}'"
            raise ConfigError(msg)
        for metric_id in chosen:
            row = metric(metric_id)
            needs = metric_id if row.reduction == "lasting" else row.failure_of
            if needs and needs not in self.levels:
                msg = (
                    f"metric '{metric_id}' needs a level, and protocol '{self.id}' states none;"
                    f" use {_with_level(needs)}"
                )
                raise ConfigError(msg)
        if set(chosen) == set(self.metrics):
            return self
        return replace(self, id=self.id.removesuffix(_CUSTOM) + _CUSTOM, metrics=chosen)


@cache
def _protocols() -> Mapping[str, Protocol]:
    files = read_folder("protocol_data")
    # The default stands first wherever they are listed.
    names = sorted(files, key=lambda name: (name != DEFAULT_PROTOCOL, name))
    return by_id(checked_rows(Protocol, [{"id": name, **files[name]} for name in names]))


PROTOCOLS: Final[Mapping[str, Protocol]] = LazyTable(_protocols)
"""All protocols by id, the default first. Reads its files on first use."""


def protocol(protocol_id: str) -> Protocol:
    """Return the protocol of that id.

    Raises:
        ConfigError: there is none, or nothing is scored by it any more.
    """
    if protocol_id in RETIRED_PROTOCOLS:
        msg = (
            f"nothing is scored by protocol '{protocol_id}' any more, as metrics of it are defined "
            f"anew: use '{RETIRED_PROTOCOLS[protocol_id]}'; scores that were made by it can still "
            "be read, compared with each other, and put into a table"
        )
        raise ConfigError(msg)
    try:
        return PROTOCOLS[protocol_id]
    except KeyError:
        msg = f"no protocol is called '{protocol_id}'{did_you_mean(protocol_id, PROTOCOLS)}"
        raise ConfigError(msg) from None


def as_pooled(row: MetricRow, settings: Mapping[str, object]) -> MetricRow:
    """Return a metric as a protocol pools it.

    Where it takes the mean over all frames, all clips give one value together: there is no mean
    over clips that could be compared clip by clip.

    Args:
        row: the metric.
        settings: of the protocol, as `scores.json` has them; older ones don't state how they pool,
            and take the mean over clips.
    """
    over_frames = settings.get("clips_to_set") == "mean_of_frames"
    return replace(row, reduction="set") if over_frames and row.reduction == "mean" else row


def protocols_with(metric_id: str) -> tuple[str, ...]:
    """Return the ids of the protocols that hold a metric.

    Raises:
        ConfigError: there is no such metric.
    """
    metric(metric_id)
    return tuple(row.id for row in PROTOCOLS.values() if metric_id in row.metrics)


def _with_level(metric_id: str) -> str:
    return " or ".join(f"'{row.id}'" for row in PROTOCOLS.values() if metric_id in row.levels)
