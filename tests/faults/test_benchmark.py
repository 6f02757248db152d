"""Faults of `generate`, `score` and `eval`: all good clips are done once, and nothing is redone."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.benchmark.conftest import write_dataset
from tests.benchmark.people import write_people
from tests.faults.disturbances import FAULTS, Fault, small_disk, why_not
from tests.faults.stage import Audit, Stage, audit
from tests.faults.works import (
    EVALUATION_AT_GENERATING,
    EVALUATION_AT_SCORING,
    GENERATION,
    SCORING,
    Work,
)
from tpbench.benchmark.generate import generate_run
from tpbench.benchmark.request import EvalRequest

N_CLIPS = 13
"""With the poison."""
N_FRAMES = 104
QUICK = {"a worker is killed", "the driver is killed"}
"""Those of the normal suite, of `generate` and `score`."""
OF_EVAL = {"a worker is killed", "the driver is killed", "a worker is stopped"}
OF_WARP: Final = ("--model", "warp", "--metrics", "psnr,l1", "--min-frames", "24")
ASKED: Final = {
    GENERATION.name: ("--model", "frozen"),
    SCORING.name: ("--metrics", "psnr,l1"),
    EVALUATION_AT_GENERATING.name: OF_WARP,
    EVALUATION_AT_SCORING.name: OF_WARP,
}
Undisturbed = Callable[[Work], Path]


def clip_names(count: int) -> list[str]:
    names = [f"talk{number:02d}" for number in range(count)]
    names[count // 2] += "-poison"
    return names


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset `talks` with what a model gives of it in `generated`, and one of `people`."""
    root = tmp_path_factory.mktemp("material")
    write_dataset(root / "talks", dict.fromkeys(clip_names(N_CLIPS), N_FRAMES))
    write_people(root / "people", dict.fromkeys(clip_names(7), 25))
    run = generate_run(EvalRequest(model="gt-reencode", data=root / "talks", out=root / "runs"))
    (root / "generated").symlink_to(run.folder.path / "generated")
    return root


def stage_of(root: Path, material: Path, work: Work) -> Stage:
    """Return a stage that shares nothing with others but the bytes of clips."""
    root.mkdir()
    people = ASKED[work.name] == OF_WARP
    shutil.copytree(material / ("people" if people else "talks"), root / "talks")
    names = clip_names(7 if people else N_CLIPS)
    (root / "generated").mkdir()
    for name in names:
        (root / "generated" / f"{name}.mkv").symlink_to(material / "generated" / f"{name}.mkv")
    return Stage(
        root=root,
        out=root / "out",
        names=tuple(names),
        kind="quick",
        options=ASKED[work.name],
        work=work,
    )


@pytest.fixture(scope="module")
def undisturbed(material: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The results that every run of a command should end with: made once, by local workers."""
    made: dict[str, Path] = {}

    def of_work(work: Work) -> Path:
        if work.name not in made:
            stage = stage_of(tmp_path_factory.mktemp("undisturbed") / "root", material, work)
            if ASKED[work.name] == OF_WARP:  # scores tell of the poison: it does its harm here, too
                stage.prepare()
                stage.open_gates()
            else:
                (stage.root / "log").touch()
                (stage.root / "generated" / f"{stage.poison}.mkv").unlink()
            code, said = stage.run()
            assert code == (0 if work is GENERATION else 3), said
            made[work.name] = stage.out
        return made[work.name]

    return of_work


def makes_sense(work: Work, fault: Fault, engine: str) -> bool:
    if ASKED[work.name] == OF_WARP and fault.name not in OF_EVAL:
        return False
    return engine == "ray" or not fault.only_ray


def marks(work: Work, fault: Fault, engine: str) -> list[pytest.MarkDecorator]:
    quick = engine == "local" and fault.name in QUICK and ASKED[work.name] != OF_WARP
    return [] if quick else [pytest.mark.slow]


CASES = [
    case
    for case in itertools.product(
        (GENERATION, SCORING, EVALUATION_AT_GENERATING, EVALUATION_AT_SCORING),
        FAULTS.values(),
        ("local", "ray"),
    )
    if makes_sense(*case)
]


@pytest.mark.parametrize(
    ("work", "fault", "engine"),
    [
        pytest.param(*case, marks=marks(*case), id=f"{case[0].name}: {case[1].name}, {case[2]}")
        for case in CASES
    ],
)
def test_all_good_clips_are_done_once(
    work: Work,
    fault: Fault,
    engine: str,
    material: Path,
    undisturbed: Undisturbed,
    tmp_path: Path,
) -> None:
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
        found = audit(stage, undisturbed(work))

    damaged = fault.name.startswith("a record")
    again = len(found.twice) if fault.loses_all else int(damaged)
    (given_up,) = found.quarantined.items()
    assert given_up[0] == stage.poison
    assert given_up[1].startswith(fault.reason)
    assert found == Audit(
        done=len(stage.good),
        twice=tuple(stage.good[:again]),
        quarantined=found.quarantined,
        redone=(stage.good[0],) if damaged else (),
        differs="",
    )
    if fault.name == "a video kills its worker every time":
        assert stage.counted("began")[stage.poison] == 3, "a second start tries it no more"
