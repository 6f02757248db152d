"""The model of a run: lookup by name, options, workers and devices."""

from __future__ import annotations

import hashlib
import inspect
import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, cast, get_args

from pydantic import TypeAdapter, ValidationError

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
from tpbench.work import LOCAL, Engine, usable_cores
from tpbench.work.engine import places_on_gpu


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """The workers of a run."""

    workers: int
    devices: tuple[str, ...]
    """One per worker, or one for all."""
    threads: int
    """CPU threads per worker."""
    gpu_share: float = 0.0
    """Share of a GPU that Ray sets aside for each worker, which then sees no other."""


def plan_workers(
    choice: ModelChoice,
    *,
    device: str,
    workers: int | None,
    clips: int,
    engine: Engine = LOCAL,
) -> WorkerPlan:
    """Choose the number of workers, their devices and threads.

    Models without weights get one worker per core. All others get one per GPU if `device` is "auto"
    or "cuda", else a single one; their workers share all cores. Under Ray, cores and GPUs are those
    of the cluster, and Ray gives each worker a core and, with weights, a GPU of its own, or the
    share of one that the user named.

    Raises:
        ConfigError: `workers` is below 1, or shares of GPUs are asked for where there are none.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {workers}")
    if choice.weight_free:
        cores = usable_cores() if engine.is_local else engine.num_workers(None)
        count = min(workers or cores, clips)
        return WorkerPlan(workers=count, devices=(device,), threads=1)
    if not engine.is_local:
        num_gpus = engine.num_gpus() if device in {"auto", "cuda"} else 0
        share = engine.gpu_share or 1.0
        count = min(workers or max(1, num_gpus * places_on_gpu(share)), clips)
        return WorkerPlan(
            workers=count, devices=(device,), threads=1, gpu_share=share if num_gpus else 0.0
        )
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
    """Find a model; `module:name` is the user's own class unless the module is a model's id.

    Raises:
        ConfigError: no such model or variant.
    """
    if _is_class(name):
        return ModelChoice(name=name)
    module = Path(name).stem if name.endswith(".py") else name
    if module != name or (name not in registry.MODELS and _is_module(name)):
        raise ConfigError(f"--model {name}: name the class in it: --model {module}:MyClass")
    row, _variant = registry.find(name)
    return ModelChoice(name=row.id if is_spec_file(name) else name, row=row)


def build(
    name: str, *, options: Mapping[str, OptionValue], weights_dir: Path | None, device: str
) -> Generator:
    """Build the generator that `choose` found.

    The user's own class is called with the options as its only arguments, by keyword. Texts become
    numbers, or true and false, where the parameter's annotation or default is one.

    Raises:
        ConfigError: it can't be imported or built with these options.
        TPBenchError: raised by the model itself.
    """
    if not _is_class(name):
        return registry.build(name, options=options, weights_dir=weights_dir, device=device)
    factory, typed = _checked_class(name, options, weights_dir)
    try:
        made = factory(**typed)
    except TPBenchError:
        raise
    except Exception as error:
        raise ConfigError(f"{name}: can't be built: {type(error).__name__}: {error}") from error
    return as_generator(made, name=name, options=typed)


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


def _checked_class(
    name: str, options: Mapping[str, OptionValue], weights_dir: Path | None
) -> tuple[Any, dict[str, OptionValue]]:
    """Import the user's own class, and return it with the options as it takes them."""
    if weights_dir is not None:
        raise ConfigError(
            f"{name}: your own class takes no --weights; pass the folder as an --option of it"
        )
    factory = _import(name)
    try:
        signature = _signature(factory)
        signature.bind(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{name}: can't be called with the options {dict(options)}: {error}"
        ) from error
    typed = {}
    for key, value in options.items():
        parameter = signature.parameters.get(key)  # absent: of **kwargs
        kind = None if parameter is None else _number_type(parameter)
        typed[key] = _typed(name, key, value, kind) if kind and isinstance(value, str) else value
    return factory, typed


def _signature(factory: Any) -> inspect.Signature:  # noqa: ANN401 - a class of the user
    try:
        return inspect.signature(factory, eval_str=True)
    except NameError:  # an annotation that is imported for type checkers only
        return inspect.signature(factory)


