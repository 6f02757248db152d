"""What happened to a set of clips that a reader of its scores has to know, in few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def lines_of(
    notes: Iterable[str], extra: Sequence[str], of_clips: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    """Return one line for each kind of thing that happened.

    Args:
        notes: of the whole set.
        extra: generated clips that belong to no real one.
        of_clips: by clip, what policies did; what stands before the colon is the kind.
    """
    lines = list(notes)
    if extra:
        such = f"'{extra[0]}'" + (f" and {len(extra) - 1:,} more" if len(extra) > 1 else "")
        lines.append(f"generated, but no real clip has the name, so not scored: {such}")
    kinds: dict[str, list[tuple[str, str]]] = {}
    for clip_id in sorted(of_clips):
        for note in of_clips[clip_id]:
            kind, _, detail = note.partition(": ")
            kinds.setdefault(kind, []).append((clip_id, detail))
    for kind, found in kinds.items():
        clip_id, detail = found[0]
        such = f"'{clip_id}'" if len(found) == 1 else f"such as '{clip_id}'"
        clips = "1 clip" if len(found) == 1 else f"{len(found):,} clips"
        lines.append(f"{kind}: {clips}, {such}" + (f": {detail}" if detail else ""))
    return tuple(lines)
