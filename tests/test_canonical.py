"""One canonical form of JSON, one digest, one rule for NaN and infinity."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from tpbench.canonical import Count, Number, canonical_json, digest_of, encoded, first_problem

NUMBERS: TypeAdapter[dict[str, Number | None]] = TypeAdapter(dict[str, Number | None])


def test_the_digest_is_of_canonical_json() -> None:
    # printf '{"a":1,"b":["\xc3\xab",0.5]}' | sha256sum
    expected = "a421f7caee8383721a677375529d544c5075bf8bef33cdc4dcae6c0887567e52"
    assert digest_of({"b": ["ë", 0.5], "a": 1}) == expected


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_has_no_number_for_is_no_canonical_json(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json([value])


@pytest.mark.parametrize(
    "value", [0.1 + 0.2, -0.0, 1e-300, math.inf, -math.inf, math.nan, np.float64("nan"), 7]
)
def test_every_number_is_written_and_read_back_as_it_was(value: float) -> None:
    plain = NUMBERS.dump_python({"a": value}, mode="json")
    assert plain == {"a": encoded(value)}
    found = NUMBERS.validate_python(json.loads(json.dumps(plain, allow_nan=False)))["a"]
    # Where there may be no number, null is that.
    assert found is None if math.isnan(value) else repr(found) == repr(float(value))


def test_null_is_nan_where_there_has_to_be_a_number() -> None:
    assert math.isnan(TypeAdapter(Number).validate_python(None))


@pytest.mark.parametrize("value", [True, 1.5, "6", -1, 2**63])
def test_what_counts_nothing_is_refused_and_the_place_named(value: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(dict[str, Count]).validate_python({"clips": value})
    assert first_problem(refusal.value).startswith("clips: Input should be ")


def test_a_list_in_place_of_an_object_is_told_without_the_name_of_a_class() -> None:
    class Content(BaseModel):
        clips: int

    class File(BaseModel):
        content: Content

    with pytest.raises(ValidationError) as whole:
        File.model_validate([1, 2])
    assert first_problem(whole.value) == "want an object with fields"
    with pytest.raises(ValidationError) as part:
        File.model_validate({"content": []})
    assert first_problem(part.value) == "content: want an object with fields"
