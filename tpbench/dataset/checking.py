"""Whether a dataset is whole, agrees with itself, and keeps its splits apart.

`check_dataset` reads everything: tables against the manifest (`table_checks`), every file of every
clip (`file_checks`), and the pictures of clips on different sides of the split (`fingerprints`).
What is wrong is a value that says where, what, and what to do; only a folder that is no dataset at
all is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tpbench.dataset.alignment import HashedClip, find_pairs
from tpbench.dataset.file_checks import file_problems, unknown_files
from tpbench.dataset.fingerprints import Fingerprint, fingerprint_clips, hashed
from tpbench.dataset.folder import Dataset
from tpbench.dataset.info import Clip
from tpbench.dataset.manifest import read_clips
from tpbench.dataset.problems import Problem, relative
from tpbench.dataset.table_checks import removed_problems, table_problems
from tpbench.errors import ConfigError, number_of
from tpbench.foreign import printable
from tpbench.work import ProgressCounter, ProgressListener, usable_cores
from tpbench.work.threads import in_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a check looked at, and what it found."""

    folder: Path
    n_clips: int
    """Kept clips."""
    n_identities: int
    n_compared: int
    """Kept clips whose pictures were compared with those of the other side of the split."""
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    """What was not checked, and why."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values, without the path of the folder."""
        return {
            "clips": self.n_clips,
            "identities": self.n_identities,
            "compared": self.n_compared,
            "problems": [problem.to_json() for problem in self.problems],
            "notes": list(self.notes),
        }


def check_dataset(
    folder: Path, *, workers: int | None = None, listener: ProgressListener | None = None
) -> CheckReport:
    """Read a whole dataset, and return everything that is wrong with it.

    Clips on different sides of the split are compared by their pictures; without a split, none are.
    Fingerprints are stored in the folder if it can be written.

    Args:
        folder: of the dataset.
        workers: threads; one per core if not given.
        listener: is told of every clip that is done, in the steps "files", "pictures", "pairs".

    Raises:
        ConfigError: fewer than one worker.
        DatasetError: there is no dataset, or its manifest can't be read.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"--workers {workers}: want at least 1")
    dataset = Dataset.open(folder)
    clips = read_clips(folder)
    kept = [clip for clip in clips if clip.status == "kept"]
    looking = _Looking(dataset=dataset, workers=workers or usable_cores(), listener=listener)
    problems = [*table_problems(dataset, clips), *removed_problems(dataset, clips)]
    problems += _others(problems, unknown_files(dataset, kept))
    problems += looking.at_files(kept)
    prints, unreadable = looking.at_pictures(kept)
    problems += _others(problems, unreadable)
    compared: list[HashedClip] = []
    notes = []
    if pending := dataset.info.sources_pending:
        notes.append(f"not finished: {number_of(pending, 'source')} pending")
    if dataset.info.split is None:
        notes.append("not split, so no clips were compared; `tpbench split` makes a split")
    else:
        compared = hashed(kept, prints, across="splits")
        problems += looking.at_pairs(compared)
    if faceless := sum(not len(clip.times_s) for clip in compared):
        notes.append(f"{number_of(faceless, 'clip')} without a face can't be compared with others")
    return CheckReport(
        folder=folder,
        n_clips=len(kept),
        n_identities=len({clip.identity for clip in kept}),
        n_compared=len(compared) - faceless,
        problems=tuple(problems),
        notes=tuple(notes),
    )


def _others(known: Iterable[Problem], more: Iterable[Problem]) -> list[Problem]:
    """Return the problems of files about which nothing else was said yet."""
    files = {problem.where for problem in known}
    return [problem for problem in more if problem.where not in files]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looking:
    """The parts of a check that look at every clip, and so take long."""

    dataset: Dataset
    workers: int
    listener: ProgressListener | None

    def at_files(self, kept: Sequence[Clip]) -> Iterator[Problem]:
        """Yield what is wrong with single files, clips as videos left aside."""
        counter = ProgressCounter("files", total=len(kept), listener=self.listener)
        look = partial(file_problems, self.dataset)
        for clip, found in in_threads(look, kept, workers=self.workers):
            yield from found
            counter.finish(clip.clip_id, frames=clip.n_frames, counts={})

    def at_pictures(self, kept: Sequence[Clip]) -> tuple[Mapping[str, Fingerprint], list[Problem]]:
        """Return fingerprints by clip id, and which files don't give one."""
        taken = fingerprint_clips(self.dataset, kept, workers=self.workers, listener=self.listener)
        problems = [
            Problem(
                code="file.broken",
                where=relative(self.dataset.folder, Path(error.path)),
                what=printable(error.reason),
            )
            for error in taken.errors.values()
        ]
        return taken.by_clip, problems

    def at_pairs(self, compared: Sequence[HashedClip]) -> Iterator[Problem]:
        """Yield the clips of both sides of the split that show the same pictures."""
        for pair in sorted(find_pairs(compared, workers=self.workers, listener=self.listener)):
            mirrored = ", mirrored" if pair.is_mirrored else ""
            yield Problem(
                code="split.near_duplicate",
                where=f"{pair.first}, {pair.second}",
                what=f"show the same pictures on both sides of the split: {pair.n_alike} of "
                f"{pair.n_common} are alike{mirrored}",
            )
