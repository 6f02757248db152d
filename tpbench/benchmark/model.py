"""The model of a run: lookup by name, options, workers and devices."""

from __future__ import annotations

import hashlib
import inspect
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, cast

from tpbench.baselines import registry
from tpbench.baselines.base import (
    AnimationTask,
    ClipFailure,
    GeneratedFrame,
    Generator,
    Kind,
    ModelRow,
    OptionValue,
)
from tpbench.baselines.external.spec import is_spec_file
from tpbench.devices import Library
from tpbench.errors import ConfigError, TPBenchError
from tpbench.work import usable_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """The workers of a run."""

    workers: int
    devices: tuple[str, ...]
    """One per worker, or one for all."""
    threads: int
    """CPU threads per worker."""


def plan_workers(
    choice: ModelChoice, *, device: str, workers: int | None, clips: int
) -> WorkerPlan:
    """Choose the number of workers, their devices and threads.

    Models without weights get one worker per core. All others get one per GPU if `device` is "auto"
    or "cuda", else a single one; their workers share all cores.

    Raises:
        ConfigError: `workers` is below 1.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}")
    if choice.weight_free:
        count = min(workers or usable_cores(), clips)
        return WorkerPlan(workers=count, devices=(device,), threads=1)
    gpus = _gpus() if device in {"auto", "cuda"} else ()
    count = min(workers or max(1, len(gpus)), clips)
    devices = tuple(gpus[i % len(gpus)] for i in range(count)) if len(gpus) > 1 else (device,)
    return WorkerPlan(
        workers=count, devices=devices, threads=max(1, usable_cores() // max(1, count))
    )


def _gpus() -> tuple[str, ...]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(f"cuda:{index}" for index in range(count))


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model that the user named, before any of its code is imported."""

    name: str
    """As given: `id`, `id:variant` or `package.module:Class`; for the path of a spec, its id."""
    row: ModelRow | None = None
    """Registry row; None for the user's own class or object."""

    @property
    def kind(self) -> Kind | Literal["custom"]:
        """The row's kind, or "custom" without a row."""
        return self.row.kind if self.row else "custom"

    @property
    def variants(self) -> frozenset[str]:
        """Names of the row's variants."""
        return frozenset(self.row.variants) if self.row else frozenset()

    @property
    def device_library(self) -> Library:
        """What uses the device: torch here, or the programs of an external method."""
        return "driver" if self.kind == "external" else "torch"

    @property
    def weight_free(self) -> bool:
        """Whether it is light enough to run once per processor core."""
        return self.kind in {"anchor", "baseline"}


def choose(name: str) -> ModelChoice:
    """Find a model; a dot before the colon, or a capital after it, marks a class of the user.

    Raises:
        ConfigError: no such model or variant.
    """
    if _is_class(name):
        return ModelChoice(name=name)
    row, _variant = registry.find(name)
    return ModelChoice(name=row.id if is_spec_file(name) else name, row=row)


def build(
    name: str, *, options: Mapping[str, OptionValue], weights_dir: Path | None, device: str
) -> Generator:
    """Build the generator that `choose` found.

    The user's own class is called with the options as its only arguments, by keyword.

    Raises:
        ConfigError: it can't be imported or built with these options.
        TPBenchError: raised by the model itself.
    """
    if not _is_class(name):
        return registry.build(name, options=options, weights_dir=weights_dir, device=device)
    factory = _checked_class(name, options, weights_dir)
    try:
        made = factory(**options)
    except TPBenchError:
        raise
    except Exception as error:
        raise ConfigError(f"{name}: can't be built: {type(error).__name__}: {error}") from error
    return as_generator(made, name=name)


def lacking(
    name: str, *, options: Mapping[str, OptionValue], weights_dir: Path | None
) -> list[str]:
    """Return all that would stop `build`, one line each, without loading a model with weights.

    The module of the user's own class is imported, but the class is not called.
    """
    try:
        if not _is_class(name):
            return registry.lacking(name, options=options, weights_dir=weights_dir)
        _checked_class(name, options, weights_dir)
    except TPBenchError as error:
        return [str(error)]
    return []


