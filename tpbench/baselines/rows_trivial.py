"""The anchors, and videos made elsewhere."""

from __future__ import annotations

from typing import Final

from tpbench.baselines.model_row import ModelRow

ROWS: Final[tuple[ModelRow, ...]] = (
    ModelRow(
        id="frozen",
        display_name="Frozen reference",
        kind="anchor",
        description="the reference in every frame: no motion, no jitter",
        factory="tpbench.baselines.trivial:Frozen",
        licence_code="MIT",
    ),
    ModelRow(
        id="oracle",
        display_name="Real clip",
        kind="anchor",
        description="the driving video itself: the best value a metric can have",
        factory="tpbench.baselines.trivial:Oracle",
        needs=("the driving video",),
        licence_code="MIT",
    ),
    ModelRow(
        id="gt-reencode",
        display_name="Real clip, re-encoded",
        kind="anchor",
        description="the driving video through x264 (crf 23, 4:2:0): what a codec alone costs",
        factory="tpbench.baselines.trivial:GtReencode",
        needs=("the driving video, with even sides",),
        licence_code="MIT",
    ),
    ModelRow(
        id="gt-lag5",
        display_name="Real clip, 5 frames late",
        kind="anchor",
        description="the driving video 5 frames late: real pictures, motion at the wrong time",
        factory="tpbench.baselines.trivial:GtLag",
        needs=("the driving video",),
        licence_code="MIT",
    ),
    ModelRow(
        id="precomputed",
        display_name="Precomputed videos",
        kind="external",
        description="videos or numbered pictures made elsewhere, found by clip id in a folder",
        factory="tpbench.baselines.precomputed:Precomputed",
        needs=("option folder: where <clip_id>.mp4 (or .mkv, ...) or <clip_id>/*.png lie",),
    ),
)
