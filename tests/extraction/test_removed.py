"""Real clips: what was removed is nowhere, and stretches stay away when settings change."""

from __future__ import annotations

import base64
import getpass
import json
import socket
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.talks import darkness, mirrored, short_settings, talk_frames, write_talk
from tpbench.dataset import Dataset, split_dataset
from tpbench.dataset.checking import check_dataset
from tpbench.dataset.fingerprints import FINGERPRINTS_NAME
from tpbench.dataset.removal import REMOVALS_NAME
from tpbench.extraction import run
from tpbench.extraction.config import ExtractionConfig
from tpbench.extraction.forgetting import remove
from tpbench.extraction.naming import Wanted
from tpbench.extraction.removed import shots_that_stay
from tpbench.extraction.run import extract
from tpbench.extraction.shots import Shot, Span
from tpbench.extraction.thumbnails import read_thumbnails
from tpbench.extraction.worker import build
from tpbench.files import sha256_of
from tpbench.work import InThisProcess

SECRETS = ("Ann Uploader", "watch?v=annstalk", "CC-BY-ANN", "ann-s talk.mp4")


def extracted(out: Path, talks: Path, settings: ExtractionConfig, *, redo: bool = False) -> Dataset:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_pool", lambda _: InThisProcess(build=build))
        return extract(talks, out, preset=settings, skeleton="mediapipe", workers=1, redo=redo)


def files(folder: Path, *, hidden: bool = True) -> Iterator[tuple[Path, bytes]]:
    """Yield all files and what is in them, Parquet decoded as well."""
    for path in sorted(folder.rglob("*")):
        private = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and (hidden or not private):
            table = pq.read_table(path).to_pydict() if path.suffix == ".parquet" else ""
            yield path, path.read_bytes() + repr(table).encode()


def test_nothing_of_a_person_is_left_in_any_byte_of_the_folder(tmp_path: Path) -> None:
    talks, out = tmp_path / "talks", tmp_path / "dataset"
    video = write_talk(talks / "ann-s talk.mp4", [*talk_frames(), *darkness()])
    about = {"uploader": "Ann Uploader", "license": "CC-BY-ANN"}
    about["webpage_url"] = "https://example.org/watch?v=annstalk"
    (talks / "ann-s talk.info.json").write_text(json.dumps(about))
    write_talk(talks / "other.mp4", mirrored())
    settings = short_settings()
    dataset = extracted(out, talks, settings)
    split_dataset(out, test_share=0.5, seed=0)
    check_dataset(out)
    assert (out / FINGERPRINTS_NAME).is_file()
    rows = [row for row in dataset.clips(None) if row.uploader == "Ann Uploader"]
    assert {row.status for row in rows} == {"kept", "rejected"}
    name = rows[0].source_id
    pictures = [seen.jpeg for seen in read_thumbnails(out, name).values()]
    needles = [word.encode() for word in SECRETS]
    needles += [base64.b64encode(jpeg) for jpeg in pictures]
    needles += [sha256_of(video).encode(), *(row.clip_id.encode() for row in rows)]
    of_files = [(r.clip_sha256, r.keypoints_sha256, r.pose_sha256) for r in rows if r.clip_sha256]
    needles += [str(value).encode() for hashes in of_files for value in hashes]
    assert pictures
    for needle in needles:
        assert any(needle in data for _, data in files(out)), needle
    seen = {sha256_of(path) for path, _ in files(out)}
    assert seen > {value for hashes in of_files for value in hashes}

    remove(out, [Wanted(kind="source", id=name)])

    def is_clean() -> bool:
        places = [path.as_posix() for path, data in files(out) if name.encode() in data]
        return places == [(out / REMOVALS_NAME).as_posix()] and not [
            (path, needle) for path, data in files(out) for needle in needles if needle in data
        ]

    assert is_clean()
    assert seen - {sha256_of(path) for path, _ in files(out)} >= {
        value for hashes in of_files for value in hashes
    }
    assert not [path for path, _ in files(out) if name in path.name]
    video.rename(video.with_name("renamed.mp4"))
    extracted(out, talks, settings)
    assert is_clean()
    assert check_dataset(out).problems == ()
    assert b"renamed" not in b"".join(data for _, data in files(out))
    assert len(Dataset.open(out).clips()) == 1


