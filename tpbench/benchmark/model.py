"""The model of a run: found by name, its options and devices."""

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
from tpbench.errors import ConfigError, TPBenchError
from tpbench.work import usable_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """The workers of a run."""

    workers: int
    devices: tuple[str, ...]
    """One for each worker, or one for all."""
    threads: int
    """Processor threads of each."""


def plan_workers(
    choice: ModelChoice, *, device: str, workers: int | None, clips: int
) -> WorkerPlan:
    """Say who makes the clips.

    Models without weights get a worker per core. All others get one per GPU if `device` leaves that
    open, else one, which may use all cores.

    Raises:
        ConfigError: fewer than one worker is asked for.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}")
    if choice.weight_free:
        count = min(workers or usable_cores(), clips)
        return WorkerPlan(workers=count, devices=(device,), threads=1)
    gpus = _gpus() if device in {"auto", "cuda"} else ()
    count = min(workers or max(1, len(gpus)), clips)
    devices = tuple(gpus[i % len(gpus)] for i in range(count)) if len(gpus) > 1 else (device,)
    return WorkerPlan(workers=count, devices=devices, threads=max(1, usable_cores() // count))


def _gpus() -> tuple[str, ...]:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return tuple(f"cuda:{index}" for index in range(count))


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """What the user named as a model, before anything of it is imported."""

    name: str
    """As given: `id`, `id:variant` or `package.module:Class`; of a spec's path the id in it."""
    row: ModelRow | None = None
    """None for a class or an object of the user's own."""

    @property
    def kind(self) -> Kind | Literal["custom"]:
        """The row's kind."""
        return self.row.kind if self.row else "custom"

    @property
    def variants(self) -> frozenset[str]:
        """Names of the row's variants."""
        return frozenset(self.row.variants) if self.row else frozenset()

    @property
    def weight_free(self) -> bool:
        """Whether it is light enough to run once per processor core."""
        return self.kind in {"anchor", "baseline"}


def choose(name: str) -> ModelChoice:
    """Find a model; a dot before the colon, or a capital behind it, means a class of the user's.

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

    A class of the user's own is called with the options as keyword arguments, and nothing else.

    Raises:
        ConfigError: it can't be imported or built like this.
        TPBenchError: what the model itself refuses.
    """
    if not _is_class(name):
        return registry.build(name, options=options, weights_dir=weights_dir, device=device)
    if weights_dir is not None:
        raise ConfigError(
            f"{name}: a class of your own takes no --weights; give an --option that it knows"
        )
    factory = _import(name)
    try:
        inspect.signature(factory).bind(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name}: can't be called with the options {dict(options)}: {error}"
        ) from error
    try:
        made = factory(**options)
    except TPBenchError:
        raise
    except Exception as error:
        raise ConfigError(f"{name}: can't be built: {type(error).__name__}: {error}") from error
    return as_generator(made, name=name)


def as_generator(made: object, *, name: str) -> Generator:
    """Return an object of the user's own as a whole `Generator`.

    It needs `generate`; `max_clips` (1), `describe` and `close` may be absent. What it says of
    itself is completed by its class and the sha256 of the file that defines it: edited code counts
    as another model, and its clips are made again.

    Raises:
        ConfigError: it has no `generate`.
    """
    if not callable(getattr(made, "generate", None)):
        raise ConfigError(f"{name}: {type(made).__name__} has no method `generate(tasks)`")
    return cast("Generator", _Adopted(made))


def parse_assignments(pairs: Sequence[str]) -> dict[str, OptionValue]:
    """Turn `key=value` texts into options; the model parses the values.

    Raises:
        ConfigError: one has no `=` or no key, or a key comes twice.
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
    """Return the model and options that mean "as the released code does, faults included".

    That is the variant `reference-quirks` where a model has it, so that such runs lie in a place of
    their own; else an option that the model refuses if it has no such faults.
    """
    if ":" not in name and _QUIRKS in choose(name).variants:
        return f"{name}:{_QUIRKS}", dict(options)
    return name, {**options, "reference_quirks": True}


_QUIRKS: Final = "reference-quirks"


class _Adopted:
    """A user's generator with what it lacks."""

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
    # Variants of our own models are written small.
    return bool(colon) and not is_spec_file(name) and ("." in module or attribute[:1].isupper())


def _import(name: str) -> Any:  # noqa: ANN401 - whatever the user named
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # a user's module often lies where the command is typed
        sys.path.append(here)
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigError(f"--model {name}: there is no module '{error.name}'") from error
    except (Exception, SystemExit) as error:  # whatever a user's module does while it is read
        known = isinstance(error, AttributeError) and error.obj is sys.modules.get(module)
        what = f"has no '{attribute}'" if known else f"fails: {type(error).__name__}: {error}"
        raise ConfigError(f"--model {name}: module '{module}' {what}") from error
    if not callable(found):
        raise ConfigError(f"--model {name}: '{attribute}' is no class")
    return found


def _source_digest(kind: type) -> str | None:
    """Return the sha256 of the file that defines a class; None where it has none."""
    try:
        path = inspect.getsourcefile(kind)
        if path is not None and Path(path).is_file():
            return hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()
    except (OSError, TypeError):
        logger.warning("%s has no source file: a change of its code can't be noticed", kind)
        return None
