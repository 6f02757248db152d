"""Every code block of README and docs runs in a prepared folder.

A block marked `<!-- not run: why -->` is only parsed, one marked `<!-- slow: why -->` runs with the
slow tests. Recipes of CONTRIBUTING are followed in `tests/recipes`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.benchmark.people import write_people
from tests.conftest import MediaMaker
from tpbench.baselines.external.method import install_steps
from tpbench.baselines.external.spec import load_spec, spec_ids
from tpbench.baselines.registry import find
from tpbench.benchmark.evaluate import evaluate
from tpbench.cli.main import app
from tpbench.dataset import split_dataset
from tpbench.doctor import demo_clips
from tpbench.metrics import reference_check
from tpbench.metrics.reference_check import CheckRow
from tpbench.weights import weights_named

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)

BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>slow|not run): [^\n]+ -->\n)?^```(?P<language>.*?)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
COMMAND = typer.main.get_command(app)
VENV = "python3 -m venv .venv && . .venv/bin/activate"
SHELL = ("git", "conda", "hf", "nvidia-smi", "sudo", "export", "pip", "ray", "sbatch", "srun")
"""Programs that stand in blocks that are not run, besides the Python and pip of a method."""
OF_OTHERS = {"--write-info-json", "--array", "--mem", "--requeue", "--signal", "--talks", "--nodes"}
"""Options of yt-dlp, of sbatch and of `benchmarks.simulate_cluster`."""
OF_A_METHOD = re.compile(r"python3\.\d+|\$TPBENCH_METHODS/[a-z-]+/env/bin/(pip|python)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    language: str
    text: str
    mark: str

    def commands(self) -> list[list[str]]:
        lines = [line for line in self.text.splitlines() if line != VENV]
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> Iterator[Block]:
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield Block(language=found["language"], text=found["text"], mark=found["mark"] or "")


def subcommands(command: Any) -> dict[str, Any]:  # noqa: ANN401 - typer brings its own click
    found: dict[str, Any] = getattr(command, "commands", {})
    return found


def leaves(command: Any) -> Iterator[Any]:  # noqa: ANN401 - as above
    for below in subcommands(command).values():
        yield from leaves(below) if subcommands(below) else (below,)


def named_by(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words behind `tpbench` name, and what is left for it."""
    command = COMMAND
    while words and words[0] in subcommands(command):
        command, words = subcommands(command)[words[0]], words[1:]
    return command, words


def options_of(command: Any) -> set[str]:  # noqa: ANN401 - as above
    return {name for param in command.params for name in param.opts}


def assert_is_understood(words: list[str]) -> None:
    if words[0] == "tpbench":
        command, rest = named_by(words[1:])
        assert not subcommands(command), words
        assert_names_exist(command.make_context(command.name, rest).params)
    elif words[0] == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets)
    else:
        assert words[:2] == ["pip", "install"], words


def assert_names_exist(given: dict[str, Any]) -> None:
    model = given.get("model")
    if isinstance(model, str) and not re.match(r"my_module:|path/to/", model):
        find(model)
    for files in (given.get("names"), given.get("name")):
        if isinstance(files, list):
            weights_named(files)


@each_page
def test_every_block_is_python_or_commands_that_tpbench_understands(page: Path) -> None:
    assert page.read_text(encoding="utf-8").count("```") == 2 * len(list(blocks(page)))
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, page.name, "exec")
        else:
            assert block.language == "sh"
            for words in block.commands():
                if block.mark == "not run" and (words[0] in SHELL or OF_A_METHOD.match(words[0])):
                    continue
                assert_is_understood(words)
            read = subprocess.run(["/bin/sh", "-n"], input=block.text, text=True, check=False)
            assert read.returncode == 0, block.text


@each_page
def test_commands_options_extras_links_in_the_text_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    every_option = OF_OTHERS.union(*map(options_of, leaves(COMMAND)))
    for code in re.findall(r"`([^`\n]+)`", text):
        options = set(re.findall(r"(?<!\S)--[a-z0-9-]+", code))
        if code.startswith("tpbench "):
            command, rest = named_by(shlex.split(code)[1:])
            assert not (subcommands(command) and rest), code
            assert options <= options_of(command), code
        assert options <= every_option, code
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in re.findall(r"'\.\[([a-z]+)\]'", text):
        assert extra in project["optional-dependencies"]
    for target, anchor in re.findall(r"\]\((?!https:)([^)#]*)#?([^)]*)\)", text):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {title.lower().replace(" ", "-") for title in titles}, anchor


