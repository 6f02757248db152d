"""`tpbench card` as a user meets it."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import invoke
from tpbench.cli.main import main
from tpbench.extraction.report import write_report


@pytest.fixture
def talks(data: Path, tmp_path: Path) -> Path:
    """A copy of the dataset, which may be changed."""
    return Path(shutil.copytree(data, tmp_path / "talks"))


def test_first_run_writes_the_template_and_later_ones_name_what_is_open(talks: Path) -> None:
    first = invoke("card", talks).stdout
    assert first.splitlines() == [
        f"written: {talks / 'README.md'}",
        f"written: {talks / 'croissant.json'}",
        f"yours to fill in, then run this again: {talks / 'card.yaml'}",
    ]
    path = talks / "card.yaml"
    path.write_text(path.read_text().replace("contact: null", "contact: me@example.org"))
    last = invoke("card", talks).stdout.splitlines()[-1]
    assert last.startswith(f"not stated in {path}: motivation, creators")
    assert "contact" not in last
    told = json.loads(invoke("card", talks, "--json").stdout)
    assert told["files"] == ["README.md", "croissant.json"]
    assert not told["template_written"]
    assert "contact" not in told["not_stated"]
    assert "consent" in told["not_stated"]


def test_misspelt_field_is_one_line_and_exit_code_2(
    talks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    invoke("card", talks)
    path = talks / "card.yaml"
    path.write_text(path.read_text().replace("consent:", "consnt:"))
    monkeypatch.setattr("sys.argv", ["tpbench", "card", str(talks)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"error: {path}: unknown field 'consnt'; did you mean 'consent'?\n"
    )


def test_split_renews_the_report_that_is_there(talks: Path) -> None:
    invoke("split", talks, "--test", "0.5")
    assert not (talks / "report.html").exists()
    write_report(talks)
    invoke("split", talks, "--test", "0.4")
    assert "<h2>Split</h2>" in (talks / "report.html").read_text()
