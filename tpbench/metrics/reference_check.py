"""`tpbench metrics check`: our numbers and frames against other people's code, on this machine.

What is compared is what `score` computes: two clips go through the pass over a pair of clips, and
the values of every frame are held against the library that they claim to equal. Frames are held
against OpenCV and decord; where these are known to be wrong, a difference is told and is no fault.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tpbench.errors import TPBenchError
from tpbench.metrics.distances import DISCO_FVD, FVD
from tpbench.metrics.registry import DEFAULT_PROTOCOL, METRICS, protocol
from tpbench.metrics.scoring.clip_pass import ClipPass
from tpbench.metrics.scoring.meters import FEATURES_OF, meters_for
from tpbench.metrics.scoring.pairing import Pair
from tpbench.metrics.scoring.policies import Policies
from tpbench.metrics.scoring.records import (
    Availability,
    RecordFolder,
    check_availability,
    make_jobs,
)
from tpbench.metrics.scoring.tools import Toolbox
from tpbench.video import CLIP, LOSSLESS_X264, Encoding, VideoInfo, VideoWriter, probe, read_frames
from tpbench.video.display import UPRIGHT
from tpbench.video.read import read_pictures
from tpbench.video.source import open_video
from tpbench.weights import resolve

Array = NDArray[Any]
Pairs = Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Real and generated frames in order; few and small enough to be held."""
FRAMES_SCORED: Final = 20
"""Frames of a clip that metrics are checked on: more than one chunk of the pass."""
FRAMES_OF_NETWORKS: Final = 4
"""Frames that those with networks are checked on: on a processor VGG takes a second for each."""
FRAMES_DECODED: Final = 48
"""Pictures of a clip that readers are compared on."""
MAX_SIDE_PX: Final = 512
"""Larger frames are shrunk for the metrics, so that all is done in a minute on a processor."""
LEVELS: Final = 2.0
"""Grey levels that readers may differ by, as libswscale rounds by release and processor; those
tested agree in every pixel. A wrong matrix is 14 levels or more, another frame more yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One comparison."""

    clip: str
    """File name; "made" is the clip that the check makes, "" where no clip is needed."""
    what: str
    against: str
    """The library and its version."""
    tolerance: float
    unit: str
    n_values: int = 0
    largest_difference: float | None = None
    """None where nothing was compared; inf where only one side has a value."""
    result: Literal["pass", "fail", "not checked"] = "not checked"
    why: str = ""
    """Why it is not checked, and what to do."""

    def compared(self, ours: Array, theirs: Array) -> CheckRow:
        """Return the row with its result; differences in "share" are of the largest value."""
        if ours.shape != theirs.shape or (np.isfinite(ours) != np.isfinite(theirs)).any():
            return self.found(float("inf"), 0)
        known = np.isfinite(theirs)
        if not known.any():
            return replace(self, why="no frame of the clip has a value")
        gap = float(np.abs(ours[known].astype(np.float64) - theirs[known]).max())
        scale = float(np.abs(theirs[known]).max()) if self.unit == "share" else 1.0
        return self.found(gap / scale, int(known.sum()))

    def found(self, largest: float, n_values: int) -> CheckRow:
        """Return the row with its result."""
        result: Literal["pass", "fail"] = "pass" if largest <= self.tolerance else "fail"
        return replace(self, n_values=n_values, largest_difference=largest, result=result)


def check_numbers(clips: Sequence[Path]) -> list[CheckRow]:
    """Compare on a clip that is made, and on the clips given.

    Raises:
        MediaError: a clip can't be read.
    """
    rows = [_frechet("scipy"), _frechet("pytorch-fid")]
    with tempfile.TemporaryDirectory(prefix="tpbench-check-") as scratch:
        folder = Path(scratch)
        made = _write(folder / "made.mp4", _made_frames(), CLIP)
        for number, path in enumerate([made, *clips]):
            name, info = path.name if number else "made", probe(path)
            rows += [_decoded(name, path, info, package) for package in _READERS]
            for names in (REFERENCES.keys() - NETWORKS, NETWORKS):
                rows += _metrics(name, path, info, folder / f"{number}_{len(names)}", names)
    return rows


def _checked(row: CheckRow, compare: Callable[[], CheckRow]) -> CheckRow:
    try:
        return compare()
    except ImportError as error:
        return replace(row, why=f"{error.name or error} can't be imported: install it")


