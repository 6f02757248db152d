"""The generator that runs a method in its own environment, according to its spec."""

from __future__ import annotations

import logging
import re
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import yaml
from numpy.typing import NDArray

from tpbench.baselines.base import (
    AnimationTask,
    ClipFailure,
    GeneratedFrame,
    JsonValue,
    OptionValue,
    parse_options,
)
from tpbench.baselines.external.inputs import CanvasLayout, lay_out, read_picture, write_inputs
from tpbench.baselines.external.method import (
    environment_for,
    find_installation,
    make_run_folder,
    methods_dir,
    run_command,
)
from tpbench.baselines.external.needs import BROUGHT, no_weights_dir, options_of
from tpbench.baselines.external.spec import (
    Collect,
    MethodSpec,
    Panels,
    Value,
    fill,
    fill_structure,
)
from tpbench.errors import ConfigError, GeneratorError, MediaError
from tpbench.files import sha256_of
from tpbench.video import probe, read_frames

logger = logging.getLogger(__name__)

_CLIP_ERRORS: Final = (GeneratorError, MediaError)
"""Errors that fail one clip only; the other clips continue."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Prepared:
    """A clip whose inputs are written."""

    task: AnimationTask
    layout: CanvasLayout
    values: Mapping[str, Value]
    """The values of its placeholders."""


class ExternalGenerator:
    """Writes tasks to files, runs the method's own command on them, and reads its output.

    If a batch of clips fails, they are run again one by one, so that one bad clip does not fail the
    others.

    Args:
        spec: of the method.
        options: the user's.
        weights_dir: must be None, as the weights are in the checkout.
        device: "auto", "cpu", "cuda" or "cuda:N": the GPU visible to the command.

    Raises:
        ConfigError: an option is wrong, the method is not installed, or `weights_dir` is given.
        MissingWeightsError: weights are not at the paths of the spec.
    """

    def __init__(
        self,
        spec: MethodSpec,
        options: Mapping[str, OptionValue],
        *,
        weights_dir: Path | None = None,
        device: str = "auto",
    ) -> None:
        if weights_dir is not None:
            raise ConfigError(no_weights_dir(spec))
        parsed = parse_options(spec.id, options_of(spec), options)
        self.spec = spec
        self.max_clips: int = getattr(parsed, "batch_clips", 1)
        self._options = parsed
        self._settings: dict[str, Value] = {name: getattr(parsed, name) for name in spec.settings}
        self._brought: dict[str, Path] = {
            option: getattr(parsed, option)
            for option in BROUGHT.values()
            if option in type(parsed).model_fields
        }
        self._device = device
        self._installation = find_installation(spec, checkout=parsed.checkout, python=parsed.python)
        # Detects a wrong device now rather than at the first clip.
        environment_for(device, python=self._installation.python, temporary=methods_dir())
        self._runs: set[Path] = set()

    def generate(self, tasks: Sequence[AnimationTask]) -> Iterator[GeneratedFrame | ClipFailure]:
        """Run the method on these clips; see `tpbench.baselines.base.Generator.generate`."""
        run = make_run_folder(self.spec.id, self._installation.checkout, self.spec.fresh)
        self._runs.add(run)
        failed = False
        alone: list[AnimationTask] = []
        try:
            for item in self._results(run, tasks, alone):
                failed |= isinstance(item, ClipFailure)
                yield item
        finally:
            if not (failed and self._options.keep_workdir):
                shutil.rmtree(run, ignore_errors=True)
            self._runs.discard(run)
        for task in alone:
            yield from self.generate([task])

    def describe(self) -> Mapping[str, JsonValue]:
        """Return everything that determines the frames: spec, code, weights, settings; no paths."""
        spec = self.spec
        content = {} if spec.file is None else {"spec": spec.model_dump(mode="json")}
        return {
            **content,
            "method": spec.id,
            "spec_sha256": spec.digest,
            "commit": spec.commit,
            "commit_found": self._installation.commit,
            "settings": {**self._settings},
            "uses_seed": spec.uses_seed,
            "weights_sha256": {**self._weights_digests},
        }

    def close(self) -> None:
        """Remove the folders of runs whose output was not read to the end."""
        for run in list(self._runs):
            shutil.rmtree(run, ignore_errors=True)
            self._runs.discard(run)

    @cached_property
    def _weights_digests(self) -> dict[str, str]:
        """sha256 of each weight file of the spec; folders are omitted."""
        paths = sorted(path for weights in self.spec.weights for path in weights.paths)
        files = {path: self._installation.checkout / path for path in paths}
        return {path: sha256_of(file) for path, file in files.items() if file.is_file()}

    def _results(
        self, run: Path, tasks: Sequence[AnimationTask], alone: list[AnimationTask]
    ) -> Iterator[GeneratedFrame | ClipFailure]:
        """Yield the results of one run of the command; adds clips to be run singly to `alone`."""
        prepared: list[_Prepared] = []
        for number, task in enumerate(tasks):
            try:
                prepared.append(self._prepare(run, task, number))
            except _CLIP_ERRORS as error:
                yield self._failure(run, task, error)
        if not prepared:
            return
        try:
            self._execute(run, prepared)
        except GeneratorError as error:
            if len(prepared) > 1:
                logger.warning("%s: %s; running the clips one by one", self.spec.id, error)
                alone.extend(clip.task for clip in prepared)
            else:
                yield self._failure(run, prepared[0].task, error)
            return
        for clip in prepared:
            try:
                yield from self._frames(run, clip)
            except _CLIP_ERRORS as error:
                yield self._failure(run, clip.task, error)

    def _prepare(self, run: Path, task: AnimationTask, number: int) -> _Prepared:
        """Write a clip's inputs, and set the values of its placeholders."""
        name = f"c{number:03d}"
        layout = lay_out(self.spec.geometry, width_px=task.width_px, height_px=task.height_px)
        paths = write_inputs(self.spec, task, layout, run / "inputs" / name, self._brought)
        whole_rate = task.fps.denominator == 1
        values: dict[str, Value] = {
            "clip": name,
            "width": layout.canvas_width_px,
            "height": layout.canvas_height_px,
            "fps": task.fps.numerator if whole_rate else float(task.fps),
            "n_frames": task.n_frames,
            "seed": task.seed,
            **{key: str(path) for key, path in paths.items()},
        }
        if self.spec.window is not None:
            values["window"] = self.spec.window.frames(task.n_frames)
        return _Prepared(task=task, layout=layout, values=values)

    def _execute(self, run: Path, clips: Sequence[_Prepared]) -> None:
        """Run the command once for all these clips."""
        spec, python = self.spec, self._installation.python
        values: dict[str, Value] = {
            "python": str(python),
            "out": str(run / "out"),
            "free_port": _free_port(),
            **self._settings,
        }
        if spec.mode == "clip":
            values.update(clips[0].values)
        for name, template in spec.templates.items():
            content = fill_structure(template, values, [clip.values for clip in clips])
            path = run / f"{name}.yaml"
            path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
            values[name] = str(path)
        timeout_s = self._options.timeout_s or spec.timeout.base_s + sum(
            spec.timeout.per_frame_s * clip.task.n_frames for clip in clips
        )
        environment = environment_for(self._device, python=python, temporary=run / "tmp")
        environment |= {name: str(fill(text, values)) for name, text in spec.env_vars.items()}
        run_command(
            [str(fill(text, values)) for text in spec.command],
            folder=run / "work",
            environment=environment,
            log=self._log(clips),
            timeout_s=timeout_s,
            on_wait=clips[0].task.still_working,
        )

    def _frames(self, run: Path, clip: _Prepared) -> Iterator[GeneratedFrame]:
        collect, task = self.spec.collect, clip.task
        glob = str(fill(collect.glob, {**self._settings, **clip.values}))
        frames = collected_frames(collect, run / collect.root, glob, clip.layout, task.n_frames)
        for index, image in enumerate(frames):
            yield GeneratedFrame(clip_id=task.clip_id, index=index, image=image)

    def _failure(self, run: Path, task: AnimationTask, error: Exception) -> ClipFailure:
        kept = f"; its files are in {run}" if self._options.keep_workdir else ""
        reason = " ".join(f"{self.spec.id}: {error}{kept}".split())
        return ClipFailure(clip_id=task.clip_id, reason=reason)

    def _log(self, clips: Sequence[_Prepared]) -> Path:
        folder = self._options.log_dir or methods_dir() / self.spec.id / "logs"
        first = re.sub(r"[^\w.-]", "_", clips[0].task.clip_id)
        more = f"_and_{len(clips) - 1}_more" if len(clips) > 1 else ""
        return folder.expanduser() / f"{first}{more}.log"


