"""CONTRIBUTING's recipe for a filter, followed to the letter in a copy of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import yaml

import tpbench
from tests.talks import darkness, short_settings, write_talk
from tpbench.dataset import Dataset

PACKAGE = Path(tpbench.__file__).parent


def _follow_the_recipe(package: Path) -> None:
    """Put the declaration that CONTRIBUTING shows into the file that it names."""
    recipe = (PACKAGE.parent / "CONTRIBUTING.md").read_text("utf-8").split("## Add a filter")[1]
    found = re.search(r"```python\n(.*?)```", recipe, re.DOTALL)
    assert found
    declaration = textwrap.indent(textwrap.dedent(found[1]), "    ")
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    path = package / "extraction" / "filters" / "picture.py"
    text = path.read_text("utf-8")
    head, rest = re.split(r"(?<=\.\.\.\]\] = \(\n)", text, maxsplit=1)
    path.write_text(head + declaration + rest, "utf-8")


def test_a_filter_is_one_declaration_and_leaves_datasets_and_presets_as_they_are(
    tmp_path: Path,
) -> None:
    preset, talk, out = tmp_path / "short.yaml", tmp_path / "in" / "a.mp4", tmp_path / "out"
    settings = short_settings().model_dump(mode="json")
    preset.write_text(yaml.safe_dump(settings))
    write_talk(talk, darkness())

    def extract(*options: str) -> tuple[int, str]:
        options = ("--preset", str(preset), "--skeleton", "mediapipe", "--workers", "1", *options)
        ended = subprocess.run(
            [sys.executable, "-m", "tpbench", "extract", str(talk), "--out", str(out), *options],
            cwd=tmp_path,  # where `import tpbench` finds the copy, once it is there
            capture_output=True,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stderr

    extract()
    before = Dataset.open(out)
    _follow_the_recipe(tmp_path / "tpbench")
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
