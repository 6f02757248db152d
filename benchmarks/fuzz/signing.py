"""Digests made right again, as somebody would who spoils a file on purpose.

Else nearly all damage ends at a digest, and what lies behind it is never tried.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tpbench.canonical import digest_of, settings_digest
from tpbench.files import sha256_of

_SIGNED: Final = ("scores.json", "run.json")


def sign_again(path: Path) -> None:
    """Make the digests right that cover this file, its own one included, as far as that goes."""
    with suppress(ValueError, TypeError, AttributeError, OSError, RecursionError):
        if path.name in _SIGNED:
            _sign(path)
        elif path.name == "frames.parquet":
            scores = path.with_name("scores.json")
            content = json.loads(scores.read_bytes())
            content["frames_sha256"] = sha256_of(path)
            scores.write_text(json.dumps(content))
            _sign(scores)
        elif path.name == "pack.json":
            _sign_record(path, indent=2)
        elif path.parent.name == "pack":
            pack = path.with_name("pack.json")
            content = json.loads(pack.read_bytes())
            content["files"][path.name] = sha256_of(path)
            pack.write_text(json.dumps(content))
            _sign_record(pack, indent=2)
        elif path.parent.name in ("generated", "preview"):
            record = path.parents[1] / "records" / f"{path.stem}.json"
            content = json.loads(record.read_bytes())
            content[f"{path.parent.name}_sha256"] = sha256_of(path)
            record.write_text(json.dumps(content))
            _sign_record(record, indent=2)
        elif path.parent.name == "records":
            _sign_record(path, indent=2)
        elif path.name == ".driver.json":
            _sign_record(path, indent=None)
        elif ".records" in path.parts:
            _sign_record(path, indent=2 if path.name == "settings.json" else None)


def _sign(path: Path) -> None:
    content = json.loads(path.read_bytes())
    content.pop("digest", None)
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))


def _sign_record(path: Path, *, indent: int | None) -> None:
    content: dict[str, Any] = json.loads(path.read_bytes())
    content.pop("digest", None)
    content["digest"] = settings_digest(content)
    path.write_text(json.dumps(content, indent=indent) + "\n")
