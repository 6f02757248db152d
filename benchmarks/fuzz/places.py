"""Where files of other formats are read, and by which commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from benchmarks.fuzz.archives import ONNX, TFLITE, ZIP
from benchmarks.fuzz.arrays import NPZ, PNG, SAFETENSORS
from benchmarks.fuzz.columns import PARQUET
from benchmarks.fuzz.texts import CSV, JSON, YAML, Damage

Command = tuple[str, ...]

DAMAGES: Final[Mapping[str, Mapping[str, Damage]]] = {
    "npz": NPZ,
    "parquet": PARQUET,
    "json": JSON,
    "yaml": YAML,
    "csv": CSV,
    "png": PNG,
    "safetensors": SAFETENSORS,
    "onnx": ONNX,
    "tflite": TFLITE,
    "zip": ZIP,
    "wheel": ZIP,
}
"""What can happen to a file, by format and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A file that somebody else may have written, and the commands that read it."""

    format: str
    turn: str = ""
    """Places of equal turns get as many broken files as all of another turn; empty: the format."""
    path: str
    """Below the folder of `material`; may have wildcards, the first match counts."""
    commands: tuple[Command, ...]
    """One is run for each broken file; they take turns."""
    good: str | None = None
    """File that the command writes if it ends with 0 or 3, and a text in it, as `path:text`: what
    became of the good files beside the broken one. The path may have wildcards, too."""


_BOARD: Final = ("leaderboard", "build", "scores", "others", "--out", "board", "--no-page")
_PAGE: Final = ("leaderboard", "build", "scores", "others", "--out", "board")
_COMPARE: Final = ("compare", "scores", "others")
_VERIFY: Final = ("verify", "scores", "--no-recompute", "--data", "dataset")
_INSPECT: Final = ("inspect", "dataset")
_CHECK: Final = ("check", "dataset", "--workers", "1")
_SPLIT: Final = ("split", "dataset", "--test", "0.4", "--seed", "3")
_EXTRACT: Final = (
    *("extract", "raw", "--out", "dataset", "--preset", "preset.yaml"),
    *("--skeleton", "mediapipe", "--workers", "1"),
)
_REBUILD: Final = ("rebuild", "pack", "--out", "rebuilt", "--raw", "raw", "--workers", "1")
_COCO: Final = ("export", "dataset", "--to", "coco", "--out", "exported")
_HF: Final = ("export", "dataset", "--to", "hf", "--out", "exported")
_FETCH: Final = ("fetch", "--out", "fetched", "--dry-run")
_IMPORT: Final = (
    *("import", "raw", "--out", "imported", "--skeleton", "mediapipe", "--workers", "1"),
)
_PULL: Final = ("weights", "pull")
_SCORE: Final = ("score", "--real", "real", "--generated", "generated", "--out", "new")
_SCORE_PICTURES: Final = (
    *("score", "--out", "new", "--rate", "ignore", "--metrics", "psnr", "--workers", "1"),
)

PLACES: Final = (
    Place(
        format="json",
        path="scores/scores.json",
        commands=(_BOARD, _COMPARE, _VERIFY, _PAGE),
        good="board/leaderboard.csv:theirs",
    ),
    Place(
        format="json",
        path="scores/run.json",
        commands=(_BOARD, _VERIFY, _COMPARE),
        good="board/leaderboard.csv:theirs",
    ),
    Place(
        format="json",
        path="dataset/dataset.json",
        commands=(_INSPECT, _SPLIT, _COCO, ("card", "dataset"), (*_EXTRACT, "--dry-run"), _CHECK),
    ),
    Place(
        format="json",
        path="dataset/removals.json",
        commands=(
            _INSPECT,
            ("remove", "dataset", "--file", "dataset/removals.json", "--dry-run"),
            _SPLIT,
            _HF,
            (*_EXTRACT, "--dry-run"),
        ),
    ),
    Place(
        format="json",
        path="dataset/croissant.json",
        commands=(("card", "dataset"), _CHECK),
    ),
    Place(
        format="json",
        path="dataset/.records/settings.json",
        commands=((*_EXTRACT, "--dry-run"), _EXTRACT),
    ),
    Place(
        format="json",
        path="dataset/.records/sources/*/*.json",
        commands=((*_EXTRACT, "--dry-run"), _EXTRACT),
        good="dataset/manifest.parquet:talk-1",
    ),
    Place(format="json", path="pack/pack.json", commands=(_REBUILD,)),
    Place(
        format="json",
        path="raw/talk-0.info.json",
        commands=((*_EXTRACT, "--redo"),),
        good="dataset/manifest.parquet:talk-0",
    ),
    Place(
        format="parquet",
        path="dataset/manifest.parquet",
        commands=(
            _INSPECT,
            _SPLIT,
            _COCO,
            _HF,
            ("card", "dataset"),
            (*_EXTRACT, "--dry-run"),
            ("remove", "dataset", "--source", "talk-1", "--dry-run"),
            _CHECK,
        ),
    ),
    Place(
        format="parquet",
        path="scores/frames.parquet",
        commands=(_BOARD, _PAGE, _VERIFY, _COMPARE),
        good="board/leaderboard.csv:theirs",
    ),
    Place(format="parquet", path="pack/marks.parquet", commands=(_REBUILD,)),
    Place(format="parquet", path="pack/manifest.parquet", commands=(_REBUILD,)),
    Place(format="parquet", path="ids.parquet", commands=((*_FETCH, "ids.parquet"),)),
    Place(format="csv", path="ids.csv", commands=((*_FETCH, "ids.csv"),)),
    Place(format="csv", path="people.csv", commands=((*_SPLIT, "--identities", "people.csv"),)),
    Place(format="csv", path="sides.csv", commands=(("split", "dataset", "--from", "sides.csv"),)),
    Place(
        format="csv",
        path="clips.csv",
        commands=((*_SCORE, "--identities", "clips.csv", "--dry-run"),),
    ),
    Place(format="csv", path="dataset/splits/train.csv", commands=(_INSPECT, _SPLIT, _CHECK)),
    Place(format="csv", path="dataset/identities.csv", commands=(_SPLIT, _INSPECT, _CHECK)),
    Place(format="csv", path="table.csv", commands=((*_IMPORT, "--table", "table.csv"),)),
    Place(
        format="yaml",
        path="preset.yaml",
        commands=((*_EXTRACT[:3], "new", *_EXTRACT[4:], "--dry-run"),),
    ),
    Place(format="yaml", path="dataset/card.yaml", commands=(("card", "dataset"), _HF)),
    Place(
        format="yaml",
        path="spec.yaml",
        commands=(("models", "show", "spec.yaml"), ("models", "check", "spec.yaml")),
    ),
    Place(
        format="npz",
        path="dataset/keypoints/*/talk-0*.npz",
        commands=(_COCO, _CHECK, ("inspect", "dataset", "--verify")),
    ),
    Place(format="npz", path="pack/keypoints/*/talk-0*.npz", commands=(_REBUILD,)),
    Place(
        format="npz",
        path="poses/talk-0.npz",
        commands=((*_IMPORT, "--poses", "poses"),),
        good="imported/manifest.parquet:talk-1",
    ),
    Place(
        format="png",
        path="pictures/talk-0/0002.png",
        commands=(
            (*_SCORE_PICTURES, "--real", "pictures-real", "--generated", "pictures"),
            (*_SCORE_PICTURES, "--real", "pictures", "--generated", "pictures-real"),
        ),
        good="new/scores.json:talk-1",
    ),
    Place(
        format="safetensors",
        path="model.safetensors",
        commands=(
            (*_PULL, "sd-vae-ft-mse", "--from", "model.safetensors"),
            ("call", "tpbench.baselines.talkingpose.checkpoints:read_tensors", "model.safetensors"),
        ),
    ),
    Place(
        format="onnx",
        path="model.onnx",
        commands=(
            (*_PULL, "yolox-l", "--from", "model.onnx"),
            ("call", "benchmarks.fuzz.material:open_onnx", "model.onnx"),
        ),
    ),
    Place(
        format="tflite",
        path="model.tflite",
        commands=((*_PULL, "mediapipe-face-detector", "--from", "model.tflite"),),
    ),
    Place(
        format="zip",
        path="model.zip",
        commands=((*_PULL, "mediapipe-face-detector", "--from", "model.zip"),),
    ),
    Place(
        format="wheel",
        path="model-1-py3-none-any.whl",
        commands=((*_PULL, "mediapipe-palm-detector", "--from", "model-1-py3-none-any.whl"),),
    ),
)
"""By format; the same file may be read in several ways."""

SLOW: Final = frozenset({"check", "rebuild", "import", "score", "eval"})
"""Commands that start worker processes; `extract` does without `--dry-run`."""


def is_slow(command: Command) -> bool:
    """Whether a command starts worker processes, which takes seconds."""
    return "--dry-run" not in command and command[0] in SLOW | {"extract"}
