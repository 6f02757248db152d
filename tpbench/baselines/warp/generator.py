"""The generator `warp`: moves the reference by hand-written rules, without learnt networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.base import (
    AnimationTask,
    ClipFailure,
    GeneratedFrame,
    JsonValue,
    Options,
    OptionValue,
    parse_options,
)
from tpbench.baselines.warp import motion
from tpbench.baselines.warp.layers import (
    ARMS,
    Cutout,
    Layer,
    Points,
    cut,
    shows_a_person,
    visible_points,
)
from tpbench.baselines.warp.motion import Affine, BackwardMap, Motion

Box = tuple[int, int, int, int]

_CELL_PX: Final = 16
"""Distance between the nodes at which a smooth map is computed."""


def draw_rigid(canvas: NDArray[np.uint8], layer: Layer, forward: Affine) -> None:
    """Draw a layer, moved by one affine map, over an (H, W, 3) uint8 image, in place."""
    box = _box_around(canvas, layer, forward, slack_px=0.0)
    if box is None:
        return
    x0, y0, x1, y1 = box
    back = motion.inverse(forward)
    origin = motion.apply(back, np.array([x0, y0], dtype=np.float64)) - layer.corner
    moved = cv2.warpAffine(
        layer.image,
        np.column_stack([back[:, :2], origin]),
        (x1 - x0, y1 - y0),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    _blend(canvas[y0:y1, x0:x1], moved)


def draw_bent(
    canvas: NDArray[np.uint8],
    layer: Layer,
    back: BackwardMap,
    *,
    around: Affine | None = None,
    slack_px: float = 0.0,
) -> None:
    """Draw a layer, moved by a smooth map, over an image, in place.

    Args:
        canvas: (H, W, 3) uint8 RGB.
        layer: to draw.
        back: map from the output to the reference.
        around: approximate forward map, to limit the drawn region; None: the whole canvas.
        slack_px: largest distance from that approximation.
    """
    height, width = canvas.shape[:2]
    box: Box | None = (0, 0, width, height)
    if around is not None:
        box = _box_around(canvas, layer, around, slack_px=slack_px)
    if box is not None:
        x0, y0, x1, y1 = box
        moved = cv2.remap(layer.image, _fine_map(box, layer, back), None, cv2.INTER_LINEAR)
        _blend(canvas[y0:y1, x0:x1], moved)


def _fine_map(box: Box, layer: Layer, back: BackwardMap) -> NDArray[np.float32]:
    """Return (h, w, 2) px of the layer for each pixel of a box, linear between the nodes."""
    x0, y0, x1, y1 = box
    # One more ring of nodes than the box needs: resizing is constant outside the outermost ones.
    columns, rows = -(-(x1 - x0) // _CELL_PX) + 2, -(-(y1 - y0) // _CELL_PX) + 2
    xs = x0 + (np.arange(columns) - 0.5) * _CELL_PX - 0.5
    ys = y0 + (np.arange(rows) - 0.5) * _CELL_PX - 0.5
    nodes = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    coarse = (back(nodes) - layer.corner).reshape(rows, columns, 2).astype(np.float32)
    size = (columns * _CELL_PX, rows * _CELL_PX)
    fine: NDArray[np.float32] = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    return fine[_CELL_PX : _CELL_PX + y1 - y0, _CELL_PX : _CELL_PX + x1 - x0]


def _box_around(
    canvas: NDArray[np.uint8], layer: Layer, forward: Affine, *, slack_px: float
) -> Box | None:
    """Return x0, y0, x1, y1 of the pixels that a layer may reach; None if all are outside."""
    height, width = layer.image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    outline = motion.apply(forward, layer.corner + corners)
    canvas_px = (canvas.shape[1], canvas.shape[0])
    low = np.clip(np.floor(outline.min(axis=0) - slack_px) - 1, 0, canvas_px)
    high = np.clip(np.ceil(outline.max(axis=0) + slack_px) + 2, 0, canvas_px)
    (x0, y0), (x1, y1) = low.astype(int).tolist(), high.astype(int).tolist()
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _blend(under: NDArray[np.uint8], over: NDArray[np.uint8]) -> None:
    """Blend premultiplied (h, w, 4) `over` onto (h, w, 3) `under`, in place."""
    rest = cv2.merge([255 - over[..., 3]] * 3)
    under[:] = cv2.add(cv2.multiply(under, rest, scale=1 / 255), over[..., :3])


class WarpGenerator:
    """Cuts the person out of the reference once, and moves the parts to each driving pose.

    The trunk (torso, upper arms, neck and head) is moved by one smooth warp, moving least squares
    over face, shoulders, elbows and hips. Over it are drawn the forearms, stretched along the bone,
    and the hands, each as a flat card that turns in space, with fingers that bend a little. The
    background stands still; the part hidden by the person is inpainted.

    Every frame depends on the poses up to its own, because invisible points keep their last
    position; there is no smoothing over time. Memory does not grow with the length of the clip.

    Limits: only what the reference shows can be drawn. A hand or forearm that is not visible there
    is never drawn, a head in profile does not turn to the front, a fist does not open, and the
    chest behind an arm is guessed. There is no depth: hands are drawn over forearms, forearms over
    the rest. The outline is GrabCut's: where clothes and background look alike, parts of one move
    with the other. A person who moves much closer to the camera gets blurred.

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
        self._options = parse_options("warp", Options, options)

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        """Yield the frames of each task, or its failure; see `Generator.generate`."""
        for task in tasks:
            points = _reference_points(task)
            if isinstance(points, str):
                yield ClipFailure(clip_id=task.clip_id, reason=points)
                continue
            cutout, moving = cut(task.reference, points), Motion(points)
            for index in range(task.n_frames):
                moving.advance(visible_points(task.driving, index))
                image = _picture(cutout, moving)
                yield GeneratedFrame(clip_id=task.clip_id, index=index, image=image)

    def describe(self) -> Mapping[str, JsonValue]:
        """Return the options, and the version of OpenCV, which determines the pixels."""
        return {**self._options.model_dump(mode="json"), "opencv": cv2.__version__}

    def close(self) -> None:
        """Do nothing, as there are no resources to release."""


def _reference_points(task: AnimationTask) -> Points | str:
    """Return (133, 2) px of the reference, or the reason why the clip can't be generated."""
    pose = task.reference_pose
    if pose is None:
        return "warp needs the pose of the reference, but none is known: extract its keypoints"
    for name, given in (("reference", pose), ("driving", task.driving)):
        if (given.width_px, given.height_px) != (task.width_px, task.height_px):
            return (
                f"the {name} pose is for {given.width_px}x{given.height_px} px, the clip has "
                f"{task.width_px}x{task.height_px}: scale the pose to the size of the clip"
            )
    points = visible_points(pose, 0)
    if not shows_a_person(points):
        return "no person in the reference: warp needs at least a face or both shoulders there"
    return points


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
