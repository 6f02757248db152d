"""`card.yaml`: what only a person can know of a dataset, such as its purpose and people's consent.

The file lies in the dataset folder. A template with comments is written once; from then on it
belongs to its publisher, and is only read. A field that is left open is said to be not stated in
the card: nothing is guessed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tpbench.errors import ConfigError, did_you_mean
from tpbench.files import atomic_write_text
from tpbench.foreign import ForeignFileError, opened_inside, parse_yaml

STATEMENTS_NAME: Final = "card.yaml"
_MAX_BYTES: Final = 256 << 10
_MAX_CHARS: Final = 8_000
"""Of one field: some pages of text."""
_MAX_ITEMS: Final = 200

TEMPLATE: Final = """\
# What only you can know about this dataset. `tpbench card DATASET` puts it into README.md and
# croissant.json, and never changes this file. Fields left at null are said to be "not stated".
# Long texts: `motivation: |` and indented lines below it; an empty line begins a paragraph.

# Why was the dataset made, and what was missing without it?
motivation: null
# Who made it. People: [Ann Example, Ben Example]
creators: null
# The organisation that publishes it.
publisher: null
# Who paid for it.
funding: null
# Where people in the videos and makers of videos can write to: an address that is read.
contact: null
# The page of the dataset: https://...
url: null

# How the source videos were found and chosen, and by whom.
collection: null
# Languages spoken in the videos, as codes: [en, de]
languages: null
# Who is in the videos, as far as it is known: not how they look, but who was looked for.
people: null
# Did the people shown agree to be in a dataset? How were they told, how can they withdraw?
consent: null
# Was it reviewed, by an ethics board for example, and with what result?
review: null

# Licence of the dataset as a whole: an SPDX or Hugging Face name such as cc-by-4.0, or a sentence.
# It can't grant more than the licences of the source videos do.
licence: null
# Its full text: https://...
licence_url: null

# What the dataset is meant for.
uses: null
# What it must not be used for, besides recognising people.
not_for: null
# What you know of who and what is missing or too frequent in it.
biases: null
# How a request for removal is answered, and how fast; `tpbench remove` takes clips out.
take_down: null
# Who looks after the dataset, for how long, and how new versions are announced.
maintenance: null
"""

_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_ADDRESS: Final = re.compile(r"https?://[^\s<>\"'()\\]+")
_WORDS: Final = {
    "string_type": "want text, or null",
    "string_too_long": f"want at most {_MAX_CHARS:,} characters",
    "list_type": "want a list such as [first, second], or null",
    "too_long": f"want at most {_MAX_ITEMS} items",
    "model_type": "want a mapping of fields, as in the template",
}
"""Pydantic's kinds of errors, in words of ours."""


class Statements(BaseModel):
    """The content of `card.yaml`; None where nothing is stated."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    motivation: str | None = Field(max_length=_MAX_CHARS)
    creators: list[str] | None = Field(max_length=_MAX_ITEMS)
    """People."""
    publisher: str | None = Field(max_length=_MAX_CHARS)
    """An organisation."""
    funding: str | None = Field(max_length=_MAX_CHARS)
    contact: str | None = Field(max_length=_MAX_CHARS)
    url: str | None = Field(max_length=_MAX_CHARS)
    collection: str | None = Field(max_length=_MAX_CHARS)
    languages: list[str] | None = Field(max_length=_MAX_ITEMS)
    """BCP 47 codes."""
    people: str | None = Field(max_length=_MAX_CHARS)
    consent: str | None = Field(max_length=_MAX_CHARS)
    review: str | None = Field(max_length=_MAX_CHARS)
    licence: str | None = Field(max_length=_MAX_CHARS)
    licence_url: str | None = Field(max_length=_MAX_CHARS)
    uses: str | None = Field(max_length=_MAX_CHARS)
    not_for: str | None = Field(max_length=_MAX_CHARS)
    biases: str | None = Field(max_length=_MAX_CHARS)
    take_down: str | None = Field(max_length=_MAX_CHARS)
    maintenance: str | None = Field(max_length=_MAX_CHARS)

    @field_validator("*", mode="before")
    @classmethod
    def _blank_is_open(cls, value: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
        if isinstance(value, str):
            return value.strip() or None
        if isinstance(value, list):
            return [item.strip() if isinstance(item, str) else item for item in value] or None
        return value

    @field_validator("languages")
    @classmethod
    def _codes(cls, value: list[str] | None) -> list[str] | None:
        for code in value or ():
            if not _LANGUAGE.fullmatch(code):
                raise ValueError(f"{code[:40]!r} is no language code such as 'en'")
        return value

    @field_validator("url", "licence_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not _ADDRESS.fullmatch(value):
            raise ValueError(f"{value[:80]!r} is no address such as https://example.org/page")
        return value

    @classmethod
    def none(cls) -> Statements:
        """Return statements in which every field is open."""
        return cls(**dict.fromkeys(cls.model_fields))

    @property
    def open_fields(self) -> tuple[str, ...]:
        """Names of the fields that state nothing, in the order of the template."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is None)


def write_template(folder: Path) -> bool:
    """Write `card.yaml` if nothing of that name is there, and return whether it was written."""
    path = folder / STATEMENTS_NAME
    if os.path.lexists(path):
        return False
    atomic_write_text(path, TEMPLATE)
    return True


def read_statements(folder: Path) -> Statements:
    """Read `card.yaml`; without such a file, every field is open.

    Raises:
        ConfigError: it can't be read, is no YAML, or a field is misspelt, missing, given twice or
            of the wrong kind. One line names all such fields.
    """
    path = folder / STATEMENTS_NAME
    try:
        with opened_inside(folder, path) as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise ConfigError(f"{path}: larger than {_MAX_BYTES:,} bytes")
        values = _parsed(raw.decode("utf-8"))
    except FileNotFoundError:
        return Statements.none()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: no UTF-8 text") from error
    except ForeignFileError as error:
        raise ConfigError(f"{path}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML lets the ValueError of an impossible date through.
        raise ConfigError(f"{path}: no YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: {_WORDS['model_type']}")
    try:
        return Statements.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(_problems(error.errors()))}") from error


def _parsed(text: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Return the content of a YAML text without aliases, whose keys occur once.

    Aliases may stand for a text of any size, and of two equal keys YAML keeps the last.
    """
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ForeignFileError("aliases (*name) are not allowed here")
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in _repeated(node):
        raise ForeignFileError(f"field '{name}' is given twice")
    return parse_yaml(text)


def _repeated(node: Any) -> Iterator[str]:  # noqa: ANN401 - yaml's nodes have no common type
    seen: set[str] = set()
    for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
        name = str(key.value)
        if name in seen:
            yield name
        seen.add(name)


def _problems(errors: list[Any]) -> Iterator[str]:
    """Yield a text per wrong field; one that is misspelt is not named as missing, too."""
    unknown = [str(item["loc"][0]) for item in errors if item["type"] == "extra_forbidden"]
    hints = {name: did_you_mean(name, Statements.model_fields) for name in unknown}
    for item in errors:
        name = ".".join(str(part) for part in item["loc"])
        if name in hints:
            yield f"unknown field '{name}'{hints[name]}"
        elif item["type"] != "missing":
            said = _WORDS.get(item["type"]) or str(item["msg"]).removeprefix("Value error, ")
            yield f"field '{name}': {said}"
        elif not any(f"mean '{name}'" in hint for hint in hints.values()):
            yield f"field '{name}' is missing; write `{name}: null` to leave it open"