def _named(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


# Frames


def _read_by_opencv(path: Path) -> Iterator[Array]:
    import cv2

    capture = cv2.VideoCapture(str(path))
    while (read := capture.read())[0]:
        yield read[1][..., ::-1]


def _read_by_decord(path: Path) -> Iterator[Array]:
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    for number in range(len(reader)):
        yield reader[number].asnumpy()


_READERS: Final = {"opencv-python": _read_by_opencv, "decord": _read_by_decord}


def _decoded(clip: str, path: Path, info: VideoInfo, package: str) -> CheckRow:
    """Compare pictures one by one, whatever their stamps: other readers have no timeline."""
    row = CheckRow(
        clip=clip, what="frames", against=_named(package), tolerance=LEVELS, unit="levels"
    )
    found = _checked(row, lambda: _compared_frames(row, path, info, package))
    wrong = next(_known_wrong(path, info, package), None) if found.result == "fail" else None
    return replace(found, result="not checked", why=wrong) if wrong else found


def _compared_frames(row: CheckRow, path: Path, info: VideoInfo, package: str) -> CheckRow:
    n_frames, n_equal, largest = min(FRAMES_DECODED, info.picture_count), 0, 0.0
    theirs = _READERS[package](path)
    try:
        for frame in islice(read_pictures(path, info=info), n_frames):
            other = next(theirs, None)
            if other is None or other.shape != frame.image.shape:
                break
            n_equal += 1
            largest = max(largest, float(np.abs(frame.image.astype(np.int16) - other).max()))
        if n_frames == info.picture_count and next(theirs, None) is not None:
            n_equal = 0  # there are pictures that we don't show
    except (ImportError, TPBenchError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever decord says of a file it can't read
        return replace(row, why=f"{package} can't read it: {str(error).splitlines()[0]}")
    return row.found(largest if n_equal == n_frames else float("inf"), n_equal)


def _known_wrong(path: Path, info: VideoInfo, package: str) -> Iterator[str]:
    """Yield what a reader is known to get wrong and this clip has."""
    import av

    with open_video(path) as (container, stream):
        is_transport, matrix = container.format.name == "mpegts", stream.codec_context.colorspace
        first = next(iter(container.demux(stream)))
    deep = av.VideoFormat(info.pixel_format).components[0].bits > 8
    display = info.display
    cases = [
        (deep, "more than 8 bits a channel"),
        (bool(info.shown_as), "pictures that are not shown as they are stored"),
        (display.pixel_aspect != 1, "pixels that are not square"),
        (any(display.cropped), "pictures that the container crops"),
        (bool(info.notes), "uneven stamps or sizes"),
    ]
    if package == "decord":
        cases += [
            (display.orientation != UPRIGHT, "rotated pictures"),
            (is_transport, "transport streams: it jumps to wrong pictures"),
            ((first.pts or 0) < 0, "a start that the container cuts off"),
        ]
    else:  # 2 is undeclared, 5 to 7 are BT.601 and its like, which 4.x takes all matrices for
        cases.append((matrix not in (2, 5, 6, 7), "colour matrices other than BT.601"))
    return (f"{package} is known to be wrong on {what}" for applies, what in cases if applies)


# Metrics of frames


def _from_skimage(name: str, **settings: Any) -> Callable[[Pairs], Array]:  # noqa: ANN401 - scikit-image's own
    def values(pairs: Pairs) -> Array:
        from skimage import metrics

        measure = getattr(metrics, name)
        return np.array([measure(real, made, data_range=255, **settings) for real, made in pairs])

    return values


def _disco_ssim(pairs: Pairs) -> Array:
    import cv2

    grey = [tuple(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in pair) for pair in pairs]
    return _from_skimage("structural_similarity")(grey)


def _tje(delta: int) -> Callable[[Pairs], Array]:
    """Mean of | |real_t - real_(t-delta)| - |generated_t - generated_(t-delta)| |."""

    def values(pairs: Pairs) -> Array:
        found = np.full(len(pairs), np.nan)
        now = np.array(pairs, np.int16)  # (n, 2, H, W, 3)
        for at in range(delta, len(pairs)):
            real, made = np.abs(now[at] - now[at - delta])
            found[at] = np.abs(real - made).mean(dtype=np.float64)
        return found

    return values


def _lpips(backbone: Literal["alex", "vgg"], weights: str) -> Callable[[Pairs], Array]:
    """LPIPS as package lpips builds it, torchvision's features put into its slices."""

    def values(pairs: Pairs) -> Array:
        import lpips
        import torch
        from torchvision.transforms.functional import to_tensor

        state = torch.load(resolve(weights), weights_only=True)
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # the package still says pretrained=False
            network = lpips.LPIPS(net=backbone, pnet_rand=True, verbose=False)
        for name, module in network.net.named_modules():
            if isinstance(module, torch.nn.Conv2d):
                number = name.rpartition(".")[2]
                kept = {part: state[f"features.{number}.{part}"] for part in ("weight", "bias")}
                module.load_state_dict(kept)
        with torch.inference_mode():
            inputs = ([to_tensor(image)[None] for image in pair] for pair in pairs)
            return np.array([network(*pair, normalize=True).item() for pair in inputs])

    return values


def _fid_features(pairs: Pairs) -> Array:
    """Real and generated features one after the other, (n, 4096)."""
    import torch
    from torchvision.transforms.functional import to_tensor

    from tpbench.metrics.networks import INCEPTION_WEIGHTS, inception_network, read_state

    # The network is the package's own class, which would else fetch the same file by itself.
    network = inception_network(read_state(resolve(INCEPTION_WEIGHTS))).eval()
    with torch.inference_mode():
        found = [network(torch.stack([to_tensor(image) for image in pair]))[0] for pair in pairs]
        return np.stack([features.flatten().numpy() for features in found])


class _Reference(NamedTuple):
    """Who else computes a metric, and how close both must come."""

    package: str
    values: Callable[[Pairs], Array]
    """One value, or pair of feature vectors, per frame; NaN where there is none."""
    tolerance: float
    unit: str = ""


_SSIM: Final = _from_skimage(
    "structural_similarity",
    channel_axis=-1,
    gaussian_weights=True,
    sigma=1.5,
    use_sample_covariance=False,
)

REFERENCES: Final = {
    "psnr": _Reference("scikit-image", _from_skimage("peak_signal_noise_ratio"), 1e-9, "dB"),
    # float32 against float64: 1e-7 on photographs, up to 2.5e-5 on cards of a few flat colours.
    "ssim": _Reference("scikit-image", _SSIM, 3e-5),
    "disco_ssim": _Reference("scikit-image", _disco_ssim, 1e-6),
    "tje_d1": _Reference("plain formula", _tje(1), 1e-9, "levels"),
    "tje_d2": _Reference("plain formula", _tje(2), 1e-9, "levels"),
    "tje_d5": _Reference("plain formula", _tje(5), 1e-9, "levels"),
    # float32 sums in another order: by batch, processor, GPU.
    "lpips": _Reference("lpips", _lpips("alex", "lpips-alexnet"), 1e-5),
    "lpips_vgg": _Reference("lpips", _lpips("vgg", "lpips-vgg16"), 1e-5),
    "fid": _Reference("pytorch-fid", _fid_features, 1e-4, "share"),
}
"""By metric; of FID the features are compared."""
NETWORKS: Final = frozenset({"lpips", "lpips_vgg", "fid"})
"""Those that need model files."""


def _metrics(
    clip: str, path: Path, info: VideoInfo, folder: Path, names: Set[str]
) -> Iterator[CheckRow]:
    """Compare some metrics on the first frames of a clip and a worse copy of them."""
    frames = read_frames(path, info=info, max_side_px=MAX_SIDE_PX)
    n_frames = FRAMES_OF_NETWORKS if names == NETWORKS else FRAMES_SCORED
    real = [frame.image for frame in islice(frames, n_frames)]
    pairs = list(zip(real, _worse(real), strict=True))
    side_px = min(real[0].shape[:2])
    needed_px = {
        name: max(meter.min_side_px for meter in meters_for([METRICS[name]])) for name in names
    }
    fitting = [name for name in REFERENCES if needed_px.get(name, side_px + 1) <= side_px]
    availability = check_availability(
        protocol(DEFAULT_PROTOCOL).with_metrics(fitting), offline=True
    )
    ours = _scored(pairs, availability, folder) if availability.metrics else {}
    for name in sorted(names, key=list(REFERENCES).index):
        package, values, tolerance, unit = REFERENCES[name]
        what = f"{name} features" if name == "fid" else name
        row = CheckRow(
            clip=clip, what=what, against=_named(package), tolerance=tolerance, unit=unit
        )
        if name in ours:
            yield _checked(row, lambda: row.compared(ours[name], values(pairs)))  # noqa: B023 - at once
        else:
            small = f"frames of {side_px} px a side; it needs {needed_px[name]} px"
            yield replace(row, why=availability.not_measured.get(name, small))


def _scored(pairs: Pairs, availability: Availability, folder: Path) -> dict[str, Array]:
    """Return what the pass over two clips measures of these frames, by metric."""
    real = _write(folder / "real.mkv", [one for one, _ in pairs], LOSSLESS_X264)
    generated = _write(folder / "generated.mkv", [other for _, other in pairs], LOSSLESS_X264)
    policies = Policies(length="fail", resize="fail", rate="fail")
    pair = Pair(clip_id="clip", real=real, generated=generated)
    (job,), _ = make_jobs([pair], availability, policies)
    records = RecordFolder(folder / "records", folder / "cache")
    toolbox = Toolbox(device=availability.device("auto"), skeleton="mediapipe", offline=True)
    ClipPass(policies=policies, toolbox=toolbox, records=records).run(job)
    record = records.read("clip")
    if record is None:
        raise RuntimeError("the pass over two clips left no record")
    columns = {name: METRICS[name].columns for name in availability.metrics}
    found = {name: record.columns[names[0]] for name, names in columns.items() if names}
    for name in found.keys() ^ columns.keys():
        meter = FEATURES_OF[name]
        of_real = records.real_features(meter, record.real_features[meter])
        files = (of_real, records.generated_features("clip", meter))
        found[name] = np.concatenate([np.load(file) for file in files], axis=1)
    return found


def _made_frames() -> list[NDArray[np.uint8]]:
    """Return a wandering pattern of coarse blocks under noise: edges, flat places, motion."""
    draw = np.random.default_rng(0)
    wall = draw.integers(20, 200, (30, 60, 3)).repeat(8, axis=0).repeat(8, axis=1)
    views = [wall[:, 3 * at : 3 * at + 320] for at in range(FRAMES_SCORED + 4)]
    return [(view + draw.integers(0, 40, view.shape)).astype(np.uint8) for view in views]


def _worse(frames: Sequence[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames moved by two pixels, brighter, and under noise."""
    draw = np.random.default_rng(1)
    for frame in frames:
        moved = np.roll(frame, 2, axis=1) + 5.0 + draw.integers(-12, 13, frame.shape)
        yield moved.clip(0, 255).astype(np.uint8)


def _write(path: Path, frames: Sequence[NDArray[np.uint8]], encoding: Encoding) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    height_px, width_px = frames[0].shape[:2]
    with VideoWriter(
        path, width_px=width_px, height_px=height_px, fps=Fraction(25), encoding=encoding
    ) as writer:
        for frame in frames:
            writer.write(frame)
    return path


# The Fréchet distance


def _frechet(package: str) -> CheckRow:
    """Compare the distance of two made sets: FVD's against SciPy, DisCo's against pytorch-fid."""
    what, against = "Fréchet distance", _named(package)
    row = CheckRow(clip="", what=what, against=against, tolerance=1e-6, unit="share")
    metric, theirs = (FVD, _by_scipy) if package == "scipy" else (DISCO_FVD, _by_pytorch_fid)
    draw, n, dim = np.random.default_rng(2), 600, metric.dim  # n > dim: covariances of full rank
    mixing = draw.standard_normal((dim, dim)) / dim**0.5 + np.eye(dim)
    real = draw.standard_normal((n, dim)).astype(np.float32)
    made = (draw.standard_normal((n, dim)) @ mixing + 0.1).astype(np.float32)
    ours = metric.pooled([(real, made)]).value
    gaussians = [
        moment
        for rows in (real.astype(np.float64), made.astype(np.float64))
        for moment in (rows.mean(axis=0), np.cov(rows, rowvar=False, ddof=metric.ddof))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pytorch-fid calls SciPy in a way that is to end
        return _checked(row, lambda: row.compared(np.array([ours]), np.array([theirs(*gaussians)])))


def _by_scipy(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), with SciPy's matrix square root."""
    from scipy.linalg import sqrtm

    gap = mean_a - mean_b
    return float(gap @ gap + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real))


def _by_pytorch_fid(mean_a: Array, cov_a: Array, mean_b: Array, cov_b: Array) -> float:
    from pytorch_fid.fid_score import calculate_frechet_distance

    return float(calculate_frechet_distance(mean_a, cov_a, mean_b, cov_b))
