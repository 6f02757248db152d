from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.benchmark.generators import MODULE, Bare, Numbered
from tpbench.baselines import registry
from tpbench.baselines.base import ModelRow
from tpbench.benchmark.model import (
    ModelChoice,
    as_generator,
    build,
    choose,
    parse_assignments,
    plan_workers,
    with_reference_quirks,
)
from tpbench.errors import ConfigError
from tpbench.work import Engine, usable_cores


def test_a_dot_before_the_colon_means_a_class() -> None:
    choice = choose(f"{MODULE}:Numbered")
    assert (choice.row, choice.kind, choice.weight_free) == (None, "custom", False)


def test_under_ray_a_model_with_weights_takes_a_gpu_or_the_share_that_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Engine, "num_gpus", lambda _: 2)
    plans = [
        plan_workers(ModelChoice(name="mine"), device="auto", workers=None, clips=99, engine=engine)
        for engine in (Engine(name="ray"), Engine(name="ray", gpu_share=0.3))
    ]
    assert [(plan.workers, plan.gpu_share) for plan in plans] == [(2, 1.0), (6, 0.3)]


def test_without_a_dot_it_is_a_model_of_the_table() -> None:
    with pytest.raises(ConfigError, match="no model 'nonesuch'"):
        choose("nonesuch:variant")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tests.nowhere:Numbered", "there is no module 'tests.nowhere'"),
        (f"{MODULE}:Nobody", "has no 'Nobody'"),
        ("tests.benchmark.conftest:write_dataset", "can't be called with the options"),
    ],
)
def test_a_class_that_is_not_there_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(name, options={}, weights_dir=None, device="cpu")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('not today')", "fails: ValueError: not today"),
        ("import sys; sys.exit(3)", "fails: SystemExit: 3"),
        ("def broken(:", "fails: SyntaxError"),
        ("import nowhere_to_be_found", "there is no module 'nowhere_to_be_found'"),
        ("Mine = 3", "'Mine' is not a class"),
        (
            "class Mine:\n    def __init__(self):\n        1 / 0",
            "can't be built: ZeroDivisionError",
        ),
    ],
)
def test_a_module_that_fails_is_one_line(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_own.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "users_own", raising=False)
    with pytest.raises(ConfigError, match=re.escape(message)):
        build("users_own:Mine", options={}, weights_dir=None, device="cpu")


@pytest.mark.parametrize("name", [".x:Y", "tpbench.errors:TPBenchError", "frozen:"])
def test_odd_names_are_one_line(name: str) -> None:
    with pytest.raises(ConfigError):
        build(name, options={}, weights_dir=None, device="cpu")


def test_a_class_gets_its_options() -> None:
    made = build(f"{MODULE}:Numbered", options={"shade": "3"}, weights_dir=None, device="cpu")
    assert made.describe()["shade"] == 3


OPTIONS = """
from __future__ import annotations

class Mine:
    def __init__(self, gain=1.0, steps: int = 3, n=1, flip=0 > 1, mode="a", rate: float | None = 0):
        self.said = dict(gain=gain, steps=steps, n=n, flip=flip, mode=mode, rate=rate)

    def generate(self, tasks):
        yield

    def describe(self):
        return self.said
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the working directory, with a class and a function."""
    (tmp_path / "users_own.py").write_text(OPTIONS + "\n\ndef lower(tasks):\n    yield\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "users_own", raising=False)


@pytest.mark.usefixtures("own_module")
def test_texts_become_what_the_class_takes() -> None:
    texts = {"gain": "2", "steps": "5", "n": "0.5", "flip": "yes", "mode": "7", "rate": "1e3"}
    made = build("users_own:Mine", options=texts, weights_dir=None, device="cpu")
    said = {"gain": 2.0, "steps": 5, "n": 0.5, "flip": True, "mode": "7", "rate": 1000.0}
    found = {name: made.describe()[name] for name in said}
    assert found == said
    assert [type(value) for value in found.values()] == [type(value) for value in said.values()]
    assert made.describe()["options"] == said


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("option", "want"),
    [
        ({"gain": "loud"}, "gain='loud' is wrong: want a number"),
        ({"steps": "1.5"}, "steps='1.5' is wrong: want a whole number"),
        ({"flip": "maybe"}, "flip='maybe' is wrong: want yes or no"),
        ({"gain": "nan"}, "gain='nan' is wrong: want a finite number"),
    ],
)
def test_a_text_that_is_no_number_is_refused(option: dict[str, str], want: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(want)):
        build("users_own:Mine", options=option, weights_dir=None, device="cpu")


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("users_own", "name the class in it: --model users_own:MyClass"),
        ("./users_own.py", "name the class in it: --model users_own:MyClass"),
        ("users_own.py:Mine", "name the module, not its file: users_own:Mine"),
        ("users_own:lower", "missing a required argument: 'tasks'"),
        ("users_own:", "no model 'users_own'"),
        (":Mine", "no model ''"),
    ],
)
def test_a_class_named_in_another_way_is_told_how(name: str, message: str) -> None:
    def take() -> None:
        choose(name)
        build(name, options={}, weights_dir=None, device="cpu")

    with pytest.raises(ConfigError, match=re.escape(message)):
        take()


