from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tpbench.metrics.networks import WindowStream
from tpbench.metrics.scoring.features import FeatureWriter, n_windows, read_features

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

N, DIM = 6, 5


def vectors(n: int = N) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(n, DIM)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "features.npy"


def write(path: Path, *, pieces: int = 3) -> Path:
    with FeatureWriter(path, n=N, dim=DIM) as writer:
        for piece in np.array_split(vectors(), pieces):
            writer.append(piece)
        writer.commit()
    return path


def test_what_was_written_is_read(path: Path) -> None:
    found = read_features(write(path), n=N, dim=DIM)

    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, vectors())
    np.testing.assert_array_equal(np.load(path), vectors())
    assert list(path.parent.iterdir()) == [path]


def test_pieces_make_no_difference(path: Path) -> None:
    whole = write(path, pieces=1).read_bytes()

    assert write(path, pieces=6).read_bytes() == whole


def test_no_vectors_make_a_file_too(path: Path) -> None:
    with FeatureWriter(path, n=0, dim=DIM) as writer:
        writer.append(np.empty((0, DIM), np.float32))
        writer.commit()

    found = read_features(path, n=0, dim=DIM)
    assert found is not None
    assert found.shape == (0, DIM)


def test_a_file_of_another_size_is_none(path: Path) -> None:
    write(path)

    assert read_features(path, n=N + 1, dim=DIM) is None
    assert read_features(path, n=N, dim=DIM - 1) is None
    assert read_features(path.with_name("absent.npy"), n=N, dim=DIM) is None


def test_a_damaged_file_is_none_whichever_byte_it_is(path: Path) -> None:
    good = write(path).read_bytes()
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        assert read_features(path, n=N, dim=DIM) is None, at
    for length in range(0, len(good), 5):
        path.write_bytes(good[:length])
        assert read_features(path, n=N, dim=DIM) is None, length
    path.write_bytes(good + b"\0")
    assert read_features(path, n=N, dim=DIM) is None


def test_features_without_a_checksum_are_none(path: Path) -> None:
    path.parent.mkdir()
    np.save(path, vectors())

    assert read_features(path, n=N, dim=DIM) is None


@pytest.mark.parametrize("n", [N - 1, N + 1])
def test_another_number_than_announced_is_never_committed(n: int, path: Path) -> None:
    with FeatureWriter(path, n=N, dim=DIM) as writer:
        writer.append(vectors(n))
        with pytest.raises(ValueError, match=f"{n} vectors came, not {N}"):
            writer.commit()

    assert list(path.parent.iterdir()) == []


def test_vectors_of_another_length_are_refused(path: Path) -> None:
    complaint = r"want \(k, 6\) before the end, got \(6, 5\)"
    with (
        FeatureWriter(path, n=N, dim=DIM + 1) as writer,
        pytest.raises(ValueError, match=complaint),
    ):
        writer.append(vectors())


def test_what_is_not_committed_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    before = write(path).read_bytes()
    with FeatureWriter(path, n=N, dim=DIM) as writer:
        writer.append(vectors(2))
        assert len(list(path.parent.iterdir())) == 2

    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("stride", [1, 5, 16])
@pytest.mark.parametrize("n_frames", [0, 15, 16, 17, 31, 32, 33, 64])
def test_windows_are_counted_as_the_stream_makes_them(n_frames: int, stride: int) -> None:
    stream = WindowStream(stride=stride)
    made = [stream.push(np.zeros((2, 2, 3), np.uint8)) for _ in range(n_frames)]

    assert n_windows(n_frames, stride=stride) == sum(window is not None for window in made)
