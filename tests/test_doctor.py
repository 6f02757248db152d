from __future__ import annotations

import ctypes
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

from tpbench import doctor
from tpbench.doctor import Check, examine, explain_import_error, remedies


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TPBENCH_CACHE", str(tmp_path))
    return tmp_path


def _only(monkeypatch: pytest.MonkeyPatch, area: str) -> dict[str, Check]:
    monkeypatch.setattr(doctor, "_EXAMINATIONS", {area: doctor._EXAMINATIONS[area]})
    return {check.name: check for check in examine()}


@pytest.mark.parametrize(
    ("kind", "library", "remedy"),
    [
        (ImportError, "libGL.so.1", "apt install libgl1"),
        (OSError, "libEGL.so.1", "apt install libegl1"),  # MediaPipe loads its library late
        (ImportError, "libfoo.so.3", "find its Debian package with: apt-file search libfoo.so.3"),
    ],
)
def test_a_missing_system_library_is_explained(
    kind: type[ImportError | OSError], library: str, remedy: str
) -> None:
    error = explain_import_error(kind(f"{library}: cannot open shared object file: No such file"))
    assert error is not None
    assert error.remedy == remedy
    assert str(error).startswith(f"the system library {library}")


@pytest.mark.parametrize("error", [ImportError("No module named 'x'"), OSError(28, "No space")])
def test_other_errors_are_not_explained_away(error: ImportError | OSError) -> None:
    assert explain_import_error(error) is None


def test_every_reader_opens_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _only(monkeypatch, "video readers")
    assert [(name, found[name].status) for name in found] == [
        ("PyAV", "ok"), ("OpenCV", "ok"), ("decord", "ok"),
    ]  # fmt: skip


def test_a_reader_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_path: Path) -> int:
        raise ImportError("libxcb.so.1: cannot open shared object file: No such file")

    monkeypatch.setattr(doctor, "_count_with_cv2", broken)
    monkeypatch.setattr(doctor, "_count_with_decord", lambda _path: 4)
    found = _only(monkeypatch, "video readers")
    assert (found["OpenCV"].status, found["OpenCV"].remedy) == ("fail", "apt install libxcb1")
    assert (found["decord"].status, found["decord"].detail) == (
        "warn",
        "reads H.264 (4 of 5 frames)",
    )


def test_a_missing_package_fails_unless_it_has_no_wheels_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name in ("av", "decord"):
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("importlib.metadata.version", version)
    found = _only(monkeypatch, "packages")
    assert (found["av"].status, found["av"].remedy) == ("fail", "pip install av")
    assert found["av"].detail == "missing"
    assert found["decord"].status == "missing"
    assert found["numpy"].status == "ok"


def test_packages_of_one_model_are_missing_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if name == "diffusers":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr("importlib.metadata.version", version)
    found = _only(monkeypatch, "packages")
    assert (found["diffusers"].status, found["diffusers"].remedy) == (
        "missing",
        "pip install diffusers",
    )
    assert {check.status for check in found.values()} == {"ok", "missing"}


def test_what_only_fetching_needs_is_missing_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    found = _only(monkeypatch, "fetching")
    assert list(found) == ["yt-dlp", "ffmpeg", "deno"]
    assert {check.status for check in found.values()} == {"missing"}
    assert found["yt-dlp"].remedy == "pip install 'tpbench[fetch]'"


def test_onnxruntime_for_gpus_stands_in_for_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "onnxruntime":
            raise PackageNotFoundError(name)
        return "1.2"

    monkeypatch.setattr("importlib.metadata.version", version)
    found = _only(monkeypatch, "packages")["onnxruntime"]
    assert (found.status, found.detail) == ("ok", "1.2 (onnxruntime-gpu)")


def test_without_a_driver_the_gpu_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    assert _only(monkeypatch, "accelerators")["GPU"].status == "missing"


@pytest.mark.parametrize(
    ("built_for", "capability", "status", "said"),
    [
        ("13.1", (9, 0), ["ok"], "A card, 80.0 GB"),
        ("12.8", (9, 0), ["ok", "warn"], "built for CUDA 12.8, and torch for CUDA 13.0"),
        ("", (9, 0), ["ok"], "A card, 80.0 GB"),
        ("13.1", (7, 0), ["ok", "warn"], "the GPU has 7.0"),
    ],
)
def test_a_gpu_that_torch_or_onnxruntime_is_not_built_for_is_a_warning(
    built_for: str,
    capability: tuple[int, int],
    status: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    card = SimpleNamespace(name="A card", total_memory=80 * 10**9)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _index: card)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda _index: capability)
    monkeypatch.setattr("torch.cuda.get_arch_list", lambda: ["sm_75", "sm_90"])
    monkeypatch.setattr("torch.version.cuda", "13.0")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr("onnxruntime.cuda_version", built_for, raising=False)
    monkeypatch.setattr(doctor, "_EXAMINATIONS", {"gpu": doctor._EXAMINATIONS["accelerators"]})
    _providers, *found = examine()
    assert [check.status for check in found] == status
    assert said in found[-1].detail


def test_opencv_wheels_of_two_versions_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "importlib.metadata.version", lambda name: "2" if "contrib" in name else "1"
    )
    found = _only(monkeypatch, "packages")
    assert found["OpenCV"].status == "fail"
    assert found["OpenCV"].remedy is not None
    assert found["OpenCV"].remedy.endswith("opencv-contrib-python==1")


def test_a_library_that_does_not_load_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        if name == "libGLESv2.so.2":
            raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr("sys.platform", "linux")
    found = _only(monkeypatch, "system libraries")
    assert [name for name, check in found.items() if check.status == "fail"] == ["libGLESv2.so.2"]
    assert found["libGLESv2.so.2"].remedy == "apt install libgles2"


def test_weights_that_changed_are_warned_of(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "weights").mkdir()
    (cache / "weights" / "face_landmark.tflite").write_bytes(b"not a model")
    found = _only(monkeypatch, "weights")
    assert found["mediapipe-face-mesh"].status == "warn"
    assert found["mediapipe-face-detector"].status == "missing"
    assert found["mediapipe-face-detector"].remedy is None, "fetched on first use"
    assert (found["yolox-l"].status, found["yolox-l"].remedy) == (
        "missing",
        "tpbench weights pull dwpose",
    )
    assert str(cache / "weights") in found["folder"].detail


def test_what_to_do_is_said_once_with_its_purpose(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = list(_only(monkeypatch, "weights").values())
    broken = Check(area="a", name="av", status="fail", detail="missing", remedy="pip install av")
    said = remedies([broken, *checks], essential=False)
    assert list(said) == [
        f"tpbench weights pull {name}" for name in ("metrics", "dwpose", "talkingpose")
    ]
    assert said["tpbench weights pull metrics"] == "LPIPS, FID, KID and FVD"
    assert remedies([broken, *checks], essential=True) == {"pip install av": "av"}


def test_an_examination_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Check]:
        raise RuntimeError("a\nb")
        yield

    monkeypatch.setattr(doctor, "_EXAMINATIONS", {"gadgets": broken})
    (check,) = examine()
    assert (check.status, check.detail) == ("fail", "RuntimeError: a b")
