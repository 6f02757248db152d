"""What a method has written: found, checked, cut, counted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tpbench.baselines.external.geometry import Layout
from tpbench.baselines.external.inputs import read_picture
from tpbench.baselines.external.parts import Collect, Panels
from tpbench.errors import GeneratorError
from tpbench.video import probe, read_frames


def collected_frames(
    collect: Collect, root: Path, glob: str, layout: Layout, n_frames: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield a clip's frames, in order and in the clip's own size, without holding all of them.

    Args:
        collect: what the method writes.
        root: the private folder that it wrote to.
        glob: of its files for this clip, placeholders filled in.
        layout: where on the method's canvas the clip lies.
        n_frames: how many frames there must be.

    Yields:
        (height_px, width_px, 3) uint8 RGB.

    Raises:
        GeneratorError: nothing or too much was written, frames are missing or too many, a picture
            can't be read or has another size than the method's own.
        MediaError: a video can't be read.
    """
    found = sorted(path for path in root.glob(glob) if path.is_file())
    if not found:
        raise GeneratorError(f"the command wrote nothing: no {glob}")
    frames = _of_video if collect.kind == "video" else _of_pictures
    for image in frames(collect, found, n_frames):
        _check_size(collect.panels, image, layout)
        yield layout.take_back(_panel(collect.panels, image, layout))


def _of_video(collect: Collect, found: list[Path], n_frames: int) -> Iterator[NDArray[np.uint8]]:
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise GeneratorError(
            f"the command wrote {len(found)} videos where one was expected: {names}"
        )
    info = probe(found[0])
    _check_count(collect, info.frame_count, n_frames)
    for frame in read_frames(found[0], info=info, start_frame=collect.drop_first):
        yield frame.image


def _of_pictures(collect: Collect, found: list[Path], n_frames: int) -> Iterator[NDArray[np.uint8]]:
    numbered: dict[int, Path] = {}
    for path in found:
        number = re.search(collect.index_regex, path.name)
        if number is None or int(number[1]) in numbered:
            raise GeneratorError(f"the command wrote {path.name}, which is no frame of its own")
        numbered[int(number[1])] = path
    first, last = min(numbered), max(numbered)
    if len(numbered) != last - first + 1:
        missing = next(index for index in range(first, last) if index not in numbered)
        raise GeneratorError(f"the command left out frame {missing} of {first} to {last}")
    _check_count(collect, len(numbered), n_frames)
    for index in range(first + collect.drop_first, last + 1):
        yield read_picture(numbered[index])


def _check_count(collect: Collect, count: int, n_frames: int) -> None:
    if count - collect.drop_first != n_frames:
        extra = f", the first {collect.drop_first} of which don't count" * bool(collect.drop_first)
        raise GeneratorError(
            f"the command wrote {count} frames{extra}; the driving pose has {n_frames}"
        )


def _check_size(panels: Panels | None, image: NDArray[np.uint8], layout: Layout) -> None:
    canvas = (layout.canvas_width_px, layout.canvas_height_px)
    width_px, height_px = canvas if panels is None else _grid_size(panels, canvas)
    if image.shape[:2] == (height_px, width_px):
        return
    kind = "frames" if panels is None else f"rows of {panels.columns} panels"
    raise GeneratorError(
        f"the command wrote pictures of {image.shape[1]}x{image.shape[0]} px; "
        f"expected {kind} of {width_px}x{height_px} px"
    )


def _grid_size(panels: Panels, canvas: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a row of panels, each with its padding, as torchvision's make_grid has."""
    padding = panels.padding_px
    return panels.columns * (canvas[0] + padding) + padding, canvas[1] + 2 * padding


def _panel(panels: Panels | None, image: NDArray[np.uint8], layout: Layout) -> NDArray[np.uint8]:
    """Cut out panel k: x = k * (W + padding) + padding, y = padding."""
    if panels is None:
        return image
    width_px, height_px = layout.canvas_width_px, layout.canvas_height_px
    x0_px = panels.index * (width_px + panels.padding_px) + panels.padding_px
    y0_px = panels.padding_px
    return image[y0_px : y0_px + height_px, x0_px : x0_px + width_px]
