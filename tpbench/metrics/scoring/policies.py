"""How generated clips that differ from their real ones in length, size or rate are scored."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Final, Literal, NamedTuple

from tpbench.errors import ConfigError, MediaError
from tpbench.metrics.registry import Protocol
from tpbench.video import Footage


class Reading(NamedTuple):
    """Two clips that are read in the same way."""

    real: Footage
    generated: Footage
    notes: tuple[str, ...]
    """What is uneven and how it is compared, and what is not shown as stored (HDR, interlaced).
    Each begins with a keyword and a colon."""


def read_alike(real: Footage, generated: Footage, policies: Policies) -> Reading:
    """Choose how to read two clips.

    They are read picture by picture if the numbers of pictures agree, if the time stamps are even,
    or if the protocol ignores frame rates; otherwise on an even timeline.
    """
    uneven = not (real.is_even and generated.is_even)
    on_timeline = uneven and policies.rate == "fail" and real.n_frames != generated.n_frames
    how = "on an even timeline" if on_timeline else "picture by picture"
    sides = (("real", real), ("generated", generated))
    notes = [
        f"uneven stamps: of the {side} clip ({'; '.join(footage.notes)}); compared {how}"
        for side, footage in sides
        if footage.notes
    ]
    notes += [f"{said} (the {side} clip)" for side, footage in sides for said in footage.shown_as]
    if on_timeline:
        real, generated = real.on_timeline(), generated.on_timeline()
    return Reading(real, generated, tuple(notes))


LengthPolicy = Literal["fail", "truncate"]
ResizePolicy = Literal["fail", "area"]
RatePolicy = Literal["fail", "ignore"]

_MOST_PANELS: Final = 8
_PANEL_SLACK: Final = 0.03
"""Share by which a panel's aspect ratio may differ from the real clip's: panels have borders."""
_LEAST_PANEL: Final = 0.5
"""Share of the real clip's width; narrower parts are not taken for panels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """How the clips of a pair are aligned; part of the definition of a score."""

    length: LengthPolicy
    """If numbers of frames differ: an error, or both are compared until the shorter one ends.
    Folders of numbered pictures are then compared number by number."""
    resize: ResizePolicy
    """If sizes differ: an error, or generated frames are resized by averaging areas (INTER_AREA).
    Another aspect ratio is an error in either case, unless `shape` allows it."""
    rate: RatePolicy
    """If frame rates differ: an error, or frames are compared by number regardless. Pictures in a
    folder have no rate, which is never an error."""
    first_frame: int = 0
    """Frames before it are not scored: 1 where frame 0 is the reference itself."""
    shape: Literal["same", "any"] = "same"
    """Whether resizing may change the aspect ratio: only in protocols whose source does so."""

    def __post_init__(self) -> None:
        if self.first_frame < 0:
            raise ConfigError(f"the first frame is 0 or later, not {self.first_frame}")

    def to_json(self) -> dict[str, str | int]:
        """Return what is written into results: all but `shape`, which follows from the protocol."""
        values = asdict(self)
        del values["shape"]
        return values


