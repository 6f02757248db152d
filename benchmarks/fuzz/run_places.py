"""The files of a run of `eval`, and the commands that read them.

A run comes from others as often as a dataset does, and is continued by the next `eval`: what is
broken in it is told of or made again, and the run beside it stays in every table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.fuzz.layouts import layout_of
from benchmarks.fuzz.media import DAMAGES as MEDIA_DAMAGES
from benchmarks.fuzz.media import Intact
from benchmarks.fuzz.places import Place
from benchmarks.fuzz.spoiling import Rng
from benchmarks.fuzz.texts import Damage

RUN: Final = "runs/frozen/*/*/seed42"
_OTHER: Final = "runs/warp/*/*/seed42"
EVAL: Final = (
    *("eval", "--data", "dataset", "--split", "all", "--min-frames", "10", "--out", "runs"),
    *("--metrics", "psnr,ssim", "--workers", "1", "--model"),
)
"""The model follows."""

_AGAIN: Final = (*EVAL, "frozen")
_PLAN: Final = (*_AGAIN, "--dry-run")
_STATUS: Final = ("status", RUN)
_BOARD: Final = ("leaderboard", "build", "runs", "--out", "board", "--no-page")
_PAGE: Final = ("leaderboard", "build", "runs", "--out", "board")
_COMPARE: Final = ("compare", RUN, _OTHER)
_VERIFY: Final = ("verify", RUN, "--no-recompute", "--data", "dataset")
_RECOMPUTE: Final = ("verify", RUN, "--data", "dataset")
_ON_BOARD: Final = "board/leaderboard.csv:warp"
_SCORED: Final = f"{RUN}/scores.json:talk-1"


def _video(container: str) -> Mapping[str, Damage]:
    def damage_of(name: str) -> Damage:
        def damage(rng: Rng, data: bytes) -> bytes:
            layout = layout_of(container, data)
            intact = Intact(container=container, data=data, layout=layout, others=(data,))
            return MEDIA_DAMAGES[name](rng, intact)

        return damage

    return {name: damage_of(name) for name in MEDIA_DAMAGES}


RUN_DAMAGES: Final[Mapping[str, Mapping[str, Damage]]] = {
    container: _video(container) for container in ("mkv", "mp4")
}
"""What can happen to the videos of a run, by format and name."""

RUN_PLACES: Final = (
    *(
        Place(
            format=form,
            turn=name,
            path=f"{RUN}/{name}",
            commands=(_BOARD, _PAGE, _COMPARE, _VERIFY, _STATUS),
            good=_ON_BOARD,
        )
        for form, name in (
            ("json", "run.json"),
            ("json", "scores.json"),
            ("json", "records/talk-0-*.json"),
            ("mkv", "generated/talk-0-*.mkv"),
            ("mp4", "preview/talk-0-*.mp4"),
            ("parquet", "frames.parquet"),
        )
    ),
    *(
        Place(format=form, turn=name, path=f"{RUN}/{name}", commands=(_AGAIN, _PLAN), good=_SCORED)
        for form, name in (
            ("json", "run.json"),
            ("json", "scores.json"),
            ("json", "records/talk-0-*.json"),
            ("json", ".driver.json"),
            ("json", ".local.json"),
            ("mkv", "generated/talk-0-*.mkv"),
            ("mp4", "preview/talk-0-*.mp4"),
            ("parquet", "frames.parquet"),
            ("npz", ".scoring/talk-0-*.npz"),
        )
    ),
    *(
        Place(format=form, turn=name, path=f"{RUN}/{name}", commands=commands)
        for form, name, commands in (
            ("json", ".driver.json", (_STATUS,)),
            ("json", ".local.json", (_RECOMPUTE, _PAGE, _STATUS)),
            ("mkv", "generated/talk-0-*.mkv", (_RECOMPUTE,)),
        )
    ),
)
"""As `PLACES`; the paths in commands may have wildcards, too."""
