"""What the stand-ins of methods share: reading and writing as those methods do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def animate(reference: Picture, driving: Iterable[Picture]) -> list[Picture]:
    """Stand for a network: half the reference picture, half what drives it."""
    half = reference.astype(np.uint16)
    return [((half + image) // 2).astype(np.uint8) for image in driving]


def read_picture(path: Path | str) -> Picture:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert image is not None, path
    return cast("Picture", cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def write_picture(path: Path, image: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def read_video(path: Path | str) -> list[Picture]:
    with av.open(str(path)) as container:
        return [
            cast("Picture", frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)
        ]


def rate_of(path: Path | str) -> Fraction:
    with av.open(str(path)) as container:
        rate = container.streams.video[0].average_rate
        assert rate is not None
        return rate


def write_video(path: Path, frames: Sequence[Picture], rate: Fraction | int) -> None:
    """Write as PyAV, torchvision and imageio do by themselves: x264 at crf 23, yuv420p."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def grid(*panels: Picture) -> Picture:
    """Lay panels in a row as torchvision's make_grid does: 2 px of black around each."""
    if len(panels) == 1:
        return panels[0]
    bordered = [cv2.copyMakeBorder(panel, 2, 2, 2, 0, cv2.BORDER_CONSTANT) for panel in panels]
    row = np.concatenate(bordered, axis=1)
    return cast("Picture", cv2.copyMakeBorder(row, 0, 0, 0, 2, cv2.BORDER_CONSTANT))


def resize(image: Picture, width_px: int, height_px: int) -> Picture:
    return cast("Picture", cv2.resize(image, (width_px, height_px), interpolation=cv2.INTER_LINEAR))


def must_exist(*paths: str) -> None:
    """Fail as loading weights does: paths are relative to where the method runs."""
    for path in paths:
        if not Path(path).exists():
            raise FileNotFoundError(path)
