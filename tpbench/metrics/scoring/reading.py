"""How two clips are read whose time stamps are uneven: picture by picture, or on a timeline.

Pictures of clips that were filmed by a phone, or written with a variable rate, don't stand at even
times. Where both clips hold the same number of pictures these belong together one by one, whatever
their stamps. Otherwise both are laid on even timelines, where pictures are repeated or left out.
Either way a note says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tpbench.metrics.scoring.policies import Policies
    from tpbench.video import Footage


class Reading(NamedTuple):
    """Two clips, to be read in the same way."""

    real: Footage
    generated: Footage

    notes: tuple[str, ...]
    """What is uneven, and how it is compared; what is shown as something else (HDR, interlaced).
    Each begins with a keyword and a colon."""


def read_alike(real: Footage, generated: Footage, policies: Policies) -> Reading:
    """Choose how to read two clips.

    They go by picture where the numbers of pictures agree, where stamps are even, and where the
    protocol goes by number of picture whatever the rate; otherwise by timeline.
    """
    uneven = not (real.is_even and generated.is_even)
    on_timeline = uneven and policies.rate == "fail" and real.n_frames != generated.n_frames
    how = "on an even timeline" if on_timeline else "picture by picture"
    notes = [
        f"uneven stamps: of the {side} clip ({'; '.join(footage.notes)}); compared {how}"
        for side, footage in (("real", real), ("generated", generated))
        if footage.notes
    ]
    notes += [
        f"{said} (the {side} clip)"
        for side, footage in (("real", real), ("generated", generated))
        for said in footage.shown_as
    ]
    if on_timeline:
        real, generated = real.on_timeline(), generated.on_timeline()
    return Reading(real, generated, tuple(notes))
