"""Canonical JSON text, its digest, and floats that JSON can't represent (NaN, infinity)."""

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
    """Return the sha256 that identifies settings, protocols and specs on disk.

    Its text form predates `digest_of`: spaces after commas and colons, non-ASCII escaped.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def encoded(value: Any) -> Any:  # noqa: ANN401 - any JSON value, or one to be encoded
    """Return a value that JSON can hold: NaN is null, infinity "inf" or "-inf", a tuple a list."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Mapping):
        return {str(key): encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encoded(item) for item in value]
    return value


def number(value: float | str | None) -> float:
    """Return the float that `encoded` turned into a JSON value: null is NaN, "inf" is infinity."""
    return math.nan if value is None else float(value)


Number = Annotated[float, BeforeValidator(number), PlainSerializer(encoded)]
"""A float that pydantic parses with `number` and serialises with `encoded`."""
Count = Annotated[int, Field(strict=True, ge=0, lt=10**9)]
"""A number of clips, frames or versions: an integer from 0 to below 10^9, never a bool."""
Details = Annotated[Mapping[str, Any], PlainSerializer(encoded)]
"""An object with any JSON values in it."""


def first_problem(error: ValidationError) -> str:
    """Return the place and message of pydantic's first error, as the end of a sentence."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    # Pydantic would name our class.
    said = "want an object with fields" if first["type"] == "model_type" else first["msg"]
    return f"{place}: {said}" if place else said
