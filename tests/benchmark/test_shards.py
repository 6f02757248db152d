"""A run in parts is the run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.benchmark.conftest import Maker, births, content
from tests.benchmark.evaluating import Evaluator, flip, measurements, scores_of
from tests.benchmark.generators import Leaky
from tpbench.benchmark.evaluate import Evaluation
from tpbench.errors import ConfigError
from tpbench.files import link_or_copy
from tpbench.work.records import Shard


@pytest.fixture(scope="module")
def whole(talks: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return Evaluator(data=talks, out=tmp_path_factory.mktemp("whole"))()


@pytest.fixture
def run_it(talks: Path, tmp_path: Path) -> Evaluator:
    return Evaluator(data=talks, out=tmp_path / "runs")


def test_two_shards_merged_give_the_scores_of_one_run(run_it: Evaluator, whole: Evaluation) -> None:
    parts = [run_it(shard=f"{number}/2").runs[0] for number in (1, 2)]
    (merged,) = run_it().runs
    assert [sorted(part.records()) for part in parts] == [["b"], ["a", "c"]]
    assert scores_of(merged) == scores_of(whole.runs[0])
    assert content(merged) == content(whole.runs[0])
    made = {name: birth for part in parts for name, birth in births(part).items()}
    assert births(merged) == made, "a clip was made again"
    measured = {name: birth for part in parts for name, birth in measurements(part).items()}
    assert measurements(merged) == measured, "a clip was measured again"


def test_a_shard_has_a_folder_of_its_own_and_is_partial(run_it: Evaluator) -> None:
    evaluation = run_it(shard="1/2")
    (run,) = evaluation.runs
    assert run.folder.path.name == "seed42.shard1of2"
    assert (evaluation.partial, evaluation.complete) == (True, True)
    assert evaluation.reports[0].coverage.n_expected == 1


def test_the_merged_run_tells_who_made_its_clips(run_it: Evaluator) -> None:
    for number in (1, 2):
        run_it(shard=f"{number}/2", command=("part", str(number)))
    (merged,) = run_it(command=("whole",)).runs
    assert [session.command for session in merged.info.sessions] == [("part", "1"), ("part", "2")]
    assert run_it().runs[0].info == merged.info


def test_what_a_shard_lacks_is_made(run_it: Evaluator, whole: Evaluation) -> None:
    (part,) = run_it(shard="2/2").runs
    flip(part.folder.generated("c"))
    (merged,) = run_it(command=("whole",)).runs
    assert births(merged)["a"] == births(part)["a"]
    assert births(merged)["c"] != births(part)["c"]
    assert scores_of(merged) == scores_of(whole.runs[0])
    assert merged.info.sessions[-1].clips_to_do == 2


def test_shards_of_another_configuration_are_passed_over(run_it: Evaluator) -> None:
    (part,) = run_it(shard="1/2", options={}).runs
    other = part.folder.path.with_name("seed7.shard1of2")
    shutil.copytree(part.folder.path, other)
    (run,) = run_it(seeds=[7]).runs
    assert run.info.sessions[0].clips_to_do == 3


def test_shards_may_come_from_another_machine(
    run_it: Evaluator, whole: Evaluation, talks: Path, tmp_path: Path
) -> None:
    (there,) = Evaluator(data=talks, out=tmp_path / "there")(shard="1/2").runs
    run_it(shard="2/2")
    home = run_it.out / there.folder.path.relative_to(tmp_path / "there")
    shutil.copytree(there.folder.path, home)
    (merged,) = run_it().runs
    assert sorted(session.clips_to_do for session in merged.info.sessions) == [1, 2]
    assert scores_of(merged) == scores_of(whole.runs[0])


def test_without_hard_links_files_are_copied(
    run_it: Evaluator, whole: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    (part,) = run_it(shard="1/1").runs
    monkeypatch.setattr(os, "link", refused)

    (merged,) = run_it().runs

    assert content(merged) == content(whole.runs[0])
    assert not set(births(merged).values()) & set(births(part).values())


def test_always_makes_what_shards_have_again(run_it: Evaluator) -> None:
    (part,) = run_it(shard="1/1").runs
    (run,) = run_it(overwrite="always").runs
    assert not set(births(run).values()) & set(births(part).values())
    assert not set(measurements(run).values()) & set(measurements(part).values())


def test_a_generator_that_carries_over_is_not_sharded(make: Maker) -> None:
    with pytest.raises(ConfigError, match="depends on the clips before"):
        make(Leaky(), shard=Shard.parse("2/2"))


def test_more_shards_than_clips_are_refused(run_it: Evaluator) -> None:
    with pytest.raises(ConfigError, match="--shard 4/4: nothing is left for it of 3 clips"):
        run_it(shard="4/4")


def test_only_shards_of_the_very_run_are_looked_at(run_it: Evaluator) -> None:
    folder = run_it(ids=["a"]).runs[0].folder
    for name in (
        "seed42.shard1of2",
        "seed42.shard1of2.old",
        "seed421.shard1of2",
        "seed42.shardXof2",
    ):
        (folder.path.parent / name).mkdir()
    assert [shard.path.name for shard in folder.shards()] == ["seed42.shard1of2"]


def test_a_broken_run_json_of_a_shard_costs_its_sessions_only(run_it: Evaluator) -> None:
    (part,) = run_it(shard="1/1").runs
    (part.folder.path / "run.json").write_text(json.dumps({}))
    (merged,) = run_it().runs
    assert births(merged) == births(part)
    assert merged.info.sessions == ()


def test_a_link_is_put_in_the_place_of_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    link_or_copy(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]
