from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.benchmark.papers import score
from tpbench.benchmark.how_to_report import first_frame_rule, how_to_report
from tpbench.metrics.scoring.report import ClipScores, Coverage, ScoreReport


def clip(name: str, identity: str | None) -> ClipScores:
    return ClipScores(
        clip_id=name,
        identity=identity,
        n_frames=120,
        real_sha256="1" * 64,
        generated_sha256="2" * 64,
        codec="h264",
        notes=(),
        values={"psnr": 30.0},
    )


def report(*identities: str | None, n_expected: int | None = None, **changes: Any) -> ScoreReport:  # noqa: ANN401 - fields of a report
    clips = {str(at): clip(str(at), name) for at, name in enumerate(identities)}
    whole = ScoreReport(
        protocol={"id": "tpbench-v2", "version": 1, "digest": "ab" * 32, "metrics": ["psnr"]},
        policies={"length": "fail", "resize": "fail", "rate": "fail", "first_frame": 0},
        real={"kind": "dataset", "name": "Talks", "digest": "cd" * 32, "split": "test"},
        coverage=Coverage(
            n_expected=n_expected or len(clips),
            n_scored=len(clips),
            missing=(),
            failed={},
            extra=(),
        ),
        metrics={"psnr": score("psnr", 30.0)},
        clips=clips,
        frames_sha256="3" * 64,
        environment={"tpbench": "0.1.0"},
    )
    return replace(whole, **changes)


def test_it_says_what_scored_what_and_how() -> None:
    said = how_to_report([report("ann", "ann", "bob")], digests=["ef" * 32])
    assert said == (
        "Scored with tpbench 0.1.0, protocol tpbench-v2 v1 (digest abababababab), on 3 clips of "
        "2 identities (Talks, test split, dataset cdcdcdcdcdcd). All frames are scored, the first "
        "one (frame 0) too; values are means over clips; 95 % intervals by bootstrap over "
        "identities (statistics v2). Digest of the scores: efefefefefef."
    )


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (0, "all frames are scored, the first one (frame 0) too"),
        (1, "frame 0, the reference, is not scored"),
        (3, "frames 0 to 2 are not scored"),
    ],
)
def test_the_rule_of_the_first_frame_is_told(first: int, said: str) -> None:
    assert first_frame_rule({"first_frame": first}) == said
    assert first_frame_rule({}).startswith("all frames")


def test_what_was_done_to_clips_that_did_not_fit_is_told() -> None:
    policies = {"length": "truncate", "resize": "area", "rate": "ignore", "first_frame": 1}
    said = how_to_report([report("ann", policies=policies)])
    assert (
        "Frame 0, the reference, is not scored; compared until the shorter clip ends; generated "
        "frames resized to the real ones; frame rates not looked at; values are"
    ) in said


def test_clips_that_lack_are_counted_and_one_clip_is_singular() -> None:
    assert "on 2 of 3 clips of 1 identity (" in how_to_report([report("ann", "ann", n_expected=3)])
    assert "on 1 clip of 1 identity (" in how_to_report([report("ann")])
    two = [report("ann", "bob", n_expected=3), report("ann", "bob", "cyd")]
    assert "on 2 to 3 of 3 clips of 3 identities (" in how_to_report(two)


def test_unknown_identities_are_not_counted_and_without_intervals_that_is_said() -> None:
    blank = {"psnr": score("psnr", 30.0, low=None, high=None)}
    folder = {"kind": "folder", "name": "real", "digest": "cd" * 32, "split": None}
    said = how_to_report([report("ann", None, metrics=blank, real=folder)])
    assert "on 2 clips (real, folder cdcdcdcdcdcd)." in said
    assert said.endswith("no intervals: they need 5 known identities.")


def test_the_protocols_mean_is_told() -> None:
    protocol = {**report("a").protocol, "clips_to_set": "mean_of_frames"}
    assert "means over all frames of all clips" in how_to_report([report("a", protocol=protocol)])


def test_clips_that_count_as_persons_are_not_called_identities() -> None:
    said = how_to_report([report("0", "1")])
    assert "on 2 clips (Talks" in said
    assert "95 % intervals by bootstrap over clips, each counted as another person's" in said


def test_methods_with_other_clips_are_told_though_they_have_as_many() -> None:
    one = report("ann", "bob", "cyd")
    other = replace(report("ann", "bob", n_expected=3), clips={"1": clip("1", "bob")})
    same = replace(other, clips={"2": clip("2", "cyd")})
    apart = "for each method over the clips that it has, which are not the same"
    assert "on 1 of 3 clips of 2 identities" in how_to_report([other, same])
    assert apart in how_to_report([other, same])
    assert apart not in how_to_report([one, one])
    paired = how_to_report([one, other], paired=True)
    assert "on 1 of 3 clips of 1 identity (" in paired
    assert apart not in paired


def test_intervals_of_scores_are_not_those_of_their_differences() -> None:
    said = how_to_report([report("ann"), report("bob")], paired=True, has_intervals=False)
    assert said.endswith("no intervals: they need 5 known identities.")


def test_networks_and_the_detector_are_told_where_they_were_used() -> None:
    found = {name: score(name, 0.5) for name in ("lpips", "akd_body")}
    protocol = {**report("a").protocol, "skeleton": "mediapipe"}
    said = how_to_report([report("a", protocol=protocol, metrics=found)])
    assert "; LPIPS with AlexNet; keypoints by MediaPipe; " in said
    assert "MediaPipe" not in how_to_report([report("a", protocol=protocol)])


def test_a_dataset_without_a_split_has_none_in_the_sentence() -> None:
    real = {"kind": "dataset", "name": "Talks", "digest": "cd" * 32, "split": "all"}
    assert "(Talks, dataset cdcdcdcdcdcd)" in how_to_report([report("a", real=real)])


def test_many_digests_are_not_listed() -> None:
    assert "Digest of" not in how_to_report([report("ann")], digests=["ef" * 32] * 9)
    assert "Digest of" not in how_to_report([report("ann")])
