"""The sound of a clip: choosing the track, mixing channels down, cutting it to the clip."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, NamedTuple, Self

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.packet import Packet
from numpy.typing import NDArray

from tpbench.video.probe import probe
from tpbench.video.source import (
    OPENING,
    VideoInfo,
    channels_of,
    local_url,
    main_sound,
    open_video,
    packets_of,
)
from tpbench.video.timeline import BACK_S

_KEEP_CHANNEL_ORDER: Final = ("mov", "mp4", "mxf")
"""Containers that can store channels in a custom order."""
_STANDARD_ORDER: Final = frozenset(
    {"aac", "aac_latm", "ac3", "alac", "amr_nb", "amr_wb", "dts", "eac3", "flac", "mp2", "mp3"}
    | {"opus", "truehd", "vorbis"}
)
"""Codecs whose decoders report a standard order themselves, whatever the container declares."""
_NO_CLIPPING: Final = {"rematrix_maxval": "1.0"}
"""Option of libswresample: a downmix is attenuated so that it can't exceed 1."""


class SoundShape(NamedTuple):
    """Format of the sound that is written."""

    rate_hz: int
    """Samples a second."""
    channels: int
    """1 or 2."""

    @property
    def layout(self) -> str:
        """The channel layout by its name in libav."""
        return "mono" if self.channels == 1 else "stereo"


class Samples(NamedTuple):
    """Decoded samples and their place on the clock of the file."""

    start_s: Fraction | None
    """Time of the first sample; None where the file has no stamp."""
    values: NDArray[np.float32]
    """(channels, n), nominally in [-1, 1]."""


def _has_own_order(container: InputContainer, track: AudioStream) -> bool:
    """Return whether the channels of a track may be in a custom order."""
    keeps_order = any(name in container.format.name.split(",") for name in _KEEP_CHANNEL_ORDER)
    codec = track.codec_context
    is_standard = codec.codec.canonical_name in _STANDARD_ORDER and codec.profile != "xHE-AAC"
    return keeps_order and not is_standard


def _decoded_inside(
    path: Path, container: InputContainer, track: AudioStream, shape: SoundShape, seek_s: Fraction
) -> Iterator[Samples]:
    """Yield a track's sound from about `seek_s` on, decoded without its frames reaching Python.

    `seek_s` is a time on the file's clock; 0 or less for all of it.
    """
    options = {
        "filename": local_url(path),
        "format_opts": ":".join(f"{name}={value}" for name, value in OPENING.items()),
        "stream_index": str(track.index),
    }
    first_s = (container.start_time or 0) / av.time_base
    if seek_s > max(0, first_s):
        options["seek_point"] = f"{float(seek_s) - first_s:.6f}"
    channels = channels_of(track)
    # For layouts without a mixing rule ("centre, left"): equal weights.
    every = "+".join(f"c{number}" for number in range(channels))
    outputs = "|".join(f"c{number}<{every}" for number in range(shape.channels))
    try:
        try:
            mix = ("aresample", _NO_CLIPPING if channels > shape.channels else {})
            graph = _graph(options, mix, shape)
        except av.FFmpegError:
            graph = _graph(options, ("pan", {"args": f"{shape.layout}|{outputs}"}), shape)
        while True:
            try:
                frame = graph.pull()
            except EOFError:
                return
            yield _samples(frame)  # type: ignore[arg-type]  # an audio sink yields audio
    except (av.FFmpegError, ValueError) as error:
        logger.warning("%s: %s (%s)", path, _SILENCE, error)


def _graph(source: dict[str, str], mix: tuple[str, dict[str, str]], shape: SoundShape) -> Graph:
    graph = av.filter.Graph()
    wanted = {"channel_layouts": shape.layout, "sample_rates": str(shape.rate_hz)}
    graph.link_nodes(
        graph.add("amovie", **source),
        graph.add(mix[0], **mix[1]),
        graph.add("aformat", sample_fmts="fltp", **wanted),
        graph.add("abuffersink"),
    ).configure()
    return graph


def _samples(frame: AudioFrame) -> Samples:
    start_s = None
    if frame.pts is not None and frame.time_base is not None:
        start_s = frame.pts * Fraction(frame.time_base)
    return Samples(start_s, np.asarray(frame.to_ndarray(), np.float32))


logger = logging.getLogger(__name__)

_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OTHER_RATE_HZ = 48000
"""Sound of a rate that is not in the list is resampled to this."""
_BITS_PER_CHANNEL = 96_000