def _number_type(parameter: inspect.Parameter) -> Any:  # noqa: ANN401 - a type or a union
    """Return the type of a parameter's numbers, bool included; None if it may be anything else."""
    said, default = parameter.annotation, parameter.default
    if said is inspect.Parameter.empty:
        # A default of 1 does not rule out 0.5.
        return {bool: bool, int: int | float, float: float}.get(type(default))
    parts = [part for part in get_args(said) or (said,) if part is not NoneType]
    return said if parts and all(part in (bool, int, float) for part in parts) else None


def _typed(name: str, key: str, text: str, kind: Any) -> OptionValue:  # noqa: ANN401 - a type
    try:
        value = cast("OptionValue", TypeAdapter(kind).validate_python(text))
    except ValidationError as error:
        raise ConfigError(
            f"{name}: option {key}='{text}' is wrong: {_WANT.get(kind, 'want a number')}"
        ) from error
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name}: option {key}='{text}' is wrong: want a finite number")
    return value


def as_generator(
    made: object, *, name: str, options: Mapping[str, OptionValue] | None = None
) -> Generator:
    """Complete the user's own object to a `Generator`.

    It needs `generate`; `max_clips` (1), `describe` and `close` may be absent. Its description is
    extended by its class, the sha256 of the file that defines it, and its options, so after a
    change of the code or an option its clips are generated again.

    Args:
        made: the object.
        name: of the model, for errors.
        options: that a class was called with. None: of an object without `describe`, the arguments
            of its class that it keeps under their names, if they are texts or numbers.

    Raises:
        ConfigError: it has no `generate`, or is a class.
    """
    if isinstance(made, type):
        raise ConfigError(
            f"{name}: generator is the class {made.__name__}, want an object: {made.__name__}(...)"
        )
    if not callable(getattr(made, "generate", None)):
        raise ConfigError(f"{name}: {type(made).__name__} has no method `generate(tasks)`")
    if options is None:
        options = {} if hasattr(made, "describe") else _kept_arguments(made)
    return cast("Generator", _UserGenerator(made, options))


def _kept_arguments(made: object) -> dict[str, OptionValue]:
    """Return the arguments of its class that an object keeps as `name` or `_name`."""
    try:
        names = inspect.signature(type(made)).parameters
    except (TypeError, ValueError):
        return {}
    found = {name: getattr(made, name, getattr(made, f"_{name}", None)) for name in names}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    }


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
_WANT: Final = {bool: "want yes or no", int: "want a whole number"}


class _UserGenerator:
    """A user's generator, with defaults for missing methods."""

    def __init__(self, made: Any, options: Mapping[str, OptionValue]) -> None:  # noqa: ANN401 - anything with a `generate`
        self._made, self._options = made, dict(options)
        self.max_clips: int = getattr(made, "max_clips", 1)

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        return iter(self._made.generate(tasks))

    def describe(self) -> Mapping[str, Any]:
        kind = type(self._made)
        said = self._made.describe() if hasattr(self._made, "describe") else {}
        return {
            **said,
            **({"options": self._options} if self._options else {}),
            "class": f"{kind.__module__}:{kind.__qualname__}",
            "source_sha256": _source_digest(kind),
        }

    def close(self) -> None:
        if hasattr(self._made, "close"):
            self._made.close()


def _is_class(name: str) -> bool:
    module, colon, attribute = name.partition(":")
    if not colon or is_spec_file(name) or not module or not attribute:
        return False
    # Variants of registered models are lower-case.
    return (
        "." in module
        or attribute[:1].isupper()
        or (module not in registry.MODELS and _is_module(module))
    )


def _is_module(name: str) -> bool:
    """Whether there is a module of this name, outside any package; it is not imported."""
    _add_working_directory()
    return name.isidentifier() and find_spec(name) is not None


def _add_working_directory() -> None:
    here = str(Path.cwd())
    if here not in sys.path:  # a user's module is often in the working directory
        sys.path.append(here)


def _import(name: str) -> Any:  # noqa: ANN401 - whatever the user named
    module, _, attribute = name.partition(":")
    _add_working_directory()
    if module.endswith(".py"):
        module = Path(module).stem
        raise ConfigError(f"--model {name}: name the module, not its file: {module}:{attribute}")
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
