"""The generator `warp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tpbench.baselines.base import ClipFailure, GeneratedFrame
from tpbench.baselines.options import Options, parse_options
from tpbench.baselines.warp import fitting
from tpbench.baselines.warp.drawing import draw_bent, draw_rigid
from tpbench.baselines.warp.joints import ARMS, seen_points
from tpbench.baselines.warp.layers import cut
from tpbench.baselines.warp.motion import Motion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tpbench.baselines.base import AnimationTask, JsonValue
    from tpbench.baselines.model_row import OptionValue


class WarpOptions(Options):
    """None so far."""


class WarpGenerator:
    def __init__(self, options, *, weights_dir=None, device="cpu"):
        self.max_clips = 1
        self._options = parse_options("warp", WarpOptions, options)

    def generate(self, tasks):
        for task in tasks:
            yield from self._clip(task)

    def _clip(self, task):
        ref = seen_points(task.reference_pose, 0)
        cutout = cut(task.reference, ref)
        self.cutout = cutout
        motion = Motion(ref)
        for t in range(task.n_frames):
            motion.advance(seen_points(task.driving, t))
            out = cutout.plate.copy()
            if cutout.trunk is not None:
                c = np.array([[0, 0], [task.width_px, task.height_px]], float)
                draw_bent(out, cutout.trunk, motion.trunk(), c)
            for arm, layer in zip(ARMS, cutout.forearms):
                if layer is not None:
                    draw_rigid(out, layer, motion.bone(arm.elbow, arm.wrist))
            for side, layer in enumerate(cutout.hands):
                if layer is not None:
                    fwd, back = motion.hand(side)
                    h, w = layer.image.shape[:2]
                    corners = layer.corner + np.array([[0, 0], [w, 0], [w, h], [0, h]], float)
                    o = fitting.apply(fwd, corners)
                    s = 0.3 * np.ptp(o, axis=0).max()
                    draw_bent(out, layer, back, np.concatenate([o - s, o + s]))
            yield GeneratedFrame(clip_id=task.clip_id, index=t, image=out)