def _checked_class(name: str, options: Mapping[str, OptionValue], weights_dir: Path | None) -> Any:  # noqa: ANN401 - whatever the user named
    """Import the user's own class, and check that it takes the options."""
    if weights_dir is not None:
        raise ConfigError(
            f"{name}: your own class takes no --weights; pass the folder as an --option of it"
        )
    factory = _import(name)
    try:
        inspect.signature(factory).bind(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name}: can't be called with the options {dict(options)}: {error}"
        ) from error
    return factory


def as_generator(made: object, *, name: str) -> Generator:
    """Complete the user's own object to a `Generator`.

    It needs `generate`; `max_clips` (1), `describe` and `close` may be absent. Its description is
    extended by its class and the sha256 of the file that defines it, so after a change of the code
    its clips are generated again.

    Raises:
        ConfigError: it has no `generate`.
    """
    if not callable(getattr(made, "generate", None)):
        raise ConfigError(f"{name}: {type(made).__name__} has no method `generate(tasks)`")
    return cast("Generator", _UserGenerator(made))


def parse_assignments(pairs: Sequence[str]) -> dict[str, OptionValue]:
    """Turn `key=value` strings into options; the model parses the values.

    Raises:
        ConfigError: a string has no `=` or no key, or a key is repeated.
    """
    options: dict[str, OptionValue] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--option wants key=value, got '{pair}'")
        if key.strip() in options:
            raise ConfigError(f"--option {key.strip()} is given twice")
        options[key.strip()] = value
    return options


def with_reference_quirks(
    name: str, options: Mapping[str, OptionValue]
) -> tuple[str, dict[str, OptionValue]]:
    """Return the model and options that reproduce the released code, faults included.

    This is the model's variant `reference-quirks`, if any, whose runs have folders of their own;
    else an option that a model without such faults refuses.
    """
    if ":" not in name and _QUIRKS in choose(name).variants:
        return f"{name}:{_QUIRKS}", dict(options)
    return name, {**options, "reference_quirks": True}


_QUIRKS: Final = "reference-quirks"


class _UserGenerator:
    """A user's generator, with defaults for missing methods."""

    def __init__(self, made: Any) -> None:  # noqa: ANN401 - anything with a `generate`
        self._made = made
        self.max_clips: int = getattr(made, "max_clips", 1)

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        return iter(self._made.generate(tasks))

    def describe(self) -> Mapping[str, Any]:
        kind = type(self._made)
        said = self._made.describe() if hasattr(self._made, "describe") else {}
        return {
            **said,
            "class": f"{kind.__module__}:{kind.__qualname__}",
            "source_sha256": _source_digest(kind),
        }

    def close(self) -> None:
        if hasattr(self._made, "close"):
            self._made.close()


def _is_class(name: str) -> bool:
    module, colon, attribute = name.partition(":")
    # Variants of registered models are lower-case.
    return bool(colon) and not is_spec_file(name) and ("." in module or attribute[:1].isupper())


def _import(name: str) -> Any:  # noqa: ANN401 - whatever the user named
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # a user's module is often in the working directory
        sys.path.append(here)
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigError(f"--model {name}: there is no module '{error.name}'") from error
    except (Exception, SystemExit) as error:  # a user's module may raise anything on import
        known = isinstance(error, AttributeError) and error.obj is sys.modules.get(module)
        what = f"has no '{attribute}'" if known else f"fails: {type(error).__name__}: {error}"
        raise ConfigError(f"--model {name}: module '{module}' {what}") from error
    if not callable(found):
        raise ConfigError(f"--model {name}: '{attribute}' is not a class")
    return found


def _source_digest(kind: type) -> str | None:
    """Return the sha256 of the file that defines a class; None if it has no source."""
    try:
        path = inspect.getsourcefile(kind)
        if path is not None and Path(path).is_file():
            return hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()
    except (OSError, TypeError):
        logger.warning("%s has no source file: changes of its code can't be detected", kind)
        return None
