"""The private folder of one run: what goes in, what comes out, and where the command runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A temporary folder; no two runs ever see each other's files."""

    path: Path

    @classmethod
    def create(cls, method_id: str, checkout: Path, fresh: Collection[str]) -> Self:
        """Make one.

        The command runs in `work`, which shows everything of the checkout as links, except the
        folders that it writes its results into: so relative paths of the method hold, and what it
        writes is this run's own.

        Args:
            method_id: for the folder's name.
            checkout: the method's code.
            fresh: top folders of the checkout that are to be empty.
        """
        folder = cls(path=Path(tempfile.mkdtemp(prefix=f"tpbench-{method_id}-")).resolve())
        for part in (folder.inputs, folder.out, folder.work, folder.temporary):
            part.mkdir()
        for entry in checkout.iterdir():
            if entry.name not in fresh:
                (folder.work / entry.name).symlink_to(entry)
        for name in fresh:
            (folder.work / name).mkdir(parents=True)
        return folder

    @property
    def inputs(self) -> Path:
        """What the method is given."""
        return self.path / "inputs"

    @property
    def out(self) -> Path:
        """Where it is told to write."""
        return self.path / "out"

    @property
    def work(self) -> Path:
        """Where it runs."""
        return self.path / "work"

    @property
    def temporary(self) -> Path:
        """Its TMPDIR."""
        return self.path / "tmp"

    def remove(self) -> None:
        """Remove it; links are removed, not what they show."""
        shutil.rmtree(self.path, ignore_errors=True)
