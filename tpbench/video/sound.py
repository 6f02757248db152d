"""The samples of a sound track as one or two channels, whatever order its channels are stored in.

QuickTime and MXF may store channels in an order of their own. PyAV 18.1 frees the list that tells
it twice, with every frame it gives out, and the process dies. Such tracks are therefore decoded
inside libavfilter (its source `amovie`), which hands out nothing but finished mono or stereo.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tpbench.video.source import OPENING, local_url
from tpbench.video.streams import channels_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.filter import Graph
    from numpy.typing import NDArray

_TELL_AN_ORDER: Final = ("mov", "mp4", "mxf")
"""Containers that can store channels in an order of their own."""

_IN_THEIR_OWN_ORDER: Final = frozenset(
    {"aac", "aac_latm", "ac3", "alac", "amr_nb", "amr_wb", "dts", "eac3", "flac", "mp2", "mp3"}
    | {"opus", "truehd", "vorbis"}
)
"""Codecs whose decoders tell the order themselves, whatever the container says: a usual one."""

_NO_CLIPPING: Final = {"rematrix_maxval": "1.0"}
"""Of libswresample: a mix of more channels is turned down so far that it can't exceed 1."""


class SoundShape(NamedTuple):
    """How sound is given out."""

    rate_hz: int
    """Samples a second."""

    channels: int
    """1 or 2."""

    @property
    def layout(self) -> str:
        """The channels by their name in libav."""
        return "mono" if self.channels == 1 else "stereo"


class Samples(NamedTuple):
    """Decoded samples and their place on the clock of the file."""

    start_s: Fraction | None
    """Time of the first; None where the file doesn't say."""

    values: NDArray[np.float32]
    """(channels, n), nominally in [-1, 1]."""


class Resampler:
    """Brings decoded frames into one shape. Mixes of more channels are turned down, never cut."""

    def __init__(self, shape: SoundShape) -> None:
        import av

        self._shape = shape
        self._source: tuple[str, int] | None = None
        self._resampler = av.AudioResampler("fltp", shape.layout, shape.rate_hz)

    def resample(self, frame: AudioFrame) -> Iterator[Samples]:
        """Give what one more frame makes; a broadcast may go over to other channels in between."""
        import av

        source = (frame.layout.name, frame.sample_rate)
        if source != self._source:
            mixes = frame.layout.nb_channels > self._shape.channels
            self._source = source
            self._resampler = av.AudioResampler(
                "fltp",
                self._shape.layout,
                self._shape.rate_hz,
                options=_NO_CLIPPING if mixes else None,
            )
        for part in self._resampler.resample(frame):
            yield _samples(part)


def has_own_order(container: InputContainer, track: AudioStream) -> bool:
    """Return whether the channels of a track may be in an order of their own."""
    tells = any(name in container.format.name.split(",") for name in _TELL_AN_ORDER)
    codec = track.codec_context
    is_usual = codec.codec.canonical_name in _IN_THEIR_OWN_ORDER and codec.profile != "xHE-AAC"
    return tells and not is_usual


def decoded_inside(
    path: Path, container: InputContainer, track: AudioStream, shape: SoundShape, seek_s: Fraction
) -> Iterator[Samples]:
    """Give a track's sound from about `seek_s` on, decoded without its frames ever being in Python.

    Args:
        path: the file.
        container: the same, open.
        track: the track in it.
        shape: what to give.
        seek_s: time on the file's clock; 0 or less for all of it.

    Raises:
        av.FFmpegError: it can't be decoded (on).
    """
    import av

    options = {
        "filename": local_url(path),
        "format_opts": ":".join(f"{name}={value}" for name, value in OPENING.items()),
        "stream_index": str(track.index),
    }
    first_s = (container.start_time or 0) / av.time_base
    if seek_s > max(0, first_s):
        options["seek_point"] = f"{float(seek_s) - first_s:.6f}"
    channels = channels_of(track)
    try:
        mix = ("aresample", _NO_CLIPPING if channels > shape.channels else {})
        graph = _graph(options, mix, shape)
    except av.FFmpegError:
        # No rule says how these channels are mixed ("centre, left"): all alike.
        every = "+".join(f"c{number}" for number in range(channels))
        outputs = "|".join(f"c{number}<{every}" for number in range(shape.channels))
        graph = _graph(options, ("pan", {"args": f"{shape.layout}|{outputs}"}), shape)
    yield from _pulled(graph)


def _graph(source: dict[str, str], mix: tuple[str, dict[str, str]], shape: SoundShape) -> Graph:
    import av

    graph = av.filter.Graph()
    nodes = [
        graph.add("amovie", **source),
        graph.add(mix[0], **mix[1]),
        graph.add(
            "aformat",
            sample_fmts="fltp",
            channel_layouts=shape.layout,
            sample_rates=str(shape.rate_hz),
        ),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph


def _pulled(graph: Graph) -> Iterator[Samples]:
    while True:
        try:
            frame = graph.pull()
        except EOFError:
            return
        yield _samples(frame)  # type: ignore[arg-type]  # a sink of sound gives sound


def _samples(frame: AudioFrame) -> Samples:
    start_s = None
    if frame.pts is not None and frame.time_base is not None:
        start_s = frame.pts * Fraction(frame.time_base)
    return Samples(start_s, np.asarray(frame.to_ndarray(), np.float32))