_LEAD_S = 1
"""Decoding starts this much earlier: codecs need to warm up, and seeking is imprecise."""
_SILENCE = "some of its sound can't be decoded and is replaced by silence"

_JITTER_S = 0.02
"""A block this close to the end of the previous one is joined to it: stamps may be coarse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSource:
    """The sound of a span of a video."""

    path: Path
    """The video."""
    start_s: float
    """Start of the span, on the video's timeline: frame k is at k / fps."""
    end_s: float
    """End of the span; a longer clip is silent from there on."""
    info: VideoInfo | None = None
    """Result of `probe` for the video; probed again if not given."""


class _Block(NamedTuple):
    """Decoded samples and their place."""

    offset: int
    """Samples from the start of the span to the first of these; may be negative."""
    samples: NDArray[np.float32]
    """(channels, n) in [-1, 1]."""

    @property
    def end(self) -> int:
        """Offset after the last sample."""
        return self.offset + len(self.samples[0])


class AudioTrack:
    """Writes the sound of a source in step with a clip's frames, and silence where it has none.

    Create it by `open`; call `advance` as frames are written, `finish` after the last, and `close`.
    """

    def __init__(
        self,
        output: OutputContainer,
        shape: SoundShape,
        blocks: Generator[_Block],
        first: _Block,
        sound_end: int,
    ) -> None:
        self._output = output
        self._shape = shape
        self._blocks = blocks
        self._block: _Block | None = first
        self._sound_end = sound_end
        self._written = 0
        self._stream = output.add_stream("aac", rate=shape.rate_hz)
        self._stream.codec_context.layout = shape.layout
        self._stream.codec_context.bit_rate = _BITS_PER_CHANNEL * shape.channels

    @classmethod
    def open(cls, output: OutputContainer, source: AudioSource) -> Self | None:
        """Add a stream to `output`; None if nothing in the span of the source can be decoded."""
        info = source.info or probe(source.path)
        shape = _sound_shape(source.path) if info.has_audio else None
        if shape is None:
            return None
        part = info.part_at(round(source.start_s * info.fps))
        zero_s = part.zero_s - part.first_frame / info.fps + Fraction(source.start_s)
        sound_end = round((source.end_s - source.start_s) * shape.rate_hz)
        if info.part_at(info.frame_count).clock:
            blocks = _blocks_of_clock(source.path, shape, zero_s, part.clock, info)
        else:
            blocks = _sound_blocks(source.path, shape, zero_s)
        first = next((block for block in blocks if block.end > 0), None)
        if first is None or first.offset >= sound_end:
            blocks.close()
            return None
        return cls(output, shape, blocks, first, sound_end)

    def advance(self, until_s: Fraction) -> None:
        """Encode the sound up to this time of the clip."""
        until = round(until_s * self._shape.rate_hz)
        while self._written < until:
            self._encode(self._take(until - self._written))

    def finish(self) -> None:
        """Flush the encoder."""
        self._output.mux(self._stream.encode(None))

    def close(self) -> None:
        """Close the source."""
        self._blocks.close()

    def _take(self, most: int) -> NDArray[np.float32]:
        """Return the next samples, 1 to `most`: of the current block, or silence before it."""
        while self._block is not None and self._block.end <= self._written:
            self._block = next(self._blocks, None)
        if self._block is None or self._written >= self._sound_end:
            return np.zeros((self._shape.channels, most), np.float32)
        most = min(most, self._sound_end - self._written)
        wait = self._block.offset - self._written
        if wait > 0:
            return np.zeros((self._shape.channels, min(wait, most)), np.float32)
        return self._block.samples[:, -wait : most - wait]

    def _encode(self, samples: NDArray[np.float32]) -> None:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples), format="fltp", layout=self._shape.layout
        )
        frame.sample_rate = self._shape.rate_hz
        frame.time_base = Fraction(1, self._shape.rate_hz)
        frame.pts = self._written
        self._output.mux(self._stream.encode(frame))
        self._written += samples.shape[1]


def _sound_shape(path: Path) -> SoundShape | None:
    """Keep the source's rate if AAC has it, and at most two channels; None without a decoder."""
    with open_video(path) as (container, video):
        track = main_sound(container, video)
        channels = 0 if track is None else channels_of(track)
        if track is None or not channels or not track.codec_context.sample_rate:
            logger.warning("%s: its sound can't be decoded here and is left out", path)
            return None
        rate_hz = track.codec_context.sample_rate
        return SoundShape(rate_hz if rate_hz in _AAC_RATES_HZ else _OTHER_RATE_HZ, min(channels, 2))


