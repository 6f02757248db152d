from __future__ import annotations

import yaml

from tpbench.baselines.external.spec import fill, fill_structure

NASTY = 'a b: "c" {d} - #e\n*f'


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
