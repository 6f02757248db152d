from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tpbench.dataset.statements import (
    STATEMENTS_NAME,
    TEMPLATE,
    Statements,
    read_statements,
    write_template,
)
from tpbench.errors import ConfigError

FIELDS = tuple(Statements.model_fields)


def _write(folder: Path, **fields: object) -> Path:
    path = folder / STATEMENTS_NAME
    path.write_text(yaml.safe_dump({**dict.fromkeys(FIELDS), **fields}, allow_unicode=True))
    return path


def test_template_has_every_field_in_order_and_states_nothing(tmp_path: Path) -> None:
    assert tuple(yaml.safe_load(TEMPLATE)) == FIELDS
    assert write_template(tmp_path)
    assert read_statements(tmp_path).open_fields == FIELDS


def test_template_never_overwrites_whatever_is_there(tmp_path: Path) -> None:
    path = tmp_path / STATEMENTS_NAME
    path.write_text("mine")
    assert not write_template(tmp_path)
    assert path.read_text() == "mine"
    path.unlink()
    path.symlink_to("nowhere")
    assert not write_template(tmp_path)


def test_no_file_states_nothing(tmp_path: Path) -> None:
    assert read_statements(tmp_path) == Statements.none()


def test_stated_fields_are_read_and_blank_ones_are_open(tmp_path: Path) -> None:
    _write(tmp_path, motivation=" Because.\n\nReally. ", consent="  ", languages=["en", "pt-BR"])
    stated = read_statements(tmp_path)
    assert stated.motivation == "Because.\n\nReally."
    assert stated.languages == ["en", "pt-BR"]
    assert stated.open_fields == tuple(f for f in FIELDS if f not in {"motivation", "languages"})


@settings(max_examples=30)  # each writes files
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=200))
def test_any_text_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("card")
    _write(folder, people=text)
    assert read_statements(folder).people == (text.strip() or None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            TEMPLATE.replace("consent:", "consnt:"),
            "unknown field 'consnt'; did you mean 'consent'?",
        ),
        (
            TEMPLATE.replace("consent: null\n", ""),
            "field 'consent' is missing; write `consent: null` to leave it open",
        ),
        (TEMPLATE.replace("contact: null", "contact: [a]"), "field 'contact': want text, or null"),
        (
            TEMPLATE.replace("creators: null", "creators: Ann"),
            "field 'creators': want a list such as [first, second], or null",
        ),
        (TEMPLATE + "consent: yes\n", "field 'consent' is given twice"),
        (
            TEMPLATE.replace("languages: null", "languages: [English]"),
            "field 'languages': 'English' is no language code such as 'en'",
        ),
        (
            TEMPLATE.replace("url: null", "url: javascript:alert(1)", 1),
            "field 'url': 'javascript:alert(1)' is no address such as https://example.org/page",
        ),
        (
            TEMPLATE.replace("people: null", f"people: {'x' * 9000}"),
            "want at most 8,000 characters",
        ),
        (TEMPLATE.replace("uses: null", "uses: &a x\nnot_for: *a", 1), "aliases (*name)"),
        ("- a\n- b\n", "want a mapping of fields, as in the template"),
        ("", "want a mapping of fields, as in the template"),
        ("a: [", "no YAML"),
        ("x: 2001-99-99", "no YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / STATEMENTS_NAME
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_statements(tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert said in line
    assert "\n" not in line
    assert len(line) < 1000


def test_misspelt_field_is_not_named_as_missing_too(tmp_path: Path) -> None:
    path = tmp_path / STATEMENTS_NAME
    path.write_text(TEMPLATE.replace("consent:", "consnt:"))
    with pytest.raises(ConfigError) as caught:
        read_statements(tmp_path)
    assert "missing" not in str(caught.value)


def test_file_that_leads_elsewhere_is_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(TEMPLATE)
    folder = tmp_path / "talks"
    folder.mkdir()
    (folder / STATEMENTS_NAME).symlink_to(outside)
    with pytest.raises(ConfigError, match="leads out of talks"):
        read_statements(folder)


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a: " + b"x" * (257 << 10)])
def test_file_that_is_no_text_or_too_large_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / STATEMENTS_NAME).write_bytes(raw)
    with pytest.raises(ConfigError, match=r"no UTF-8 text|larger than"):
        read_statements(tmp_path)