def test_nothing_published_names_a_folder_user_or_host_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "annsaccount")
    monkeypatch.setattr(socket, "gethostname", lambda: "annslaptop.lan")
    talks, out = tmp_path / "annsaccount" / "talks", tmp_path / "dataset"
    write_talk(talks / "a.mp4")
    (talks / "broken.mp4").write_text("no video")
    (talks / "gone.mp4").symlink_to(tmp_path / "annsaccount" / "gone on annslaptop.mp4")
    extracted(out, talks, short_settings())
    broken = next(row for row in Dataset.open(out).clips(None) if "broken" in row.source_id)
    reason = f"asked annsaccount on annslaptop, see {tmp_path}/mail.eml"
    remove(out, [Wanted(kind="source", id=broken.source_id)], reason=reason)
    names = [
        b"annsaccount",
        b"annslaptop",
        str(tmp_path).encode(),
        str(Path.home()).encode() + b"/",
    ]
    published = list(files(out, hidden=False))
    assert {path.suffix for path, _ in published} >= {".mp4", ".npz", ".json", ".html", ".parquet"}
    found = [(path.name, name) for path, data in published for name in names if name in data]
    assert found == []


def test_a_removed_stretch_stays_away_when_other_settings_would_cover_it(tmp_path: Path) -> None:
    frames = talk_frames()
    write_talk(tmp_path / "talks" / "a.mp4", [*frames, *frames[::-1], *frames])
    settings = short_settings()
    clip = settings.clip.model_copy(update={"max_s": 2.0})
    out = tmp_path / "dataset"
    first = extracted(out, tmp_path / "talks", settings.model_copy(update={"clip": clip}))
    early, *_ = kept = first.clips()
    assert len(kept) >= 2
    assert early.start_s == 0.0
    remove(out, [Wanted(kind="clip", id=early.clip_id)])

    done = extracted(out, tmp_path / "talks", settings, redo=True)

    assert early.end_s is not None
    assert len(done.clips()) >= 1
    assert all((row.start_s or 0.0) >= early.end_s for row in done.clips(None))
    assert done.verify() == []
    stems = {path.stem for path, _ in files(out) if path.suffix in {".mp4", ".npz"}}
    assert stems == {row.clip_id for row in done.clips()}
    for row in read_thumbnails(out, early.source_id).values():
        assert row.frame >= round(early.end_s * 25)


frame_pairs = st.tuples(st.integers(0, 100), st.integers(1, 60)).map(lambda p: (p[0], p[0] + p[1]))


@given(removed=st.lists(frame_pairs, max_size=4), cut=st.integers(1, 119))
def test_shots_lose_exactly_what_was_removed(removed: list[tuple[int, int]], cut: int) -> None:
    fps = Fraction(30000, 1001)
    shots = [
        Shot(span=Span(shot_id=number, start_frame=start, end_frame=end), is_transition=False)
        for number, (start, end) in enumerate([(0, cut), (cut, 120)])
    ]
    removed_s = sorted((float(start / fps), float(end / fps)) for start, end in removed)
    left = list(shots_that_stay(shots, removed_s, fps=fps, min_s=0))
    for shot in left:
        assert shots[shot.span.shot_id].span.start_frame <= shot.span.start_frame
        assert shot.span.end_frame <= shots[shot.span.shot_id].span.end_frame
    gone = {frame for start, end in removed for frame in range(start, end)}
    stay = {frame for shot in left for frame in range(shot.span.start_frame, shot.span.end_frame)}
    assert not stay & gone
    near = {frame + step for frame in gone for step in (-1, 0, 1)}
    assert set(range(120)) - near <= stay


def test_short_parts_beside_what_was_removed_are_left_out_and_short_shots_stay() -> None:
    shots = [
        Shot(span=Span(shot_id=0, start_frame=0, end_frame=10), is_transition=False),
        Shot(span=Span(shot_id=1, start_frame=10, end_frame=100), is_transition=False),
    ]
    left = list(shots_that_stay(shots, [(1.0, 2.0)], fps=Fraction(25), min_s=1.0))
    assert [(shot.span.start_frame, shot.span.end_frame) for shot in left] == [(0, 10), (50, 100)]