def policies_of(
    protocol: Protocol,
    *,
    length: LengthPolicy | None = None,
    resize: ResizePolicy | None = None,
    rate: RatePolicy | None = None,
    first: int = 0,
) -> Policies:
    """Return the policies of a protocol, with those given in place of its own."""
    return Policies(
        length=length or protocol.length,
        resize=resize or protocol.resize,
        rate=rate or protocol.rate,
        first_frame=first,
        shape="any" if protocol.squashes and resize is None else "same",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a generated clip is aligned with its real one."""

    n_frames: int
    """Frames that are scored."""
    first_frame: int
    """Index of the first of them in the real clip."""
    first_generated: int
    """Its index in the generated clip: differs only if the numbers of pictures require it."""
    notes: tuple[str, ...]
    """What the policies did, for the result. Each begins with a keyword and a colon."""


def fit_clips(real: Footage, generated: Footage, policies: Policies, *, min_side_px: int) -> Fit:
    """Return how the two are aligned under the policies; size and rate are those of the real one.

    Args:
        real: the real clip.
        generated: the generated one.
        policies: what to do where they differ.
        min_side_px: smaller frames can't be measured.

    Raises:
        MediaError: they don't fit, or no frame is left to score. The message says what differs and
            which option helps.
    """
    notes = [*_fit_length(real, generated, policies), *_fit_size(real, generated, policies)]
    if real.fps and generated.fps and generated.fps != real.fps:
        found = f"{_rate(generated)} frames a second, the real clip {_rate(real)}"
        if policies.rate == "fail":
            reason = f"has {found}; `--rate ignore` compares frames by number all the same"
            raise MediaError(generated.path, reason)
        notes.append(f"rate ignored: generated {found}")
    lossy = [
        f"{name} {footage.codec}"
        for name, footage in (("generated", generated), ("real", real))
        if footage.first_number is not None and footage.codec != "pictures"
    ]
    if lossy:
        notes.append(f"lossy pictures: {', '.join(lossy)}")
    if min(real.width_px, real.height_px) < min_side_px:
        reason = f"is {_size(real)} px; the metrics asked for need {min_side_px} px or more a side"
        raise MediaError(real.path, reason)
    real_start, generated_start = starts(real, generated)
    first_frame = max(policies.first_frame, real_start)
    first_generated = generated_start + first_frame - real_start
    n_frames = min(real.n_frames - first_frame, generated.n_frames - first_generated)
    if n_frames < 1:
        reason = f"has no frame to score from frame {policies.first_frame} on"
        raise MediaError(generated.path, reason)
    return Fit(
        n_frames=n_frames,
        first_frame=first_frame,
        first_generated=first_generated,
        notes=tuple(notes),
    )


def starts(real: Footage, generated: Footage) -> tuple[int, int]:
    """Return the indices in the real and the generated clip at which the comparison begins.

    Clips of equal length are compared in order. If lengths differ and both are numbered pictures,
    equal numbers are compared.
    """
    if real.n_frames == generated.n_frames:
        return 0, 0
    if real.first_number is None or generated.first_number is None:
        return 0, 0
    begin = max(real.first_number, generated.first_number)
    return begin - real.first_number, begin - generated.first_number


def _fit_length(real: Footage, generated: Footage, policies: Policies) -> list[str]:
    """Return notes on the lengths, which may differ if the policy allows it."""
    numbered = real.first_number is not None and generated.first_number is not None
    numbers = f"generated pictures {_numbers(generated)}, the real ones {_numbers(real)}"
    if generated.n_frames == real.n_frames:
        if numbered and generated.first_number != real.first_number:
            return [f"numbered apart: {numbers}; compared in order"]
        return []
    found = f"{generated.n_frames} frames, the real clip {real.n_frames}"
    if policies.length == "fail":
        where = f" ({numbers})" if numbered else ""
        reason = f"has {found}{where}; `--length truncate` compares until the shorter one ends"
        raise MediaError(generated.path, reason)
    if not numbered:
        pictures = real if generated.first_number is None else generated
        if (pictures.first_number or 0) > 1:
            reason = (
                f"its pictures begin with number {pictures.first_number}, and a video has no "
                f"numbers, so with {found} nothing says which belong together: number them from 0"
            )
            raise MediaError(pictures.path, reason)
        return [f"truncated: generated {found}"]
    real_start, generated_start = starts(real, generated)
    if real_start >= real.n_frames or generated_start >= generated.n_frames:
        reason = f"no picture number occurs on both sides: {numbers}"
        raise MediaError(generated.path, reason)
    how = f"; {numbers}: compared by number" if real_start or generated_start else ""
    return [f"truncated: generated {found}{how}"]


def _fit_size(real: Footage, generated: Footage, policies: Policies) -> list[str]:
    """Return notes on the sizes, which may differ if the policy allows it."""
    sizes_px = (generated.width_px, generated.height_px), (real.width_px, real.height_px)
    if sizes_px[0] == sizes_px[1]:
        return []
    found = f"{_size(generated)} px, the real clip {_size(real)}"
    same_shape = _same_shape(*sizes_px)
    if not same_shape and (policies.shape == "same" or policies.resize == "fail"):
        reason = f"is {found}, another shape; {_remedy(real, generated)}"
        raise MediaError(generated.path, reason)
    if policies.resize == "fail":
        reason = f"is {found}; `--resize area` resizes generated frames to the real ones"
        raise MediaError(generated.path, reason)
    return [f"resized: generated {found}" if same_shape else f"squashed: generated {found}"]


def _same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether the aspect ratios agree, up to rounding the smaller size to whole pixels."""
    small, large = sorted((one, other))
    return (
        abs(large[1] * small[0] / large[0] - small[1]) <= 1
        or abs(large[0] * small[1] / large[1] - small[0]) <= 1
    )


def _remedy(real: Footage, generated: Footage) -> str:
    width_px, height_px = generated.width_px, generated.height_px
    for n in range(2, _MOST_PANELS + 1):
        beside, above = (width_px / n, height_px), (width_px, height_px / n)
        for panel_px, how in ((beside, "side by side"), (above, "one above the other")):
            across, down = panel_px[0] / real.width_px, panel_px[1] / real.height_px
            if abs(across / down - 1) <= _PANEL_SLACK and across >= _LEAST_PANEL:
                return f"it looks like {n} pictures {how}: cut out the generated one first"
    return "resizing would distort it: crop it, or fill it up, to the shape of the real clip first"


def is_refused_now(note: str) -> bool:
    """Whether a note of an earlier run reports something that is now an error: a squashed clip."""
    found = _RESIZED.fullmatch(note)
    if found is None:
        return False
    width_px, height_px, real_width_px, real_height_px = map(int, found.groups())
    return not _same_shape((real_width_px, real_height_px), (width_px, height_px))


_RESIZED: Final = re.compile(r"resized: generated (\d+)x(\d+) px, the real clip (\d+)x(\d+)")


def _numbers(footage: Footage) -> str:
    first = footage.first_number or 0
    return f"{first} to {first + footage.n_frames - 1}"


def _size(footage: Footage) -> str:
    return f"{footage.width_px}x{footage.height_px}"


def _rate(footage: Footage) -> str:
    return f"{float(footage.fps or 0):g}"