def _sound_blocks(path: Path, shape: SoundShape, zero_s: Fraction) -> Generator[_Block]:
    """Decode from shortly before `zero_s`, or from the start where a seek lands too late.

    `zero_s` is the time of offset 0, on the clock of the file's stamps.
    """
    if zero_s > _LEAD_S:
        blocks = _blocks_from(path, shape, zero_s, seek_s=zero_s - _LEAD_S)
        first = next(blocks, None)
        if first is not None and first.offset <= 0:
            yield first
            yield from blocks
            return
        blocks.close()
    yield from _blocks_from(path, shape, zero_s, seek_s=None)


def _blocks_of_clock(
    path: Path, shape: SoundShape, zero_s: Fraction, clock: int, info: VideoInfo
) -> Generator[_Block]:
    """Decode the sound of one clock in a file whose clock restarts.

    No container can seek in such a file, so packets are read from its start. If the sound's clock
    does not restart as often as that of the pictures, packets are selected by stamps alone.
    """
    with open_video(path) as (container, video):
        track = main_sound(container, video)
        if track is None:
            return
        restarts = max((number for number, _ in _clocked(packets_of(container, track))), default=0)
    is_counted = restarts == info.part_at(info.frame_count).clock

    def wanted(packets: Iterable[Packet[AudioStream]]) -> Iterator[Packet[AudioStream]]:
        for number, packet in _clocked(packets):
            # The empty packet at the end, which flushes the decoder, has no stamp.
            is_early = packet.pts is not None and packet.pts * packet.time_base < zero_s - _LEAD_S
            if not is_early and (number == clock or not is_counted):
                yield packet

    yield from _blocks_from(path, shape, zero_s, seek_s=None, wanted=wanted)


def _clocked(packets: Iterable[Packet[AudioStream]]) -> Iterator[tuple[int, Packet[AudioStream]]]:
    """Count how often the clock restarted before each packet."""
    clock = 0
    latest_s: Fraction | None = None
    for packet in packets:
        if packet.pts is not None:
            time_s = packet.pts * packet.time_base
            if latest_s is not None and time_s < latest_s - Fraction(BACK_S) / 2:
                clock += 1
            latest_s = time_s
        yield clock, packet


def _blocks_from(
    path: Path,
    shape: SoundShape,
    zero_s: Fraction,
    *,
    seek_s: Fraction | None,
    wanted: Callable[[Iterator[Packet[AudioStream]]], Iterator[Packet[AudioStream]]] = iter,
) -> Generator[_Block]:
    with open_video(path) as (container, video):
        track = main_sound(container, video)
        if track is None:
            return
        due: int | None = None
        if _has_own_order(container, track):
            parts = _decoded_inside(path, container, track, shape, seek_s or Fraction(0))
        else:
            if seek_s is not None:
                with contextlib.suppress(av.FFmpegError):
                    container.seek(int(seek_s * av.time_base))
            parts = _decoded(path, wanted(packets_of(container, track)), shape)
        for part in parts:
            if part.start_s is None:
                continue
            offset = round((part.start_s - zero_s) * shape.rate_hz)
            if due is not None and abs(offset - due) <= _JITTER_S * shape.rate_hz:
                offset = due
            block = _Block(offset, part.values)
            due = block.end
            yield block


def _decoded(
    path: Path, packets: Iterator[Packet[AudioStream]], shape: SoundShape
) -> Iterator[Samples]:
    """Yield all sound that can be decoded, in the given shape; an error is logged, not raised."""
    known: tuple[str, int] | None = None
    resampler = av.AudioResampler("fltp", shape.layout, shape.rate_hz)
    warned = False
    with contextlib.suppress(StopIteration):
        while True:
            try:
                for frame in next(packets).decode():
                    # A broadcast may switch to another channel layout.
                    if (source := (frame.layout.name, frame.sample_rate)) != known:
                        known = source
                        mixes = frame.layout.nb_channels > shape.channels
                        options = _NO_CLIPPING if mixes else None
                        resampler = av.AudioResampler(
                            "fltp", shape.layout, shape.rate_hz, options=options
                        )
                    yield from map(_samples, resampler.resample(frame))
            except (av.FFmpegError, ValueError) as error:
                if not warned:
                    logger.warning("%s: %s (%s)", path, _SILENCE, error)
                warned = True
