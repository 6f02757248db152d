"""The input files of a method: written from a task, fitted to the method's canvas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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

_BLACK: Final = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanvasLayout:
    """Placement of a clip on the canvas: size of the clip, size of the canvas, box of the clip."""

    width_px: int
    height_px: int
    canvas_width_px: int
    canvas_height_px: int
    x0_px: int
    y0_px: int
    box_width_px: int
    box_height_px: int

    def place(
        self,
        image: NDArray[np.uint8],
        *,
        around: tuple[int, int, int] | None = None,
        labels: bool = False,
    ) -> NDArray[np.uint8]:
        """Place an image (H, W, 3) uint8 RGB of the clip's size on the canvas.

        Args:
            image: the image.
            around: colour of the rest of the canvas; None: repeat the image's outermost pixels.
            labels: colours are labels that must not be blended.
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
        """Map (..., 2) px of the clip to px of the canvas; pixel centres are integers."""
        scale = np.array([self.box_width_px / self.width_px, self.box_height_px / self.height_px])
        origin = np.array([self.x0_px, self.y0_px])
        moved: NDArray[np.float64] = (points.astype(np.float64) + 0.5) * scale + origin - 0.5
        return moved

    def take_back(self, canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Crop the clip from a canvas and resize it to the clip's own size: inverse of `place`."""
        rows = slice(self.y0_px, self.y0_px + self.box_height_px)
        columns = slice(self.x0_px, self.x0_px + self.box_width_px)
        size = (self.height_px, self.width_px)
        return np.ascontiguousarray(_resized(canvas[rows, columns], size, labels=False))


def lay_out(geometry: Geometry, *, width_px: int, height_px: int) -> CanvasLayout:
    """Choose the canvas for a clip of this size; the clip is centred on it."""
    if geometry.fit == "pad":
        step = geometry.multiple_of
        canvas = (-(-width_px // step) * step, -(-height_px // step) * step)
        box = (width_px, height_px)
    else:

        def share_filled(size: tuple[int, int]) -> float:
            scales = size[0] / width_px, size[1] / height_px
            return min(scales) / max(scales)

        canvas = max(geometry.sizes, key=share_filled)
        scale = min(canvas[0] / width_px, canvas[1] / height_px)
        box = (max(1, round(width_px * scale)), max(1, round(height_px * scale)))
        if geometry.fit == "stretch":
            box = canvas
    return CanvasLayout(
        width_px=width_px,
        height_px=height_px,
        canvas_width_px=canvas[0],
        canvas_height_px=canvas[1],
        x0_px=(canvas[0] - box[0]) // 2,
        y0_px=(canvas[1] - box[1]) // 2,
        box_width_px=box[0],
        box_height_px=box[1],
    )


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


def write_inputs(
    spec: MethodSpec,
    task: AnimationTask,
    layout: CanvasLayout,
    stem: Path,
    brought: Mapping[str, Path],
) -> dict[str, Path]:
    """Write all inputs of one clip.

    Args:
        spec: of the method.
        task: the clip.
        layout: placement of the clip on the canvas.
        stem: prefix of the paths of all files of this clip; different for each clip.
        brought: the user's folders of inputs that tpbench can't generate, by option.

    Returns:
        The paths, by placeholder.

    Raises:
        GeneratorError: the task lacks an input, or a file of the user does not fit it.
        MediaError: a video or image can't be read.
    """
    pose = task.driving
    if (pose.width_px, pose.height_px) != (task.width_px, task.height_px):
        raise GeneratorError(
            f"the driving pose is {pose.width_px}x{pose.height_px} px, "
            f"the clip {task.width_px}x{task.height_px} px"
        )
    if task.n_frames == 0:
        raise GeneratorError("the driving pose has no frames")
    around = _BLACK if spec.geometry.fill == "black" else None
    clip = _Clip(task=task, layout=layout, around=around, brought=brought)
    return {
        name: clip.write(wanted, stem.with_name(f"{stem.name}_{name}"))
        for name, wanted in spec.inputs.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Clip:
    """Writes the inputs of one clip."""

    task: AnimationTask
    layout: CanvasLayout
    around: tuple[int, int, int] | None
    brought: Mapping[str, Path]

    def write(self, wanted: Input, stem: Path) -> Path:
        """Write one input; its path starts with `stem`."""
        path = stem
        match wanted:
            case RefPng():
                path = stem.with_name(f"{stem.name}.png")
                _write_png(path, self.layout.place(self.task.reference, around=self.around))
            case PosePngs():
                for index, image in enumerate(self._drawings()):
                    _write_png(path / (wanted.names % index), image)
            case GuidanceDir():
                self._write_guidance(wanted, path)
            case PoseMp4() | RawMp4() | DensePoseMp4():
                path = stem.with_name(f"{stem.name}.mp4")
                self._write_video(wanted, path)
        return path

    def _write_video(self, wanted: PoseMp4 | RawMp4 | DensePoseMp4, path: Path) -> None:
        task, layout, rate = self.task, self.layout, self.task.fps
        if isinstance(wanted, PoseMp4):
            images = self._drawings()
        elif isinstance(wanted, RawMp4):
            if task.driving_video is None:
                raise GeneratorError("the method needs the driving video, and there is none")
            rate = Fraction(wanted.rate_hz) if wanted.rate_hz else rate
            frames = self._frames_of(task.driving_video)
            images = (layout.place(image, around=self.around) for image in frames)
        else:
            background = wanted.background_rgb
            frames = self._frames_of(self._find("densepose_dir", f"{task.clip_id}.mp4"))
            images = (layout.place(image, around=background, labels=True) for image in frames)
        with VideoWriter(
            path,
            width_px=layout.canvas_width_px,
            height_px=layout.canvas_height_px,
            fps=rate,
            encoding=POSE if isinstance(wanted, PoseMp4) else CLIP,
        ) as writer:
            for image in images:
                writer.write(image)

    def _write_guidance(self, wanted: GuidanceDir, folder: Path) -> None:
        source = self._find("guidance_dir", self.task.clip_id)
        for name in wanted.folders:
            for index, image in enumerate(self._pictures_of(source / name)):
                placed = self.layout.place(image, around=_BLACK, labels=True)
                _write_png(folder / name / f"{index:06d}.png", placed)

    def _drawings(self) -> Iterator[NDArray[np.uint8]]:
        """Draw each pose at the canvas's size: networks expect lines of the usual width."""
        from tpbench.dwpose_drawing import draw_pose

        driving, layout = self.task.driving, self.layout
        size = layout.canvas_height_px, layout.canvas_width_px
        for points, scores in zip(driving.keypoints, driving.scores, strict=True):
            yield draw_pose(layout.place_points(points)[None], scores[None], *size)

    def _frames_of(self, path: Path) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames of a video that belongs to the clip."""
        info = probe(path)
        self._check_count(path, info.frame_count)
        for frame in read_frames(path, info=info):
            self._check_size(path, frame.image)
            yield frame.image

    def _pictures_of(self, folder: Path) -> Iterator[NDArray[np.uint8]]:
        """Yield the images of a folder in the order of the last number in their names."""
        numbered: dict[int, Path] = {}
        for path in folder.glob("*.png") if folder.is_dir() else ():
            number = re.search(r"(\d+)\D*\.png$", path.name)
            if number is None or int(number[1]) in numbered:
                raise GeneratorError(
                    f"{path}: want one PNG for each frame, with the frame's number in its name"
                )
            numbered[int(number[1])] = path
        self._check_count(folder, len(numbered))
        for _, path in sorted(numbered.items()):
            image = read_picture(path)
            self._check_size(path, image)
            yield image

    def _find(self, option: str, name: str) -> Path:
        """Return the user's file or folder for the clip."""
        if Path(name).name != name:
            raise GeneratorError(f"'{name}' is not a file name, so there can be no file for it")
        path = self.brought[option] / name
        if not path.exists():
            raise GeneratorError(
                f"no {name} in {path.parent}: provide it for this clip (option {option})"
            )
        return path

    def _check_count(self, path: Path, count: int) -> None:
        if count != self.task.n_frames:
            raise GeneratorError(
                f"{path} has {count} frames, the driving pose {self.task.n_frames}"
            )

    def _check_size(self, path: Path, image: NDArray[np.uint8]) -> None:
        width_px, height_px = self.task.width_px, self.task.height_px
        if image.shape[:2] != (height_px, width_px):
            got = f"{image.shape[1]}x{image.shape[0]}"
            raise GeneratorError(f"{path} is {got} px, the clip {width_px}x{height_px} px")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read an image as (H, W, 3) uint8 RGB.

    Raises:
        GeneratorError: it can't be read, or has transparent pixels.
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
