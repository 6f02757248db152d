"""Good files of all kinds that tpbench reads: a dataset, its pack, scores, lists, small models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.fuzz.archives import archive_with, small_onnx
from benchmarks.fuzz.arrays import small_safetensors
from benchmarks.fuzz.clips import VARIANTS, encoded, talk
from benchmarks.fuzz.commands import Runner
from benchmarks.fuzz.media_runs import write_preset
from benchmarks.fuzz.run_places import EVAL
from tpbench.weights import resolve
from tpbench.weights.store import weight

_SIDE_PX: Final = 192
_N_FRAMES: Final = 30
_TALKS: Final = 4
"""The last one is removed from the dataset again."""
_LIMIT_S: Final = 300.0
_LIMIT_MB: Final = 8000

_SPEC: Final = """\
id: my-method
display_name: My method
description: what it does, in one line
url: https://example.org/my-method
commit: "0123abc"
licence: {code: MIT, weights: MIT}
needs: [a CUDA GPU with 16 GB or more]
notes: []
env:
  kind: venv
  python: "3.10"
  steps: ["{env}/bin/pip install -r {checkout}/requirements.txt"]
weights:
  - name: networks
    source: https://example.org/my-method/weights
    licence: MIT
    paths: [weights/model.pth]
mode: clip
geometry: {fit: pad, multiple_of: 8}
inputs:
  ref: {kind: ref_png}
  poses: {kind: pose_mp4}
settings: {steps: 30}
command: ["{python}", animate.py, "{ref}", "{poses}", "{out}", "{steps}"]
collect: {root: out, glob: "*.png", kind: pictures}
timeout: {base_s: 600, per_frame_s: 10}
"""


def open_onnx(path: Path) -> Any:  # noqa: ANN401 - untyped wheel
    """Open a model as the detectors do."""
    from tpbench.detectors.onnx import _open_session

    return _open_session(path, device="cpu", num_threads=1)


def write_material(folder: Path, run: Runner) -> Path:
    """Write all of it, by the commands that write it for users; return the folder."""
    (folder / "raw").mkdir(parents=True)
    for number in range(_TALKS):
        pictures = talk(_N_FRAMES + number, _SIDE_PX, _SIDE_PX)
        name = f"talk-{number}"
        (folder / "raw" / f"{name}.mp4").write_bytes(encoded(VARIANTS[0], pictures))
        told = {"webpage_url": f"https://example.org/{name}", "license": "CC BY", "epoch": 1}
        (folder / "raw" / f"{name}.info.json").write_text(json.dumps(told))
    write_preset(folder / "preset.yaml")
    _run(
        run,
        folder,
        "extract",
        "raw",
        "--out",
        "dataset",
        "--preset",
        "preset.yaml",
        "--skeleton",
        "mediapipe",
        "--workers",
        "2",
    )
    _run(run, folder, "split", "dataset", "--test", "0.4")
    _run(
        run,
        folder,
        "remove",
        "dataset",
        "--source",
        _source(folder, _TALKS - 1),
        "--reason",
        "asked for",
    )
    for _ in range(2):  # the template first, then what is made of it
        _run(run, folder, "card", "dataset", codes=(0, 2, 3))
    _run(run, folder, "export", "dataset", "--to", "pack", "--out", "pack")
    (folder / "raw" / f"talk-{_TALKS - 1}.mp4").unlink()
    _write_scores(folder, run)
    _write_lists(folder)
    _run(run, folder, "split", "dataset", "--identities", "people.csv")
    _write_models(folder)
    return folder


def write_runs(folder: Path, run: Runner) -> None:
    """Write runs of two models on the dataset of `write_material`, as `eval` does."""
    for model in ("frozen", "warp"):
        _run(run, folder, *EVAL, model)


def _source(folder: Path, number: int) -> str:
    return next((folder / "dataset" / "clips").rglob(f"talk-{number}-*.mp4")).stem.rsplit("_", 2)[0]


def _run(run: Runner, folder: Path, *arguments: str, codes: Sequence[int] = (0,)) -> None:
    ended = run(arguments, folder, limit_s=_LIMIT_S, limit_mb=_LIMIT_MB)
    assert ended.code in codes, f"{arguments}: {ended.printed[-2000:]}"


def _write_scores(folder: Path, run: Runner) -> None:
    for side, levels in (("real", 0), ("generated", 6), ("theirs", 12)):
        (folder / side).mkdir()
        for number in range(3):
            pictures = [
                np.minimum(picture, 255 - levels) + np.uint8(levels)
                for picture in talk(_N_FRAMES, _SIDE_PX, _SIDE_PX)[number:]
            ]
            (folder / side / f"talk-{number}.mp4").write_bytes(encoded(VARIANTS[1], pictures))
    (folder / "clips.csv").write_text(
        "clip,identity\n" + "".join(f"talk-{number},person {number}\n" for number in range(3))
    )
    for side, out in (("generated", "scores"), ("theirs", "others")):
        _run(
            run,
            folder,
            "score",
            "--real",
            "real",
            "--generated",
            side,
            "--out",
            out,
            "--metrics",
            "psnr,ssim",
            "--workers",
            "1",
            "--identities",
            "clips.csv",
        )
    _write_pictures(folder)


def _write_pictures(folder: Path) -> None:
    import cv2

    for side, step in (("pictures-real", 0), ("pictures", 1)):
        for number in range(2):
            place = folder / side / f"talk-{number}"
            place.mkdir(parents=True)
            for at, picture in enumerate(talk(6, 64, 64)[step : step + 5]):
                cv2.imwrite(str(place / f"{at:04d}.png"), picture[..., ::-1])


def _write_lists(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = [f"abcdefghi{number:02d}" for number in range(20)]
    urls = [f"https://www.youtube.com/watch?v={one}" for one in ids]
    pq.write_table(
        pa.table({"video_id": ids, "url": urls, "status": ["kept"] * 20}), folder / "ids.parquet"
    )
    rows = [
        f"{one},{url},{at},{at + 5}\n" for at, (one, url) in enumerate(zip(ids, urls, strict=True))
    ]
    (folder / "ids.csv").write_text("video_id,url,start,end\n" + "".join(rows))
    sources = [_source(folder, number) for number in range(_TALKS - 1)]
    (folder / "people.csv").write_text(
        "source_id,identity\n" + "".join(f"{one},{one[:6]}\n" for one in sources)
    )
    (folder / "sides.csv").write_text(
        "source_id,side\n" + "".join(f"{one},test\n" for one in sources[:1])
    )
    (folder / "table.csv").write_text(
        "clip,split,identity\n" + "".join(f"talk-{at},train,anna {at}\n" for at in range(3))
    )
    (folder / "spec.yaml").write_text(_SPEC)


def _write_models(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(small_safetensors())
    (folder / "model.onnx").write_bytes(small_onnx())
    for name, file in (
        ("mediapipe-face-detector", "model.zip"),
        ("mediapipe-palm-detector", "model-1-py3-none-any.whl"),
    ):
        row = weight(name)
        assert row.wheel is not None
        content = resolve(name, offline=True).read_bytes()
        (folder / file).write_bytes(archive_with(row.wheel[1], content))
    shutil.copyfile(resolve("mediapipe-face-detector", offline=True), folder / "model.tflite")
    (folder / "poses").mkdir()
    found = next((folder / "dataset" / "keypoints").rglob("talk-0*.npz"))
    shutil.copyfile(found, folder / "poses" / "talk-0.npz")