def _free_port() -> int:
    """Return a port of this machine that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


build_external: Final = ExternalGenerator
"""The factory that the registry calls."""


def collected_frames(
    collect: Collect, root: Path, glob: str, layout: CanvasLayout, n_frames: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield a clip's frames, in order and in the clip's own size, without holding all of them.

    Args:
        collect: describes the method's output.
        root: the private folder that it wrote to.
        glob: of its files for this clip, placeholders filled in.
        layout: placement of the clip on the method's canvas.
        n_frames: expected number of frames.

    Yields:
        (height_px, width_px, 3) uint8 RGB.

    Raises:
        GeneratorError: nothing or too much was written, frames are missing or too many, an image
            can't be read or does not have the size of the method's canvas.
        MediaError: a video can't be read.
    """
    found = sorted(path for path in root.glob(glob) if path.is_file())
    if not found:
        raise GeneratorError(f"the command wrote nothing: no {glob}")
    frames = _of_video if collect.kind == "video" else _of_pictures
    for image in frames(collect, found, n_frames):
        yield layout.take_back(_wanted_panel(collect.panels, image, layout))


def _of_video(collect: Collect, found: list[Path], n_frames: int) -> Iterator[NDArray[np.uint8]]:
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise GeneratorError(
            f"the command wrote {len(found)} videos where one was expected: {names}"
        )
    info = probe(found[0])
    _check_count(collect, info.frame_count, n_frames)
    for frame in read_frames(found[0], info=info, start_frame=collect.drop_first):
        yield frame.image


