"""A split of a million rows looks at few of them, and gives what a split of all of them gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.rows import kept
from tpbench.dataset import Clip
from tpbench.dataset.info import SplitInfo, SplitVersion
from tpbench.dataset.manifest import manifest_table, rows_of
from tpbench.dataset.side_lists import write_version
from tpbench.dataset.split_rows import SplitRows
from tpbench.dataset.splitting import SplitRequest, named_clips, settle
from tpbench.dataset.strata import TRAITS, Population, balance


def made_rows(seed: int, *, n_sources: int = 40) -> list[Clip]:
    """Rows of sources with many clips: some rejected, some not measured, some of one uploader."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(n_sources):
        name = f"talk{number:03d}"
        uploader = f"channel {number // 3}" if number % 4 else None
        for at in range(int(rng.integers(1, 9))):
            shown = {"face_yaw_deg": float(rng.random()), "moving_share": float(rng.random())}
            hands = ("both_hands_share", "one_hand_share", "none")[int(rng.integers(3))]
            row = kept(
                f"{name}_{at}",
                source_id=name,
                identity=name,
                uploader=uploader,
                n_frames=int(rng.integers(50, 300)),
                measurements=shown | {hands: 0.5},
            )
            if rng.random() < 0.4:
                row = replace(row, status="rejected", reject_codes=("face.turned",))
            rows.append(row)
    return sorted(rows, key=lambda row: row.clip_id)


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_stand_for_others_give_the_split_of_all_rows(tmp_path: Path, seed: int) -> None:
    table = manifest_table(made_rows(seed))
    former, found = None, []
    for request in (SplitRequest(), SplitRequest(test_share=0.3, seed=seed)):
        tables = []
        both = [SplitRows.of(table, each=each) for each in (True, False)]
        for rows in both:
            settled = settle(tmp_path, rows.clips, former, request, (), rows.population)
            tables.append(rows.settled(settled.clips))
            shares = balance(settled.clips, rows.population)
            found.append((settled.split, settled.members, settled.placed, settled.notes, shares))
        assert len(both[1].clips) < len(both[0].clips) / 2
        assert tables[0].equals(tables[1])
        assert found[-1] == found[-2]
        table, former = tables[0], found[-1][0]
    assert {row.split for row in rows_of(table)} == {"train", "test", None}


def test_columns_tell_the_traits_that_rows_tell() -> None:
    rows = [*made_rows(5), kept("timed", n_frames=7, fps_num=30000, fps_den=1001)]
    failed = Clip(clip_id="x", status="failed", source_id="x", source_path="x", error="empty")
    rows = sorted([*rows, failed], key=lambda row: row.clip_id)
    of_columns = SplitRows.of(manifest_table(rows), each=False).population.values
    of_rows = Population.of(rows).values
    assert len(of_rows) == len(TRAITS)
    for ours, theirs in zip(of_columns, of_rows, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_clips_that_a_frozen_split_names_stand_for_themselves(tmp_path: Path) -> None:
    table = manifest_table(made_rows(7))
    frozen = next(row for row in made_rows(7) if row.status == "kept")
    write_version(tmp_path, "test-v1", {frozen.clip_id: "renamed since"})
    version = SplitVersion(clips=1, identities=1, digest="0" * 64)
    former = SplitInfo(test_share=0.2, seed=0, method="stratified", versions={"test-v1": version})
    found = []
    for each in (True, False):
        rows = SplitRows.of(table, each=each, alone=named_clips(tmp_path, former))
        settled = settle(tmp_path, rows.clips, former, None, (), rows.population)
        found.append((rows.settled(settled.clips), settled.split, settled.placed))
        assert settled.placed[frozen.identity or ""] == "test"
    assert found[0][0].equals(found[1][0])
    assert found[0][1:] == found[1][1:]
