"""A command that ends because of a wrong name, option or folder leaves nothing behind."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.benchmark.generators import MODULE
from tests.conftest import MediaMaker
from tpbench.benchmark.evaluate import evaluate
from tpbench.cli.main import main
from tpbench.dataset import split_dataset

pytestmark = pytest.mark.usefixtures("in_this_process")

EVAL = "eval --model frozen --data DATASET --metrics psnr "
SCORE = "score --real REAL --generated MINE --metrics psnr "
EXTRACT = "extract talks --out new --skeleton mediapipe --preset demo "
TYPOS = (
    *(
        f"eval --data DATASET --metrics psnr --model {model}"
        for model in ("frozn", "nowhere:Class", "no.yaml")
    ),
    *(
        f"eval --data DATASET --metrics psnr --model {MODULE}:{name}"
        for name in ("Missing", "Numbered --option x")
    ),
    f"eval --data DATASET --metrics psnr --model {MODULE}:Numbered --option typo=1",
    "eval --data DATASET --metrics psnr --model warp --option typo=1",
    "eval --data DATASET --metrics psnr --model talkingpose --offline",
    "eval --data DATASET --metrics psnr --model talkingpose --weights nowhere",
    "eval --data DATASET --metrics psnr --model precomputed --videos nowhere",
    "eval --data DATASET --metrics psnr --model precomputed",
    "eval --data DATASET --metrics psnr --model echomimic-v2",
    "eval --data DATASET --metrics psnr --model my_spec.yaml",
    "eval --model frozen --data nowhere",
    "eval --model frozen --data MINE",
    "eval --data DATASET --model frozen --metrics psn",
    f"{EVAL}--task selv",
    f"{EVAL}--split tets",
    f"{EVAL}--protocol tpbench-v9",
    f"{EVAL}--seeds 1,1",
    f"{EVAL}--shard 3/2",
    f"{EVAL}--limit 0",
    f"{EVAL}--limit -1",
    f"{EVAL}--ids nowhere.txt",
    f"{EVAL}--ids ids.txt",
    f"{EVAL}--workers 0",
    f"{EVAL}--item-timeout -1",
    f"{EVAL}--min-frames 0",
    f"{EVAL}--keep lossy",
    f"{EVAL}--overwrite no",
    f"{EVAL}--typo",
    f"{EVAL}--device cuda:99",
    f"{EVAL}--device gpu",
    f"generate{EVAL.removeprefix('eval')}--device cuda:99",
    f"{EVAL}--out DATASET/dataset.json",
    f"{EVAL}--out DATASET",
    f"{EVAL}--out DATASET/runs",
    f"{EVAL}--out=",
    f"{EVAL}--weights nowhere",
    f"{EVAL}--seeds 99999999999999999999",
    f"{EVAL}--limit some",
    f"{EVAL}--format tex",
    "eval --model frozen DATASET",
    "eval --model",
    "eval --data MINE/one.mp4 --model frozen",
    "eval --data RUN --model frozen",
    "eval --data DATASET --metrics psnr --model precomputed --videos empty",
    "eval --data DATASET --metrics psnr --model precomputed --videos MINE/one.mp4",
    "eval --data DATASET --model frozen --metrics lpips --strict --offline",
    "eval --data DATASET --model frozen --metrics lpips --offline",
    "generate --data DATASET --model frozn",
    "generate --data DATASET --model frozen --option typo=1",
    "generate --data DATASET --model frozen --workers 0",
    "generate --data DATASET --model frozen --item-timeout nan",
    "generate --data DATASET --model frozen --seeds 1,1",
    "score --real nowhere --generated MINE",
    "score --real REAL --generated nowhere",
    "score --real REAL --generated A=MINE --generated B=nowhere",
    "score --real REAL --generated A=MINE --generated A=REAL",
    "score --real REAL --generated MINE --metrics psn",
    "score --real REAL --generated talks",
    "score --real empty --generated MINE",
    f"{SCORE}--protocol tpbench",
    f"{SCORE}--identities nowhere.csv",
    f"{SCORE}--split test",
    f"{SCORE}--first-frame -1",
    f"{SCORE}--workers 0",
    f"{SCORE}--item-timeout -1",
    f"{SCORE}--length shorter",
    f"{SCORE}--device cuda:99",
    f"{SCORE}--out REAL/one.mp4",
    f"{SCORE}--out REAL",
    f"{SCORE}--out MINE/scores",
    f"{SCORE}--out=",
    f"{SCORE}--format tex",
    "score --real REAL --generated A=",
    "score --real REAL --generated =MINE",
    "score --real REAL --generated empty",
    "score --real REAL/one.mp4 --generated MINE",
    "score --real REAL --generated A=MINE --generated B=REAL --out MINE",
    "score --real REAL --generated MINE --metrics lpips --strict --offline",
    "score --real REAL --generated MINE --metrics lpips --offline",
    "extract nowhere --out new --skeleton mediapipe",
    "extract empty --out new --skeleton mediapipe",
    "extract talks --out new --skeleton mediapipes",
    "extract talks --out new --skeleton dwpose --offline",
    "extract talks --out MINE --skeleton mediapipe --preset demo",
    "extract talks --out new --skeleton mediapipe --preset dmo",
    "extract talks --out new --skeleton mediapipe --preset no.yaml",
    f"{EXTRACT}--workers 0",
    f"{EXTRACT}--shard 3/2",
    f"{EXTRACT}--shard 1/2 --redo",
    f"{EXTRACT}--item-timeout -1",
    f"{EXTRACT}--device tpu",
    f"{EXTRACT}--device cuda",
    "inspect nowhere",
    "inspect DATASET nobody",
    "split nowhere",
    "split DATASET --test 2",
    "split DATASET --join uploaders",
    "split DATASET --join none --join near-duplicates",
    "split DATASET --identities nowhere.csv",
    "split DATASET --from nowhere.csv",
    "split DATASET --from ids.txt --test 0.5",
    "split DATASET --version-name Test/1",
    "split MINE",
    "compare RUN nowhere",
    "compare RUN MINE",
    "compare RUN RUN",
    "compare RUN",
    "compare RUN DATASET",
    "compare RUN RUN/scores.json",
    "compare RUN runs",
    "verify DATASET",
    "verify runs",
    "verify nowhere",
    "verify RUN --data nowhere",
    "verify RUN --data MINE",
    "verify RUN --workers 0",
    "verify RUN --no-recompute --device cuda:99",
    "leaderboard build nowhere --out site",
    "leaderboard build MINE --out site",
    "leaderboard build runs --data nowhere --out site",
    "leaderboard build runs --data MINE --out site",
    "leaderboard build runs --out REAL/one.mp4",
    "leaderboard build runs --split nowhere --out site",
    "leaderboard bild runs",
    "models show frozn",
    "models check frozn",
    "models check talkingpose --golden nowhere",
    "models check talkingpose --device cuda:99",
    "models check mimicmotion --device cuda:99",
    "metrics show psn",
    "metrics list --protocol psn",
    "metrics check nowhere.mp4",
    "weights pull psn",
    "weights check psn",
    "weights path psn --offline",
    "weights pull lpips-alex --from nowhere",
    "cache trim",
    "cache trim --max-gb -1",
    "cache clear nowhere.mp4",
    "cache clear --kind typo",
    "demo --typo",
)


@pytest.fixture(scope="module")
def prepared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("typos")
    shutil.copytree(data, folder / "DATASET")
    split_dataset(folder / "DATASET", test_share=0.5, seed=0)
    evaluate(
        "oracle", folder / "DATASET", split="all", out=folder / "runs", metrics=["psnr"],
        offline=True, workers=1,
    )  # fmt: skip
    for name in ("REAL", "MINE", "talks", "empty"):
        (folder / name).mkdir()
    media = MediaMaker(folder)
    for name in ("REAL/one.mp4", "MINE/one.mp4", "talks/talk.mp4"):
        media.cfr(name, n=5, size=(64, 48))
    (folder / "ids.txt").write_text("nobody\n")
    (folder / "my_spec.yaml").write_text("id: [\n")
    return folder


@pytest.fixture
def here(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(prepared)
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TPBENCH_DATA", raising=False)
    return prepared


def _tree(folder: Path) -> dict[str, int]:
    """Every path below a folder, with the time when a file was last written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns if path.is_file() else 0
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_leaves_nothing_behind(
    typo: str,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = next(here.glob("runs/*/*/*/seed42")).relative_to(here).as_posix()
    monkeypatch.setattr(sys, "argv", ["tpbench", *typo.replace("RUN", run).split()])
    before = _tree(here)
    with pytest.raises(SystemExit) as stop:
        main()
    said = capsys.readouterr()
    assert (stop.value.code, said.out) == (2, ""), said
    assert [line[:7] for line in said.err.splitlines() if "WARNING" not in line] == ["error: "]
    assert _tree(here) == before
