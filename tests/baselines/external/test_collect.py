from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.baselines.external.conftest import blocks, corners
from tests.baselines.external.fakes.media import grid, write_picture, write_video
from tpbench.baselines.external.adapter import collected_frames
from tpbench.baselines.external.inputs import lay_out
from tpbench.baselines.external.spec import Collect, Geometry, Panels
from tpbench.errors import GeneratorError

SIZE = (64, 48)
LAYOUT = lay_out(Geometry(fit="pad"), width_px=64, height_px=48)


def test_frames_are_in_the_order_of_their_numbers_past_999(tmp_path: Path) -> None:
    layout = lay_out(Geometry(fit="pad"), width_px=8, height_px=8)
    for index in range(1003):
        write_picture(
            tmp_path / f"{index:03d}.png", np.full((8, 8, 3), index % 251, dtype=np.uint8)
        )
    collect = Collect(root="out", glob="*.png", kind="pictures")
    frames = list(collected_frames(collect, tmp_path, "*.png", layout, 1003))
    assert [int(image[0, 0, 0]) for image in frames] == [index % 251 for index in range(1003)]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_wanted_panel_is_cut_out(index: int, tmp_path: Path) -> None:
    panels = [corners(SIZE), blocks(9, SIZE), corners(SIZE)[::-1].copy()]
    write_picture(tmp_path / "0.png", grid(*panels))
    collect = Collect(
        root="out",
        glob="*.png",
        kind="pictures",
        panels=Panels(columns=3, index=index, padding_px=2),
    )
    (frame,) = collected_frames(collect, tmp_path, "*.png", LAYOUT, 1)
    assert np.array_equal(frame, panels[index])


def test_one_picture_where_a_row_of_panels_was_expected_is_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "0.png", corners(SIZE))
    panels = Panels(columns=3, index=2, padding_px=2)
    collect = Collect(root="out", glob="*.png", kind="pictures", panels=panels)
    with pytest.raises(GeneratorError, match="of 64x48 px; expected rows of 3 panels of 200x52 px"):
        list(collected_frames(collect, tmp_path, "*.png", LAYOUT, 1))


@pytest.mark.parametrize("kind", ["video", "pictures"])
def test_frames_in_front_are_dropped(kind: str, tmp_path: Path) -> None:
    images = [blocks(index, SIZE) for index in range(5)]
    if kind == "video":
        write_video(tmp_path / "a.mp4", images, 25)
    else:
        for index, image in enumerate(images):
            write_picture(tmp_path / f"a{index}.png", image)
    collect = Collect.model_validate({"root": "out", "glob": "a*", "kind": kind, "drop_first": 2})
    frames = list(collected_frames(collect, tmp_path, "a*", LAYOUT, 3))
    for frame, image in zip(frames, images[2:], strict=True):
        assert np.abs(frame.astype(int) - image).mean() < 8
    with pytest.raises(GeneratorError, match="5 frames, the first 2 of which don't count; the dri"):
        list(collected_frames(collect, tmp_path, "a*", LAYOUT, 5))
