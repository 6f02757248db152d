"""CONTRIBUTING's recipe for a filter, followed to the letter in a copy of the package."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.recipes.recipe import code_of, copied_package, put_in, tpbench_in
from tests.talks import darkness, short_settings, write_talk
from tpbench.dataset import Dataset


def _follow_the_recipe(folder: Path) -> None:
    """Put the declaration that CONTRIBUTING shows into the file that it names."""
    (declaration,) = code_of("Add a filter")
    filters = copied_package(folder) / "extraction" / "filters"
    put_in(filters / "picture.py", declaration, behind="...]] = (\n", indent=4)


def test_a_filter_is_one_declaration_and_leaves_datasets_and_presets_as_they_are(
    tmp_path: Path,
) -> None:
    preset, talk, out = tmp_path / "short.yaml", tmp_path / "in" / "a.mp4", tmp_path / "out"
    settings = short_settings().model_dump(mode="json")
    preset.write_text(yaml.safe_dump(settings))
    write_talk(talk, darkness())

    def extract(*options: str) -> tuple[int, str]:
        options = ("--preset", str(preset), "--skeleton", "mediapipe", "--workers", "1", *options)
        code, _, errors = tpbench_in(tmp_path, "extract", str(talk), "--out", str(out), *options)
        return code, errors

    extract()
    before = Dataset.open(out)
    _follow_the_recipe(tmp_path)
    code, said = extract()

    after = Dataset.open(out)
    assert (code, said.count("does not name motion.restless: off")) == (0, 1), said
    assert after.clips(None) == before.clips(None)
    assert after.info.config == before.info.config
    assert "motion.restless" in {item.code for item in after.info.measurements}

    settings["filters"]["motion.restless"] = -1.0
    preset.write_text(yaml.safe_dump(settings))
    code, said = extract("--redo")

    assert (code, "motion.restless" in said) == (0, False), said
    (clip,) = Dataset.open(out).clips(None)
    assert "motion.restless" in clip.reject_codes
    assert clip.measurements["restlessness_levels"] == 0
    assert clip.thresholds["restlessness_levels"] == -1
