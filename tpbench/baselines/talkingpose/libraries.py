"""The packages of the extra `[talkingpose]`, imported when they are first needed.

They come without types that a checker can follow, so what they give is `Any` here and narrowed
where it is used. Networks are built from sizes, never fetched from a model hub.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from tpbench.errors import MissingDependencyError

PACKAGES: Final = ("diffusers", "transformers", "safetensors")


def library(name: str) -> Any:  # noqa: ANN401 - a module without types
    """Import a module of the extra.

    Raises:
        MissingDependencyError: it is not installed, or what is installed can't be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        feature = f"TalkingPose (package {name})"
        raise MissingDependencyError(feature, "pip install 'tpbench[talkingpose]'") from error
