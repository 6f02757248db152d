from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.baselines.external.conftest import TOY, toy
from tpbench.baselines.external.spec import (
    fill,
    fill_structure,
    load_spec,
    parse_spec,
    spec_ids,
)
from tpbench.errors import ConfigError

NASTY = 'a b: "c" {d} - #e\n*f'
PAPER = {
    "animate-anyone": "a914ef3",
    "champ": "02e5533",
    "magicanimate": "d2bc3bc",
    "magicpose": "a515a1f",
    "mimicmotion": "62f91e1",
    "stableanimator": "020e7f2",
}
"""The methods of the paper, and the commits that their specs were written for."""


def test_the_paper_s_six_are_there() -> None:
    assert spec_ids() == tuple(PAPER)


@pytest.mark.parametrize("method_id", PAPER)
def test_every_spec_says_where_it_comes_from(method_id: str) -> None:
    spec = load_spec(method_id)
    assert (spec.id, spec.commit) == (method_id, PAPER[method_id])
    assert spec.url.startswith("https://github.com/")
    assert spec.licence.code
    assert spec.licence.weights
    assert all(row.source.startswith("https://") and row.licence for row in spec.weights)
    assert "ref" in spec.inputs


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"command": ["{python}", "{pyhton}"]},
            ["spec 'toy'", "command: unknown placeholder '{pyhton}'", "did you mean 'python'?"],
        ),
        ({"command": ["{window}"]}, ["unknown placeholder '{window}'"]),
        ({"templates": {"config": {"a": ["{reff}"]}}}, ["templates", "'{reff}'", "mean 'ref'?"]),
        ({"templates": {"config": {"{reff}": 1}}}, ["templates", "'{reff}'"]),
        ({"collect": {"root": "out", "glob": "{out}/*", "kind": "video"}}, ["collect", "'{out}'"]),
        ({"env_vars": {"A": "{b}"}}, ["env_vars", "'{b}'"]),
        ({"command": ["{ref.x}"]}, ["'{ref.x}'", "a placeholder is a plain name in braces"]),
        ({"command": ["{seed:03d}"]}, ["a placeholder is a plain name"]),
        ({"command": ["{"]}, ["spec 'toy'"]),
        ({"mode": "batch"}, ["command: unknown placeholder '{ref}' (one clip's; it can't stand"]),
        ({"settings": {"python": 3}}, ["'python' names two things"]),
        ({"settings": {"ref": 3}}, ["'ref' names two things"]),
        ({"comand": []}, ["comand: Extra inputs are not permitted"]),
        ({"geometry": {"fit": "letterbox"}}, ["geometry: sizes belong to letterbox"]),
        (
            {"collect": {"root": "out", "glob": "../*.png", "kind": "video"}},
            ["collect.glob: '../*.png' leads out of its folder"],
        ),
        ({"fresh": ["../up"]}, ["fresh.0: '../up' leads out of its folder"]),
        ({"inputs": {"ref": {"kind": "ref_jpg"}}}, ["inputs.ref"]),
        (
            {"inputs": {"ref": {"kind": "pose_pngs", "names": "a/%d.png"}}},
            ["want a file name with one %d"],
        ),
    ],
)
def test_a_slip_in_a_spec_is_found_when_it_is_read(
    changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        toy(**changes)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_what_is_no_spec_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="spec 'x': "):
        parse_spec(None, name="x")
    with pytest.raises(ConfigError, match=r"no external method 'chmap'; did you mean 'champ'\?"):
        load_spec("chmap")


def test_the_digest_changes_with_all_that_a_spec_says() -> None:
    assert toy().digest == parse_spec(yaml.safe_load(TOY), name="again").digest
    assert toy().digest != toy(settings={"steps": 4}).digest
    assert toy().digest != toy(command=["{python}", "toy.py"]).digest


def test_a_placeholder_alone_keeps_its_type() -> None:
    assert fill("{n}", {"n": 3}) == 3
    assert fill("{n}x{n}", {"n": 3}) == "3x3"
    assert fill("{{n}}", {}) == "{n}"


def test_values_are_never_parsed_again() -> None:
    template = {"path": "{p}", "{p}": ["{p}", None, 2]}
    content = yaml.safe_load(yaml.safe_dump(fill_structure(template, {"p": NASTY}, [])))
    assert content == {"path": NASTY, NASTY: [NASTY, None, 2]}


def test_what_stands_for_each_clip_is_repeated() -> None:
    template = {
        "seed": "{seed}",
        "cases": {"each_clip": {"ref": "{ref}", "steps": "{steps}"}},
        "pairs": {"each_clip_merged": {"{ref}": ["{steps}"]}},
    }
    content = fill_structure(template, {"seed": 1, "steps": 5}, [{"ref": "a"}, {"ref": "b"}])
    assert content == {
        "seed": 1,
        "cases": [{"ref": "a", "steps": 5}, {"ref": "b", "steps": 5}],
        "pairs": {"a": [5], "b": [5]},
    }
