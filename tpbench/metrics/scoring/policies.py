"""What becomes of clips that don't fit their real ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tpbench.errors import MediaError

if TYPE_CHECKING:
    from tpbench.video import Footage

LengthPolicy = Literal["fail", "truncate"]
ResizePolicy = Literal["fail", "area"]
RatePolicy = Literal["fail", "ignore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """How clips are brought together; part of what a number means."""

    length: LengthPolicy
    """Other numbers of frames: an error, or both are compared until the shorter one ends."""

    resize: ResizePolicy
    """Another size: an error, or generated frames are resized by averaging areas (INTER_AREA)."""

    rate: RatePolicy
    """Another frame rate: an error, or frames are compared by their number all the same. Pictures
    in a folder have no rate, which is never an error."""

    first_frame: int = 0
    """Frames before it are not scored: 1 where frame 0 is the reference itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a generated clip is laid on its real one."""

    n_frames: int
    """Frames that are scored, from `first_frame` on."""

    notes: tuple[str, ...]
    """What a policy did: it belongs to the result."""


def fit_clips(real: Footage, generated: Footage, policies: Policies, *, min_side_px: int) -> Fit:
    """Return how the two go together under the policies.

    Args:
        real: the real clip; its size and rate count.
        generated: the generated one.
        policies: what to do where they differ.
        min_side_px: smaller frames can't be measured.

    Raises:
        MediaError: they don't fit, or nothing is left to score. The line says what differs and
            which option there is.
    """
    notes: list[str] = []
    if generated.n_frames != real.n_frames:
        found = f"{generated.n_frames} frames, the real clip {real.n_frames}"
        if policies.length == "fail":
            reason = f"has {found}; `--length truncate` compares until the shorter one ends"
            raise MediaError(generated.path, reason)
        notes.append(f"truncated: generated {found}")
    if (generated.width_px, generated.height_px) != (real.width_px, real.height_px):
        found = f"{_size(generated)} px, the real clip {_size(real)}"
        if policies.resize == "fail":
            reason = f"is {found}; `--resize area` resizes generated frames to the real ones"
            raise MediaError(generated.path, reason)
        notes.append(f"resized: generated {found}")
    if real.fps and generated.fps and generated.fps != real.fps:
        found = f"{_rate(generated)} frames a second, the real clip {_rate(real)}"
        if policies.rate == "fail":
            reason = f"has {found}; `--rate ignore` compares frames by number all the same"
            raise MediaError(generated.path, reason)
        notes.append(f"rate ignored: generated {found}")
    if min(real.width_px, real.height_px) < min_side_px:
        reason = f"is {_size(real)} px; the metrics asked for need {min_side_px} px or more a side"
        raise MediaError(real.path, reason)
    n_frames = min(real.n_frames, generated.n_frames) - policies.first_frame
    if n_frames < 1:
        reason = f"has no frame to score from frame {policies.first_frame} on"
        raise MediaError(generated.path, reason)
    return Fit(n_frames=n_frames, notes=tuple(notes))


def _size(footage: Footage) -> str:
    return f"{footage.width_px}x{footage.height_px}"


def _rate(footage: Footage) -> str:
    return f"{float(footage.fps or 0):g}"
