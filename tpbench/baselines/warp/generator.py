"""The generator `warp`: the reference, moved by hand-written rules and nothing learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2

from tpbench.baselines.base import ClipFailure, GeneratedFrame
from tpbench.baselines.options import Options, parse_options
from tpbench.baselines.warp.drawing import draw_bent, draw_rigid
from tpbench.baselines.warp.joints import ARMS, shows_a_person, visible_points
from tpbench.baselines.warp.layers import cut
from tpbench.baselines.warp.motion import Motion

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tpbench.baselines.base import AnimationTask, JsonValue
    from tpbench.baselines.model_row import OptionValue
    from tpbench.baselines.warp.joints import Points
    from tpbench.baselines.warp.layers import Cutout


class WarpOptions(Options):
    """There is nothing to set: a yardstick has one length."""


class WarpGenerator:
    """Cuts the person out of the reference once, and moves the pieces to each driving pose.

    Trunk (torso, upper arms, neck and head) follows by one smooth warp, moving least squares over
    face, shoulders, elbows and hips. Over it lie the forearms, stretched along their bone, and the
    hands, each a card that turns in space with fingers that bend a little. The background stands
    still; what the person hid of it is filled in from around.

    Every frame depends on the poses up to its own, by what was last seen of points that are not
    seen now; nothing is smoothed in time. Memory doesn't grow with the clip.

    What it can't do: show what the reference doesn't. A hand or forearm that is not seen there is
    never drawn, a head in profile doesn't turn to the front, a fist doesn't open, and where an arm
    lay on the chest, the chest is guessed. It knows no depth: hands lie over forearms, forearms
    over all else. The outline is GrabCut's: where clothes and background look alike, bits of one
    go with the other. A person who comes much nearer gets blurred.

    Args:
        options: none are known.
        weights_dir: not used; there are no weights.
        device: not used; OpenCV works on the CPU.

    Raises:
        ConfigError: an option was given.
    """

    max_clips = 1

    def __init__(
        self,
        options: Mapping[str, OptionValue],
        *,
        weights_dir: Path | None = None,
        device: str = "auto",
    ) -> None:
        del weights_dir, device
        self._options = parse_options("warp", WarpOptions, options)

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        """Yield the frames of each task, or its failure: see `Generator.generate`."""
        for task in tasks:
            points = _reference_points(task)
            if isinstance(points, str):
                yield ClipFailure(clip_id=task.clip_id, reason=points)
            else:
                yield from _frames(task, points)

    def describe(self) -> Mapping[str, JsonValue]:
        """Return the options, and the version of the library that makes the pixels."""
        return {**self._options.model_dump(mode="json"), "opencv": cv2.__version__}

    def close(self) -> None:
        """Nothing is held."""


def _reference_points(task: AnimationTask) -> Points | str:
    """Return (133, 2) px of the reference, or why the clip can't be made."""
    pose = task.reference_pose
    if pose is None:
        return "warp needs the pose of the reference, and none is known: extract its keypoints"
    for name, given in (("reference", pose), ("driving", task.driving)):
        if (given.width_px, given.height_px) != (task.width_px, task.height_px):
            return (
                f"the {name} pose is in pixels of {given.width_px}x{given.height_px}, the clip has "
                f"{task.width_px}x{task.height_px}: bring the pose to the size of the clip"
            )
    points = visible_points(pose, 0)
    if not shows_a_person(points):
        return "no person in the reference: warp needs at least a face or both shoulders there"
    return points


def _frames(task: AnimationTask, reference: Points) -> Iterator[GeneratedFrame]:
    cutout = cut(task.reference, reference)
    motion = Motion(reference)
    for index in range(task.n_frames):
        motion.advance(visible_points(task.driving, index))
        yield GeneratedFrame(clip_id=task.clip_id, index=index, image=_picture(cutout, motion))


def _picture(cutout: Cutout, motion: Motion) -> NDArray[np.uint8]:
    canvas = cutout.plate.copy()
    if cutout.trunk is not None:
        draw_bent(canvas, cutout.trunk, motion.trunk())
    for arm, forearm in zip(ARMS, cutout.forearms, strict=True):
        if forearm is not None:
            draw_rigid(canvas, forearm, motion.bone(arm.elbow, arm.wrist))
    for hand, pose in zip(cutout.hands, motion.hands, strict=True):
        if hand is not None:
            draw_bent(canvas, hand, pose.back, around=pose.forward, slack_px=pose.slack_px)
    return canvas
