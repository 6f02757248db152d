"""Every fault, by every engine: all good videos are done once, and nothing finished is redone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.faults.disturbances import FAULTS, small_disk, why_not
from tests.faults.stage import Audit, Stage, audit
from tests.talks import short_settings

N_VIDEOS = 13
"""With the poison."""
QUICK = ("the driver is killed", "the disk is full", "the output is moved away")
"""Those of the normal suite."""
ENGINES = {"local": (), "ray": ("--executor", "ray")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def quick_stage(root: Path, engine: str, *, poison: bool = True) -> Stage:
    """Videos of a few bytes, which take no time."""
    (root / "talks").mkdir(parents=True)
    names = [f"talk{number:02d}" for number in range(N_VIDEOS)]
    names[N_VIDEOS // 2] += "-poison"
    names = [name for name in names if poison or not name.endswith("poison")]
    for name in names:
        (root / "talks" / f"{name}.mp4").write_text(name)
    preset = root / "short.yaml"
    preset.write_text(yaml.safe_dump(short_settings().model_dump(mode="json")))
    options = ("--preset", str(preset), "--skeleton", "mediapipe", *ENGINES[engine])
    return Stage(
        root=root,
        out=root / "dataset",
        names=tuple(names),
        kind="quick",
        options=options,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset that every run should end with."""
    stage = quick_stage(tmp_path_factory.mktemp("undisturbed") / "root", "local", poison=False)
    (stage.root / "log").touch()
    code, said = stage.run()
    assert code == 0, said
    return stage.out


def marks(name: str, engine: str) -> list[pytest.MarkDecorator]:
    slow = engine == "ray" or name not in QUICK
    return [pytest.mark.slow] if slow else []


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        pytest.param(name, engine, marks=marks(name, engine))
        for engine in ENGINES
        for name, fault in FAULTS.items()
        if engine == "ray" or not fault.only_ray
    ],
)
def test_all_good_videos_are_done_once_under(
    name: str, engine: str, undisturbed: Path, root: Path
) -> None:
    fault = FAULTS[name]
    if (why := why_not(fault, engine)) is not None:
        pytest.skip(why)
    if engine == "ray":
        pytest.importorskip("ray")
    with ExitStack() as stack:
        stage = replace(quick_stage(root / "stage", engine), unprivileged=fault.unprivileged)
        if fault.disk_bytes is not None:
            disk = stack.enter_context(small_disk(root / "disk", fault.disk_bytes))
            stage = replace(stage, out=disk / "dataset")
        stage.prepare()

        fault.act(stage)
        found = audit(stage, undisturbed)

    before = stage.good[: len(found.twice)] if fault.loses_all else []
    assert found == Audit(
        done=N_VIDEOS - 1,
        twice=tuple(before),
        quarantined={stage.poison: fault.reason},
        redone=(),
        differs="",
    )
    assert stage.counted("began")[stage.poison] >= 3
