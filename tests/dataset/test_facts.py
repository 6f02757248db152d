from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.rows import FAILED, MEASUREMENTS, kept, rejected
from tpbench.dataset import Clip, write_manifest
from tpbench.dataset.facts import (
    Candidates,
    counts_of,
    filter_effects,
    groups_by,
    provenance,
    split_balance,
)
from tpbench.dataset.info import count
from tpbench.dataset.manifest import manifest_table, read_table


def _candidates(folder: Path, rows: list[Clip]) -> Candidates:
    write_manifest(folder, rows)
    return Candidates(table=read_table(folder))


_reasons = st.lists(
    st.lists(st.sampled_from(["face.too_small", "face.turned", "shot.transition"]), unique=True),
    max_size=30,
)


@settings(max_examples=30)  # each writes files
@given(reasons=_reasons)
def test_effects_are_those_counted_row_by_row(
    tmp_path_factory: pytest.TempPathFactory, reasons: list[list[str]]
) -> None:
    rows = [
        rejected(f"c{at}", reject_codes=tuple(codes)) if codes else kept(f"c{at}")
        for at, codes in enumerate(reasons)
    ]
    candidates = _candidates(tmp_path_factory.mktemp("facts"), rows)
    effects = {effect.code: effect for effect in filter_effects(candidates, MEASUREMENTS)}
    for code in ("face.too_small", "face.turned", "shot.transition"):
        having = [codes for codes in reasons if code in codes]
        found = effects.get(code)
        assert (found.removed if found else 0) == len(having)
        assert (found.only if found else 0) == sum(codes == [code] for codes in having)
        assert (found.removed_s if found else 0) == pytest.approx(4.8 * len(having))
    assert {code: int(rows.sum()) for code, rows in candidates.codes.items()} == count(
        rows
    ).reject_codes


def test_effect_holds_threshold_and_how_many_it_looked_at(tmp_path: Path) -> None:
    rows = [rejected("small"), kept("good"), FAILED]
    small, turned = filter_effects(_candidates(tmp_path, rows), MEASUREMENTS)
    assert (small.limits, small.judged) == ((80.0,), 2)
    # `rejected` was not looked at by the second filter.
    assert (turned.limits, turned.judged, turned.removed) == ((30.0,), 1, 0)


def test_thresholds_that_differ_between_rows_are_all_stated(tmp_path: Path) -> None:
    rows = [kept(f"c{limit:.0f}", thresholds={"face_height_px": limit}) for limit in (48.0, 80.0)]
    small = filter_effects(_candidates(tmp_path, rows), MEASUREMENTS)[0]
    assert small.limits == (48.0, 80.0)


def test_licences_are_counted_over_kept_clips_and_unknown_is_a_group(tmp_path: Path) -> None:
    rows = [
        kept("a1", source_id="a", identity="ann", licence="cc-by-4.0"),
        kept("a2", source_id="a", identity="ann", licence="cc-by-4.0"),
        kept("b1", source_id="b", identity="bob"),
        rejected("c1", source_id="c", licence="all rights"),
    ]
    first, second = groups_by(_candidates(tmp_path, rows), "licence")
    assert (first.name, first.clips, first.sources, first.identities) == ("cc-by-4.0", 2, 1, 1)
    assert (second.name, second.clips) == (None, 1)
    assert second.seconds == pytest.approx(4.8)


def test_provenance_is_of_sources_not_clips(tmp_path: Path) -> None:
    rows = [
        kept("a1", source_id="a", uploader="ann", retrieved_at="2026-03-01T10:00:00+00:00"),
        kept("a2", source_id="a", uploader="ann", retrieved_at="2026-03-01T10:00:00+00:00"),
        kept("b1", source_id="b", uploader="ann", retrieved_at="2025-12-31T10:00:00+00:00"),
        kept("c1", source_id="c", url="https://example.org/c"),
    ]
    known = provenance(_candidates(tmp_path, rows))
    assert (known.sources, known.with_uploader, known.uploaders, known.with_url) == (3, 2, 1, 1)
    assert (known.first_retrieved, known.last_retrieved) == ("2025-12-31", "2026-03-01")


def test_balance_compares_kept_clips_of_both_sides(tmp_path: Path) -> None:
    heights = {"train": (100.0, 200.0, 300.0), "test": (150.0,)}
    rows = [
        replace(kept(f"{side}{at}"), split=side, measurements={"face_height_px": height})  # type: ignore[arg-type]
        for side, values in heights.items()
        for at, height in enumerate(values)
    ]
    found = split_balance(_candidates(tmp_path, rows), MEASUREMENTS)
    assert [item.measurement.name for item in found] == ["face_height_px"]
    train, test = found[0].sides
    assert (train.side, train.quartiles, train.n_clips) == ("train", (150.0, 200.0, 250.0), 3)
    assert (test.side, test.quartiles) == ("test", (150.0, 150.0, 150.0))


def test_an_empty_manifest_has_no_facts(tmp_path: Path) -> None:
    candidates = _candidates(tmp_path, [])
    assert [effect.judged for effect in filter_effects(candidates, MEASUREMENTS)] == [0, 0]
    assert groups_by(candidates, "licence") == []
    assert split_balance(candidates, MEASUREMENTS) == []
    assert provenance(candidates).sources == 0


def test_columns_count_what_rows_count() -> None:
    rows = [
        kept("a", n_frames=7, fps_num=30000, fps_den=1001),
        kept("b", identity="other"),
        rejected("c", reject_codes=("x.y", "face.turned", "x.y")),
        rejected("d", source_id="another", reject_codes=("face.turned",)),
        FAILED,
    ]
    assert counts_of(manifest_table(rows)) == count(rows)
    assert counts_of(manifest_table([])) == count([])