def test_the_page_of_methods_has_every_step_of_every_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TPBENCH_METHODS", "/METHODS")
    page = ROOT / "docs/methods.md"
    sections = page.read_text(encoding="utf-8").split("\n## ")[1:]
    assert [section.splitlines()[0] for section in sections] == [
        load_spec(name).display_name for name in spec_ids()
    ]
    found = [block.text for block in blocks(page) if "git clone" in block.text]
    for name, section, block in zip(spec_ids(), sections, found, strict=True):
        spec = load_spec(name)
        lines = [line.replace("/METHODS", "$TPBENCH_METHODS") for line in install_steps(spec)]
        needs = [line.replace("#", "-", 1) for line in lines if line.startswith("# needs: ")]
        assert block.splitlines() == [line for line in lines[3:] if not line.startswith("# needs")]
        said = section.replace("`", "")
        assert [line for line in said.splitlines() if line.startswith("- needs: ")] == needs
        for line in (*lines[1:3], *spec.notes):
            assert f"- {line.removeprefix('# ')}\n" in said
        assert spec.url in section
        assert f"tpbench eval --model {name} " in section


def test_the_gpu_page_has_every_file_with_its_size_and_licence() -> None:
    text = (ROOT / "docs/gpu.md").read_text(encoding="utf-8")
    rows = []
    for row in weights_named(["talkingpose", "metrics", "extraction"]):
        size = "" if row.size_bytes is None else f" {row.size_bytes / 1e6:,.1f}"
        rows.append(f"| `{row.name}` |{size or ' '} | {row.licence} | {row.used_for} |")
    table = "\n".join(rows).replace("| 0.0 |", "| < 0.1 |")
    assert f"|---|---|---|---|\n{table}\n\n" in text


def test_what_was_never_run_stands_once_on_the_first_screen_of_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (at,) = (number for number, line in enumerate(text.splitlines()) if "real weights" in line)
    assert at < 25
    assert len(re.findall("without a GPU|never run|no GPU|No GPU|stand-in|not been run", text)) == 2


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """No process is started where this one will do; slow rows of the check are tested beside it."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("work", "benchmark.model", "work.pool"):
            patch.setattr(f"tpbench.{module}.usable_cores", lambda: 1)
        passed = partial(CheckRow, clip="", what="Fréchet distance", tolerance=1e-6, unit="share")
        patch.setattr(
            reference_check, "_frechet", lambda against: passed(against=against).found(0.0, 1)
        )
        yield


@pytest.fixture(scope="module")
def prepared(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the pages speak of: a dataset, videos, two runs and a generator."""
    folder = tmp_path_factory.mktemp("docs")
    data = folder / "DATASET"
    write_people(data, {"anna": 106, "ben": 102})
    split_dataset(data, test_share=0.5, seed=0)
    for model in ("oracle", "frozen"):
        evaluate(model, data, out=folder / "runs", metrics=["psnr", "ssim"], offline=True)
    for name in ("talks", "REAL", "MINE", "THEIRS"):
        (folder / name).mkdir()
    (talk,) = (path for path in demo_clips() if "carphone" in path.name)
    shutil.copy(talk, folder / "talks")
    shutil.copytree(data / "clips", folder / "VIDEOS")
    for clip in (data / "clips").glob("*/*"):
        shutil.copy(clip, folder / "MINE")
    media = MediaMaker(folder)
    media.cfr("my_clip.mp4", n=8, size=(160, 128))
    for name in ("REAL", "MINE", "THEIRS"):
        for video in ("one.mp4", "two.mp4"):
            media.cfr(f"{name}/{video}", n=8, size=(160, 128))
    example = next(b.text for b in blocks(ROOT / "docs/evaluation.md") if "class Darker" in b.text)
    (folder / "my_module.py").write_text(example)
    return folder


@pytest.fixture
def home(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it, in which a page works."""
    folder = tmp_path / "home"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("my_module", None)


def with_run(word: str, home: Path) -> str:
    """Return a word of a command with the folder of a run instead of RUN."""
    head, slash, rest = word.partition("/")
    model = {"RUN_A": "oracle", "RUN_B": "frozen", "RUN": "oracle"}.get(head)
    found = next(home.glob(f"runs/{model}/*/*/seed42"), head)
    return f"{found}{slash}{rest}"


def run(block: Block, home: Path) -> None:
    if "extract" in block.text:  # the dataset of the other commands is not made by extraction
        block = Block(
            language=block.language,
            text=re.sub(r"(extract.*)DATASET", r"\1made", block.text),
            mark=block.mark,
        )
    if block.language == "python":
        exec(compile(block.text, "<docs>", "exec"), {"__name__": "docs"})  # noqa: S102
        return
    for words in block.commands():
        if words[0] != "tpbench":
            continue
        done = CliRunner().invoke(app, [with_run(word, home) for word in words[1:]])
        assert done.exit_code == 0, (words, done.output, done.exception)


@each_page
def test_blocks_run(page: Path, home: Path) -> None:
    for block in blocks(page):
        if not block.mark:
            run(block, home)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "page", [p for p in PAGES if any(b.mark == "slow" for b in blocks(p))], ids=lambda p: p.name
)
def test_slow_blocks_run(page: Path, home: Path) -> None:
    if page.name == "README.md":  # begins with no runs
        shutil.rmtree(home / "runs")
    for block in blocks(page):
        if block.mark != "not run":
            run(block, home)
