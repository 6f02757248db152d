"""Which of a file's streams is the film, and which its sound: ffmpeg's choice, covers left out.

ffmpeg takes the video stream of the largest area and the sound track with the most channels, a
stream marked as default counting as 5,000,000 more, and the first of equals. Left out here are
attached pictures, thumbnails, still images and streams that only serve another; a stream known to
hold one picture comes after all others, and one without a decoder last. Of several programs in one
broadcast, sound is taken from that of the picture.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

_DEFAULT_BONUS: Final = 5_000_000


def main_video(container: InputContainer) -> VideoStream | None:
    """Return the video stream that is the film; None without one."""
    from av.stream import Disposition

    never = (
        Disposition.attached_pic
        | Disposition.timed_thumbnails
        | Disposition.still_image
        | Disposition.dependent
    )
    streams = [stream for stream in container.streams.video if not stream.disposition & never]
    return max(streams, key=_video_rank, default=None)


def main_sound(container: InputContainer, video: VideoStream) -> AudioStream | None:
    """Return the sound track that goes with the film; None without one."""
    tracks = list(container.streams.audio)
    if len(tracks) > 1 and len(container.streams.video) > 1:
        # libav finds the video in the program of each track, and any video where there is none.
        together = [track for track in tracks if _program_video(container, track) == video.index]
        tracks = together or tracks
    return max(tracks, key=_sound_rank, default=None)


def channels_of(track: AudioStream) -> int:
    """Return how many channels a sound track has, 0 without a decoder.

    PyAV 18.1 frees, with the layout it gives out, the list of channels that still belongs to the
    decoder, if they are in an order of their own: the process dies. So that object is never freed.
    """
    codec = getattr(track, "codec_context", None)
    if codec is None:
        return 0
    layout = codec.layout
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
    return int(layout.nb_channels)


def _video_rank(stream: VideoStream) -> tuple[bool, bool, int]:
    # PyAV gives streams without a decoder no context, whatever its annotations say.
    codec = getattr(stream, "codec_context", None)
    area = 0 if codec is None else codec.width * codec.height
    return codec is not None, stream.frames != 1, area + _bonus(stream)


def _sound_rank(track: AudioStream) -> tuple[bool, int]:
    channels = channels_of(track)
    return channels > 0, channels + _bonus(track)


def _bonus(stream: Stream) -> int:
    from av.stream import Disposition

    return _DEFAULT_BONUS if stream.disposition & Disposition.default else 0


def _program_video(container: InputContainer, track: AudioStream) -> int | None:
    found = container.streams.best("video", related=track)
    return None if found is None else found.index
