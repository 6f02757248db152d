"""An evaluation that is killed, at any point, and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmark.conftest import births, content, write_dataset
from tests.benchmark.evaluating import FAST, Evaluator, measurements, scores_of
from tests.benchmark.generators import HURRY, MODULE
from tests.in_process import without_processes
from tests.processes import assert_none_outlives, started, wait_while_running
from tpbench.benchmark.evaluate import Evaluation
from tpbench.benchmark.run_folder import Run

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).parent / "slow_evaluation.py"
SAID = {
    "model": f"{MODULE}:Numbered",
    "options": {"pause_s": "0.003", "shade": "0"},
    "metrics": [*FAST, "ssim"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed") / "talks"
    write_dataset(folder, dict.fromkeys("abcdef", 102))
    return folder


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """What killed evaluations are held against: other workers, another order of clips."""
    run_it = Evaluator(data=data, out=tmp_path_factory.mktemp("undisturbed"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HURRY, "1")
        run_it(**SAID, ids=["d", "b"])
        return run_it(**SAID, workers=2)


def found(out: Path, pattern: str) -> list[Path]:
    return list(out.glob(f"*/*/*/seed42/{pattern}"))


@pytest.mark.parametrize(
    ("workers", "moment", "reached"),
    [
        (2, "while the first clip is made", lambda out: found(out, "generated/.*.part")),
        (1, "when clips are made", lambda out: len(found(out, "records/[a-z].json")) >= 2),
        (2, "when a clip is measured", lambda out: found(out, ".scoring/*.npz")),
        (1, "when the frames are written", lambda out: found(out, "frames.parquet")),
    ],
)
def test_killed_and_started_again_it_gives_the_same_scores(
    workers: int,
    moment: str,
    reached: Callable[[Path], object],
    data: Path,
    undisturbed: Evaluation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "runs"
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with started(
        str(SCRIPT), str(data), str(out), str(workers), environment=environment
    ) as process:
        wait_while_running(process, lambda: bool(reached(out)))
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    assert_none_outlives(out)
    (folder,) = found(out, "")
    made = {path.stem: path.stat().st_mtime_ns for path in found(out, "records/[a-z].json")}
    measured = {path.name: path.stat().st_ino for path in found(out, ".scoring/[!.]*.npz")}

    monkeypatch.setenv(HURRY, "1")
    with without_processes():  # what workers do is the same, without their start
        (run,) = Evaluator(data=data, out=out)(**SAID, workers=workers).runs

    assert run.folder.path == folder
    assert scores_of(run) == scores_of(undisturbed.runs[0]), moment
    assert content(run) == content(undisturbed.runs[0])
    assert made.items() <= {name: birth[0] for name, birth in births(run).items()}.items()
    assert measured.items() <= {n: birth[1] for n, birth in measurements(run).items()}.items()
    assert [path for path in run.folder.path.rglob(".*") if path.suffix in {".tmp", ".part"}] == []
    assert Run.open(folder).info.counts.done == 6