def _of_pictures(collect: Collect, found: list[Path], n_frames: int) -> Iterator[NDArray[np.uint8]]:
    numbered: dict[int, Path] = {}
    for path in found:
        number = re.search(collect.index_regex, path.name)
        if number is None or int(number[1]) in numbered:
            raise GeneratorError(f"the command wrote {path.name} without its own frame number")
        numbered[int(number[1])] = path
    first, last = min(numbered), max(numbered)
    if len(numbered) != last - first + 1:
        missing = next(index for index in range(first, last) if index not in numbered)
        raise GeneratorError(f"the command left out frame {missing} of {first} to {last}")
    _check_count(collect, len(numbered), n_frames)
    for index in range(first + collect.drop_first, last + 1):
        yield read_picture(numbered[index])


def _check_count(collect: Collect, count: int, n_frames: int) -> None:
    if count - collect.drop_first != n_frames:
        extra = f", the first {collect.drop_first} of which don't count" * bool(collect.drop_first)
        raise GeneratorError(
            f"the command wrote {count} frames{extra}; the driving pose has {n_frames}"
        )


def _wanted_panel(
    panels: Panels | None, image: NDArray[np.uint8], layout: CanvasLayout
) -> NDArray[np.uint8]:
    """Check an image's size and crop the wanted panel; without panels, return the whole image.

    Panels are in a row with padding, in the layout of torchvision's make_grid: panel k begins at
    x = k * (W + padding) + padding, y = padding.
    """
    width_px, height_px = layout.canvas_width_px, layout.canvas_height_px
    columns, padding, index = 1, 0, 0
    if panels is not None:
        columns, padding, index = panels.columns, panels.padding_px, panels.index
    size = (columns * (width_px + padding) + padding, height_px + 2 * padding)
    if image.shape[1::-1] != size:
        kind = "frames" if panels is None else f"rows of {columns} panels"
        raise GeneratorError(
            f"the command wrote pictures of {image.shape[1]}x{image.shape[0]} px; "
            f"expected {kind} of {size[0]}x{size[1]} px"
        )
    x0 = index * (width_px + padding) + padding
    return image[padding : padding + height_px, x0 : x0 + width_px]
