"""Published numbers are data, and data is checked."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from tpbench.baselines.registry import (
    MODELS,
    ReportedDirection,
    ReportedValue,
    lacking,
    load_reported,
    option_table,
    reported_for,
    weight_parts,
)
from tpbench.baselines.talkingpose import needs

VALUES = load_reported()
PAPER_SIX = (
    "animate-anyone", "magicanimate", "magicpose", "champ", "mimicmotion", "stableanimator",
)  # fmt: skip


def named(value: ReportedValue) -> str:
    return f"{value.method}, {value.test_set}, {value.metric}"


def only(method: str, metric: str, test_set: str, title: str) -> ReportedValue:
    (found,) = (
        value
        for value in VALUES
        if (value.method, value.metric, value.test_set) == (method, metric, test_set)
        and value.source_title.startswith(title)
    )
    return found


def test_nothing_is_there_twice() -> None:
    keys = Counter((v.method, v.test_set, v.metric, v.source_url) for v in VALUES)
    assert [key for key, count in keys.items() if count > 1] == []


def test_a_metric_has_one_direction_and_unit_everywhere() -> None:
    directions: dict[str, set[tuple[str, str]]] = {}
    for value in VALUES:
        directions.setdefault(value.metric, set()).add((value.direction, value.unit))
        assert value.direction in get_args(ReportedDirection)
    assert all(len(found) == 1 for found in directions.values())
    better_when_lower = {"fvd", "fid", "fid_vid", "lpips", "l1", "tje_d2", "movie", "dtfvd"}
    for metric, ((direction, _),) in directions.items():
        expected = "lower" if metric in better_when_lower else "higher"
        assert direction == ("none" if metric == "params_b" else expected)


def test_every_number_can_be_what_it_says() -> None:
    ranges = {
        "psnr": (10, 35), "ssim": (0.5, 1), "lpips": (0.05, 0.7), "csim": (0.1, 1),
        "face_cos": (0.1, 1), "hkc": (0.1, 1), "tje_d2": (1, 20), "params_b": (1, 5),
        "fvd": (20, 1100), "fid": (20, 60), "fid_vid": (5, 20), "l1": (0, 200),
        "movie": (50, 120), "dtfvd": (1, 4), "sync_c": (0, 10),
    }  # fmt: skip
    for value in VALUES:
        low, high = ranges[value.metric]
        assert low <= value.value <= high, named(value)


def test_every_number_has_a_source_for_readers() -> None:
    address = re.compile(r"https://(arxiv\.org/abs/\d{4}\.\d{5}|github\.com/)")
    for value in VALUES:
        assert value.method
        assert value.source_title
        assert address.match(value.source_url), named(value)
        texts = (value.method, value.test_set, value.source_title, value.where, value.note)
        assert all(text == " ".join(text.split()) for text in texts), named(value)
        assert not any(re.search(r"\d{10}", text) for text in texts), named(value)


def test_only_what_was_read_at_the_source_is_not_secondary() -> None:
    first_hand = {value.source_url for value in VALUES if not value.secondary}
    assert first_hand == {
        "https://github.com/dfki-av/TalkingPose",
        "https://github.com/openhe-hub/DMS",
        "https://github.com/Francis-Rings/StableAnimator/issues/117",
    }


def test_every_psnr_of_the_overflow_family_is_flagged_and_no_other() -> None:
    for value in VALUES:
        if value.metric != "psnr":
            assert not value.overflow_psnr, named(value)
        elif value.value >= 25:
            assert value.overflow_psnr, named(value)

    flagged = {
        (value.source_title.partition(":")[0], value.test_set)
        for value in VALUES
        if value.overflow_psnr
    }
    assert flagged == {
        ("StableAnimator", "TikTok"),
        ("StableAnimator", "Unseen100"),
        ("MagicPose", "TikTok"),
        (
            "Free-viewpoint Human Animation with Pose-correlated Reference Selection",
            "MSTed (multi-shot TED)",
        ),
    }
    # One table is of one family, the low values in it too.
    assert only("MimicMotion", "psnr", "Unseen100", "StableAnimator").overflow_psnr


@pytest.mark.parametrize(
    ("method", "metric", "test_set", "title", "expected"),
    [
        ("TalkingPose", "tje_d2", "", "TalkingPose", 6.18),
        ("TalkingPose", "psnr", "", "TalkingPose", 21.92),
        ("TalkingPose", "params_b", "", "TalkingPose", 2.10),
        ("MagicPose", "tje_d2", "", "TalkingPose", 8.96),
        ("AnimateAnyone", "psnr", "", "TalkingPose", 22.22),
        ("MimicMotion", "fid_vid", "TikTok", "MimicMotion", 9.3),
        ("StableAnimator", "csim", "Unseen100", "StableAnimator", 0.805),
        ("MagicPose", "l1", "TikTok", "MagicPose", 0.81e-4),
        ("Champ", "lpips", "TikTok", "MotionFollower", 0.235),
        ("AnimateAnyone", "fvd", "EMTD half body", "EchoMimicV2", 1016),
        ("StableAnimator", "psnr", "TikTok, clip 00002, 576x1024, 37 frames", "Stable", 17.11),
    ],
)
def test_numbers_stand_as_they_were_published(
    method: str, metric: str, test_set: str, title: str, expected: float
) -> None:
    assert only(method, metric, test_set, title).value == expected


def test_what_a_source_leaves_out_is_left_out_here() -> None:
    on_tiktok = [
        value
        for value in VALUES
        if value.test_set == "TikTok" and value.source_title.startswith("StableAnimator")
    ]
    assert {v.metric for v in on_tiktok if v.method == "MimicMotion"} == {"csim", "fvd"}
    assert {v.metric for v in on_tiktok if v.method == "UniAnimate"} == {"csim", "fvd", "psnr"}


@pytest.mark.parametrize("model_id", ["talkingpose", *PAPER_SIX])
def test_the_models_of_the_paper_have_their_numbers(model_id: str) -> None:
    on_page = [v for v in reported_for(model_id) if "dfki-av" in v.source_url]
    assert {value.metric for value in on_page} == {"tje_d2", "psnr", "params_b"}


def test_methods_without_a_model_here_belong_to_none() -> None:
    assert {v.model_id for v in VALUES if v.method in ("MuseV", "DisCo", "Wan-Animate")} == {""}
    assert reported_for("warp") == ()


def test_addresses_of_models_are_web_addresses_or_not_known() -> None:
    for row in MODELS.values():
        for address in (row.url, row.paper_url, row.weights_url):
            assert address == "" or address.startswith("https://"), row.id
    assert MODELS["mimicmotion"].weights_url == "https://huggingface.co/tencent/MimicMotion"
    assert MODELS["frozen"].paper_url == ""


@pytest.mark.parametrize("name", MODELS)
def test_every_option_is_explained_and_is_one_that_the_model_takes(name: str) -> None:
    options = option_table(name)
    assert all(option.meaning for option in options)
    # What the model says of an option that it lacks: all that it has, or one of like name.
    said = "".join(lacking(name, options={"qqqqqq": 1}))
    known = ", ".join(sorted(option.name for option in options))
    assert (f"known: {known}" if known else "it has none") in said


def test_weights_of_a_model_are_listed_with_state_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    parts = {part.name: part for part in weight_parts("talkingpose:no-feedback")}
    assert len(parts) == 7
    assert {part.status for part in parts.values()} == {"missing"}
    assert parts["sd-image-encoder"].size_bytes == 1215993967
    assert parts["talkingpose-pose-guider"].size_bytes is None
    assert weight_parts("warp") == ()


def test_weights_of_an_external_method_have_the_size_of_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_METHODS", str(tmp_path))
    vae = tmp_path / "champ/checkout/pretrained_models/sd-vae-ft-mse"
    vae.mkdir(parents=True)
    (vae / "model.bin").write_bytes(b"12345")
    parts = {part.name: (part.status, part.size_bytes) for part in weight_parts("champ")}
    assert parts["VAE"] == ("present", 5)
    assert parts["Champ networks"] == ("missing", None)


def test_all_that_talkingpose_lacks_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "diffusers" else object())
    assert lacking("talkingpose", options={"steps": 0}) == [
        "talkingpose: steps=0 is wrong: input should be greater than or equal to 1",
        "packages are missing (diffusers): pip install diffusers",
        (
            "weights 'talkingpose (7 of 7 files)' are missing: run: tpbench weights pull "
            "talkingpose; or name a folder with --weights"
        ),
    ]


def test_all_that_an_external_method_lacks_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TPBENCH_METHODS", str(tmp_path))
    code = tmp_path / "code"
    (code / "pretrained_models/sd-vae-ft-mse").mkdir(parents=True)
    said = lacking("champ", options={"checkout": str(code)}, weights_dir=tmp_path)
    begins = (
        "champ keeps its weights in its checkout",
        "champ: option 'guidance_dir' is required",
        f"champ: no Python at {tmp_path}/champ/env/bin/python",
        "weights 'champ: Champ networks' are missing: no ",
        "weights 'champ: Stable Diffusion 1.5 UNet' are missing: no ",
        "weights 'champ: CLIP image encoder' are missing: no ",
    )
    assert len(said) == len(begins)
    assert all(line.startswith(begin) for line, begin in zip(said, begins, strict=True))
    brought = lacking("champ", options={"checkout": str(code), "guidance_dir": "nowhere"})
    assert brought[-1].startswith("champ: no folder nowhere (option guidance_dir)")


def test_what_a_light_model_lacks_is_what_its_factory_says() -> None:
    assert lacking("warp", options={}) == []
    assert lacking("precomputed", options={}) == [
        "precomputed: option 'folder' is required: give folder=..."
    ]