def test_a_class_in_place_of_an_object_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"want an object: Bare\(\.\.\.\)"):
        as_generator(Bare, name="mine")


def test_weights_for_a_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes no --weights"):
        build(f"{MODULE}:Numbered", options={}, weights_dir=tmp_path, device="cpu")


def test_what_generates_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mine: list has no method `generate\(tasks\)`"):
        as_generator([], name="mine")


def test_an_adopted_object_has_all_that_a_generator_has() -> None:
    bare, whole = as_generator(Bare(), name="bare"), Numbered()
    assert bare.max_clips == 1
    assert set(bare.describe()) == {"class", "source_sha256"}
    bare.close()
    as_generator(whole, name="whole").close()
    assert whole.closed


def test_assignments_become_options() -> None:
    assert parse_assignments(["steps=30", "folder=a=b"]) == {"steps": "30", "folder": "a=b"}


@pytest.mark.parametrize("pairs", [["steps"], ["=3"], ["a=1", "a=2"]])
def test_what_assigns_nothing_is_refused(pairs: list[str]) -> None:
    with pytest.raises(ConfigError, match="--option "):
        parse_assignments(pairs)


def test_quirks_are_the_variant_of_that_name_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = ModelRow(
        id="odd",
        display_name="Odd",
        kind="model",
        description="",
        factory="a:b",
        variants={"reference-quirks": {"reference_quirks": True}, "plain": {}},
    )
    monkeypatch.setattr(registry, "MODELS", {"odd": row})
    assert with_reference_quirks("odd", {"steps": 3}) == ("odd:reference-quirks", {"steps": 3})
    assert with_reference_quirks("odd:plain", {}) == ("odd:plain", {"reference_quirks": True})


@pytest.mark.parametrize("workers", [0, -2])
def test_a_run_needs_a_worker(workers: int) -> None:
    with pytest.raises(ConfigError, match=f"at least 1, got {workers}"):
        plan_workers(ModelChoice(name="mine"), device="cpu", workers=workers, clips=3)


def test_a_model_of_unknown_weight_gets_one_worker_with_all_cores() -> None:
    worker_plan = plan_workers(ModelChoice(name="mine"), device="cpu", workers=None, clips=3)
    assert (worker_plan.workers, worker_plan.devices, worker_plan.threads) == (
        1,
        ("cpu",),
        usable_cores(),
    )


@pytest.mark.parametrize("clips", [1, 1000])
def test_models_without_weights_get_a_worker_a_core(clips: int) -> None:
    row = ModelRow(id="x", display_name="X", kind="anchor", description="", factory="a:b")
    worker_plan = plan_workers(
        ModelChoice(name="x", row=row), device="auto", workers=None, clips=clips
    )
    assert (worker_plan.workers, worker_plan.threads) == (min(clips, usable_cores()), 1)


def test_each_gpu_gets_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tpbench.benchmark.model._gpus", lambda: ("cuda:0", "cuda:1"))
    model = ModelChoice(name="mine")
    both = plan_workers(model, device="auto", workers=None, clips=9)
    one = plan_workers(model, device="cuda:1", workers=None, clips=9)
    three = plan_workers(model, device="cuda", workers=3, clips=9)
    assert (both.workers, both.devices) == (2, ("cuda:0", "cuda:1"))
    assert (one.workers, one.devices) == (1, ("cuda:1",))
    assert (three.workers, three.devices) == (3, ("cuda:0", "cuda:1", "cuda:0"))
