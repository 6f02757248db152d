"""JSON in one form: canonical text, its digest, and numbers that JSON has no sign for."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationError


def canonical_json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a JSON value as text: keys sorted, no spaces, UTF-8; NaN and infinity are refused."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_of(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the sha256 of a JSON value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def settings_digest(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return the sha256 by which settings, protocols and specs are known on disk.

    Older than `digest_of`: with spaces after commas and colons, and all but ASCII escaped.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def encoded(value: Any) -> Any:  # noqa: ANN401 - any JSON value, and what is not one yet
    """Return a value for JSON: NaN is null, infinity "inf" or "-inf", a tuple a list."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Mapping):
        return {str(key): encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(item) for item in value]
    return value


def number(value: float | str | None) -> float:
    """Return the number that a JSON value of ours stands for: null is NaN, "inf" is infinity."""
    return math.nan if value is None else float(value)


Number = Annotated[float, BeforeValidator(number), PlainSerializer(encoded)]
"""A float that pydantic reads by `number` and writes by `encoded`."""
Count = Annotated[int, Field(strict=True, ge=0, lt=10**9)]
"""Of clips, frames, versions: no truth value, no fraction, not beyond all measure."""
Details = Annotated[Mapping[str, Any], PlainSerializer(encoded)]
"""An object with any JSON values in it."""


def first_problem(error: ValidationError) -> str:
    """Return where pydantic found the first fault, and which, as the end of a sentence."""
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
