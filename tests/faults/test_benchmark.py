"""Faults of `generate` and `score`: all good clips are done once, and nothing is redone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmark.conftest import write_dataset
from tests.faults.disturbances import FAULTS, small_disk, why_not
from tests.faults.stage import Audit, Stage, audit
from tests.faults.works import GENERATION, SCORING, Work
from tpbench.benchmark.generate import generate_run
from tpbench.benchmark.request import EvalRequest

N_CLIPS = 13
"""With the poison."""
N_FRAMES = 104
QUICK = {"a worker is killed", "the driver is killed"}
"""Those of the normal suite."""
ASKED = {"generate": ("--model", "frozen"), "score": ("--metrics", "psnr,l1")}
DONE = [
    "a video kills its worker every time",
    "a worker is killed",
    "the driver is killed",
    "the disk is full",
    "a worker hits its memory limit",
    "a video takes too much memory",
    "the memory of the machine is full",
]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset `talks`, and its clips as a model gives them in `generated`."""
    root = tmp_path_factory.mktemp("material")
    names = [f"talk{number:02d}" for number in range(N_CLIPS)]
    names[N_CLIPS // 2] += "-poison"
    write_dataset(root / "talks", dict.fromkeys(names, N_FRAMES))
    run = generate_run(EvalRequest(model="gt-reencode", data=root / "talks", out=root / "runs"))
    (root / "generated").symlink_to(run.folder.path / "generated")
    return root


def stage_of(root: Path, material: Path, work: Work) -> Stage:
    root.mkdir()
    for name in ("talks", "generated"):
        (root / name).symlink_to(material / name)
    names = sorted(path.stem for path in (material / "generated").glob("*.mkv"))
    return Stage(
        root=root, out=root / "out", names=tuple(names), kind="quick", options=ASKED[work.name],
        work=work,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(material: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By command: the results that every run should end with."""
    found = {}
    for work in (GENERATION, SCORING):
        stage = stage_of(tmp_path_factory.mktemp("undisturbed") / "root", material, work)
        (stage.root / "log").touch()
        if work is SCORING:
            (stage.root / "generated").unlink()
            (stage.root / "generated").mkdir()
            for name in stage.good:
                video = f"generated/{name}.mkv"
                (stage.root / video).symlink_to(material / video)
        code, said = stage.run()
        assert code == (3 if work is SCORING else 0), said  # the poison is missing
        found[work.name] = stage.out
    return found


def marks(name: str, engine: str) -> list[pytest.MarkDecorator]:
    return [] if name in QUICK and engine == "local" else [pytest.mark.slow]


@pytest.mark.parametrize("work", [GENERATION, SCORING], ids=lambda work: work.name)
@pytest.mark.parametrize(
    ("name", "engine"),
    [
        pytest.param(name, engine, marks=marks(name, engine))
        for engine in ("local", "ray")
        for name in DONE
    ],
)
def test_all_good_clips_are_done_once_under(
    name: str,
    engine: str,
    work: Work,
    material: Path,
    undisturbed: dict[str, Path],
    tmp_path: Path,
) -> None:
    fault = FAULTS[name]
    if (why := why_not(fault, engine)) is not None:
        pytest.skip(why)
    if engine == "ray":
        pytest.importorskip("ray")
    with ExitStack() as stack:
        stage = stage_of(tmp_path / "stage", material, work)
        options = (*stage.options, "--executor", engine)
        stage = replace(stage, options=options, unprivileged=fault.unprivileged)
        if fault.disk_bytes is not None:
            disk = stack.enter_context(small_disk(tmp_path / "disk", fault.disk_bytes))
            stage = replace(stage, out=disk / "out")
        stage.prepare()

        fault.act(stage)
        found = audit(stage, undisturbed[work.name])

    again = len(found.twice) if fault.loses_all else int(name.startswith("a record"))
    (given_up,) = found.quarantined.items()
    assert given_up[0] == stage.poison
    assert given_up[1].startswith(fault.reason)
    assert found == Audit(
        done=N_CLIPS - 1,
        twice=tuple(stage.good[:again]),
        quarantined=found.quarantined,
        redone=() if not name.startswith("a record") else (stage.good[0],),
        differs="",
    )
