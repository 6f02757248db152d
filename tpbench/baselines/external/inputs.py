"""The files a method wants: made from a task, laid on the method's canvas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.base import AnimationTask
from tpbench.baselines.external.spec import (
    DensePoseMp4,
    Geometry,
    GuidanceDir,
    Input,
    MethodSpec,
    PoseMp4,
    PosePngs,
    RawMp4,
    RefPng,
)
from tpbench.errors import GeneratorError, MediaError
from tpbench.video import CLIP, POSE, VideoWriter, probe, read_frames
from tpbench.video import read_picture as read_frame_picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where on the canvas a clip lies. All in px."""

    width_px: int
    """Of the clip."""
    height_px: int
    """Of the clip."""
    canvas_width_px: int
    canvas_height_px: int
    x0_px: int
    """Left edge of the clip on the canvas."""
    y0_px: int
    """Top edge of the clip on the canvas."""
    box_width_px: int
    """Of the clip on the canvas."""
    box_height_px: int
    """Of the clip on the canvas."""

    def place(
        self,
        image: NDArray[np.uint8],
        *,
        around: tuple[int, int, int] | None = None,
        labels: bool = False,
    ) -> NDArray[np.uint8]:
        """Lay a picture of the clip's size on the canvas.

        Args:
            image: (height_px, width_px, 3) uint8 RGB.
            around: colour of the rest of the canvas; None: the picture's outermost pixels again.
            labels: colours are codes that must not be mixed.

        Returns:
            (canvas_height_px, canvas_width_px, 3) uint8 RGB.
        """
        import cv2

        size = (self.box_height_px, self.box_width_px)
        box = _resized(image, size, labels=labels)
        below = self.canvas_height_px - self.y0_px - self.box_height_px
        right = self.canvas_width_px - self.x0_px - self.box_width_px
        border = cv2.BORDER_REPLICATE if around is None else cv2.BORDER_CONSTANT
        canvas: NDArray[np.uint8] = cv2.copyMakeBorder(
            box, self.y0_px, below, self.x0_px, right, border, value=around or (0, 0, 0)
        )
        return canvas

    def place_points(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Move (..., 2) px of the clip to px of the canvas; pixel centres are whole numbers."""
        scale = np.array([self.box_width_px / self.width_px, self.box_height_px / self.height_px])
        origin = np.array([self.x0_px, self.y0_px])
        moved: NDArray[np.float64] = (points.astype(np.float64) + 0.5) * scale + origin - 0.5
        return moved

    def take_back(self, canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the clip out of a canvas and bring it to the clip's own size: undoes `place`."""
        rows = slice(self.y0_px, self.y0_px + self.box_height_px)
        columns = slice(self.x0_px, self.x0_px + self.box_width_px)
        size = (self.height_px, self.width_px)
        return np.ascontiguousarray(_resized(canvas[rows, columns], size, labels=False))


def lay_out(geometry: Geometry, *, width_px: int, height_px: int) -> Layout:
    """Choose the canvas for a clip, and where on it the clip lies: in the middle.

    Args:
        geometry: of the method.
        width_px: of the clip.
        height_px: of the clip.
    """
    if geometry.fit == "pad":
        step = geometry.multiple_of
        canvas = (-(-width_px // step) * step, -(-height_px // step) * step)
        box = (width_px, height_px)
    else:
        canvas = max(geometry.sizes, key=lambda size: _share_filled(size, width_px, height_px))
        scale = min(canvas[0] / width_px, canvas[1] / height_px)
        box = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
        if geometry.fit == "stretch":
            box = canvas
    return Layout(
        width_px=width_px,
        height_px=height_px,
        canvas_width_px=canvas[0],
        canvas_height_px=canvas[1],
        x0_px=(canvas[0] - box[0]) // 2,
        y0_px=(canvas[1] - box[1]) // 2,
        box_width_px=box[0],
        box_height_px=box[1],
    )


def _share_filled(canvas: tuple[int, int], width_px: int, height_px: int) -> float:
    """Return the share of the canvas that the clip covers when it is scaled to fit in."""
    scales = canvas[0] / width_px, canvas[1] / height_px
    return min(scales) / max(scales)


def _resized(image: NDArray[np.uint8], size: tuple[int, int], *, labels: bool) -> NDArray[np.uint8]:
    """Resize to (height, width): area means when shrinking, cubic when growing."""
    import cv2

    if image.shape[:2] == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    smooth = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    how = cv2.INTER_NEAREST_EXACT if labels else smooth
    resized: NDArray[np.uint8] = cv2.resize(image, size[::-1], interpolation=how)
    return resized


_BLACK: Final = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFolders:
    """What the user brings, because tpbench can't make it."""

    densepose_dir: Path | None = None
    """`<clip_id>.mp4`"""
    guidance_dir: Path | None = None
    """`<clip_id>/<folder>/*.png`"""


def write_inputs(
    spec: MethodSpec,
    task: AnimationTask,
    layout: Layout,
    stem: Path,
    user: UserFolders,
) -> dict[str, Path]:
    """Write all that the method wants of one clip.

    Args:
        spec: of the method.
        task: the clip.
        layout: where the clip lies on the canvas.
        stem: what the names of all files of this clip start with; two clips have different ones.
        user: folders of the user.

    Returns:
        The paths, by placeholder.

    Raises:
        GeneratorError: the task lacks something, or what the user brought does not fit it.
        MediaError: a video or picture can't be read.
    """
    _check(task)
    clip = _Clip(spec=spec, task=task, layout=layout, user=user)
    return {
        name: _write(wanted, clip, stem.with_name(f"{stem.name}_{name}"))
        for name, wanted in spec.inputs.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Clip:
    """What all inputs of a clip are made from."""

    spec: MethodSpec
    task: AnimationTask
    layout: Layout
    user: UserFolders

    def place(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lay a real picture on the canvas."""
        around = _BLACK if self.spec.geometry.fill == "black" else None
        return self.layout.place(image, around=around)


def _check(task: AnimationTask) -> None:
    pose, size = task.driving, (task.width_px, task.height_px)
    if (pose.width_px, pose.height_px) != size:
        raise GeneratorError(
            f"the driving pose is of {pose.width_px}x{pose.height_px} px, "
            f"the clip of {size[0]}x{size[1]} px"
        )
    if task.n_frames == 0:
        raise GeneratorError("the driving pose has no frames")


def _write(wanted: Input, clip: _Clip, stem: Path) -> Path:
    """Write one input; its path starts with `stem`."""
    match wanted:
        case RefPng():
            path = stem.with_name(f"{stem.name}.png")
            _write_png(path, clip.place(clip.task.reference))
            return path
        case PosePngs():
            for index, image in enumerate(_drawings(clip.task, clip.layout)):
                _write_png(stem / (wanted.names % index), image)
            return stem
        case GuidanceDir():
            _write_guidance(wanted, clip, stem)
            return stem
        case PoseMp4() | RawMp4() | DensePoseMp4():
            path = stem.with_name(f"{stem.name}.mp4")
            _write_video(wanted, clip, path)
            return path


def _write_video(wanted: PoseMp4 | RawMp4 | DensePoseMp4, clip: _Clip, path: Path) -> None:
    task, layout = clip.task, clip.layout
    rate, encoding = task.fps, CLIP
    if isinstance(wanted, PoseMp4):
        encoding = POSE
        images = _drawings(task, layout)
    elif isinstance(wanted, RawMp4):
        if task.driving_video is None:
            raise GeneratorError("the method wants the driving video itself, and there is none")
        rate = Fraction(wanted.rate_hz) if wanted.rate_hz else rate
        images = (clip.place(image) for image in _frames_of(task.driving_video, task))
    else:
        source = _brought(clip.user.densepose_dir, f"{task.clip_id}.mp4", "densepose_dir")
        around = wanted.background_rgb
        images = (
            layout.place(image, around=around, labels=True) for image in _frames_of(source, task)
        )
    with VideoWriter(
        path,
        width_px=layout.canvas_width_px,
        height_px=layout.canvas_height_px,
        fps=rate,
        encoding=encoding,
    ) as writer:
        for image in images:
            writer.write(image)


def _write_guidance(wanted: GuidanceDir, clip: _Clip, folder: Path) -> None:
    source = _brought(clip.user.guidance_dir, clip.task.clip_id, "guidance_dir")
    for name in wanted.folders:
        for index, image in enumerate(_pictures_of(source / name, clip.task)):
            placed = clip.layout.place(image, around=_BLACK, labels=True)
            _write_png(folder / name / f"{index:06d}.png", placed)


def _drawings(task: AnimationTask, layout: Layout) -> Iterator[NDArray[np.uint8]]:
    """Draw each pose at the canvas's size: the width of the lines is what networks know."""
    from tpbench.dwpose_drawing import draw_pose

    height_px, width_px = layout.canvas_height_px, layout.canvas_width_px
    for points, scores in zip(task.driving.keypoints, task.driving.scores, strict=True):
        yield draw_pose(layout.place_points(points)[None], scores[None], height_px, width_px)


def _frames_of(path: Path, task: AnimationTask) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video that belongs to the task, frame by frame."""
    info = probe(path)
    _check_count(path, info.frame_count, task)
    for frame in read_frames(path, info=info):
        _check_size(path, frame.image, task)
        yield frame.image


def _pictures_of(folder: Path, task: AnimationTask) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a folder in the order of the last number in their names."""
    numbered: dict[int, Path] = {}
    for path in folder.glob("*.png") if folder.is_dir() else ():
        number = re.search(r"(\d+)\D*\.png$", path.name)
        if number is None or int(number[1]) in numbered:
            raise GeneratorError(
                f"{path}: want one PNG for each frame, with the frame's number in its name"
            )
        numbered[int(number[1])] = path
    _check_count(folder, len(numbered), task)
    for _, path in sorted(numbered.items()):
        image = read_picture(path)
        _check_size(path, image, task)
        yield image


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3) uint8 RGB.

    Raises:
        GeneratorError: it can't be read, or is transparent in places.
    """
    try:
        return read_frame_picture(path)
    except MediaError as error:
        raise GeneratorError(f"{path.name}: can't be read as a picture ({error.reason})") from error


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    data.tofile(path)


def _brought(folder: Path | None, name: str, option: str) -> Path:
    """Return what the user brought for a clip."""
    if Path(name).name != name:
        raise GeneratorError(f"'{name}' is no file name; nothing can be looked up under it")
    path = None if folder is None else folder / name
    if path is None or not path.exists():
        raise GeneratorError(f"no {name} in {folder}: bring it for this clip (option {option})")
    return path


def _check_count(path: Path, count: int, task: AnimationTask) -> None:
    if count != task.n_frames:
        raise GeneratorError(f"{path} has {count} frames, the driving pose {task.n_frames}")


def _check_size(path: Path, image: NDArray[np.uint8], task: AnimationTask) -> None:
    size = (task.width_px, task.height_px)
    if image.shape[1::-1] != size:
        got = f"{image.shape[1]}x{image.shape[0]}"
        raise GeneratorError(f"{path} is of {got} px, the clip of {size[0]}x{size[1]} px")
