"""`tpbench inspect`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import console, counted, duration, new_table, print_json

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from tpbench.dataset import Clip, Dataset, DatasetInfo, RunStats


def inspect(
    dataset: opt.DatasetFolder,
    clip: Annotated[
        str | None,
        typer.Argument(help="Clip id, or its beginning: show everything known about this clip."),
    ] = None,
    as_json: opt.AsJson = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the sha256 of every file against the manifest.")
    ] = False,
) -> None:
    """Show what a dataset holds, or all about one clip.

    With a clip, all its measurements; without, the contents and the reject reasons.
    """
    from tpbench.dataset import Dataset
    from tpbench.dataset.remote import local_dataset

    opened = Dataset.open(local_dataset(dataset, with_clips=verify))
    row = opened.find(clip) if clip is not None else None
    problems = opened.verify() if verify else []
    if as_json:
        content = dataset_json(opened) if row is None else _clip_json(opened, row)
        print_json({**content, "problems": problems} if verify else content)
    else:
        console().print(
            render_summary(opened.info)
            if row is None
            else render_clip(opened.info, row, {**_paths(opened, row), **_decided(opened, row)})
        )
        if row is None and (failures := _failures(opened)):
            console().print(render_failures(failures))
        for problem in problems:
            typer.echo(problem, err=True)
        if problems:
            again = f"run the same `{opened.info.made_by}` again"
            typer.echo(f"delete the damaged files and {again}", err=True)
        if verify and not problems:
            typer.echo("verified: all files match the manifest")
    if problems:
        raise typer.Exit(opt.FAILED_EXIT_CODE)


def _failures(dataset: Dataset) -> list[Clip]:
    from tpbench.dataset.manifest import rows_of

    counts = dataset.info.counts
    if not counts.failed and not counts.quarantined:
        return []
    return rows_of(dataset.table(statuses={"failed", "quarantined"}))


def dataset_json(dataset: Dataset) -> dict[str, Any]:
    """Return the description of a dataset and the status of each clip."""
    from tpbench.dataset.manifest import read_table

    content: dict[str, Any] = dataset.info.model_dump(mode="json")
    run = dataset.info.run
    if run is not None:
        content["run"] |= run.rates()
        content["run"]["runs"] = [one.model_dump(mode="json") | one.rates() for one in run.runs]
    listed = read_table(dataset.folder, columns=("clip_id", "status", "reject_codes")).to_pylist()
    content["clips"] = [row | {"reject_codes": row["reject_codes"] or []} for row in listed]
    return content


def _clip_json(dataset: Dataset, clip: Clip) -> dict[str, Any]:
    return {
        **clip.to_json(),
        "verdicts": verdicts(dataset.info, clip),
        "deciding_frame": _deciding_frame(dataset, clip),
        "paths": _paths(dataset, clip),
    }


def _decided(dataset: Dataset, clip: Clip) -> dict[str, str]:
    frame = _deciding_frame(dataset, clip)
    if frame is None:
        return {}
    time = f" ({frame / clip.fps:.1f} s)" if clip.fps else ""
    return {"decided by": f"frame {frame}{time} of the source, shown in report.html"}


def _deciding_frame(dataset: Dataset, clip: Clip) -> int | None:
    """Return the frame of the source that shows best why a clip was rejected, if it is known."""
    from tpbench.extraction.thumbnails import read_thumbnails

    seen = read_thumbnails(dataset.folder, clip.source_id).get(clip.clip_id)
    return None if seen is None else seen.frame


def _paths(dataset: Dataset, clip: Clip) -> dict[str, str]:
    if clip.status != "kept":
        return {}
    return {
        "clip": str(dataset.clip_path(clip)),
        "keypoints": str(dataset.keypoints_path(clip)),
        "pose video": str(dataset.pose_path(clip)),
    }


def render_summary(info: DatasetInfo) -> RenderableType:
    """Return the counts by status, the reject table, speed and split of a dataset."""
    from rich.console import Group
    from rich.text import Text

    counts = info.counts
    head = Text.assemble(
        (f"{info.name} {info.version}", "bold"),
        f"  digest {info.digest[:8]}\n",
        f"{counted(counts.kept, 'clip')}, {counted(counts.kept_frames, 'frame')}, "
        f"{counts.kept_length} of {counted(counts.identities, 'identity')} kept, from "
        f"{counted(counts.sources, 'source')}",
    )
    parts: list[RenderableType] = [head]
    if info.sources_pending:
        todo = f"not finished: {counted(info.sources_pending, 'source')} pending; run the same"
        parts.append(Text(f"{todo} `{info.made_by}` again", style="bold yellow"))
    parts.append(_status_table(info))
    if counts.reject_codes:
        parts.append(_reject_table(info))
        if sum(counts.reject_codes.values()) > counts.rejected:
            parts.append(Text("a clip can be rejected for several reasons"))
    if skeleton := info.config.get("skeleton"):
        # Datasets of earlier versions have no such setting.
        visibility = info.config.get("visibility", "as found, frame by frame")
        # The numbers behind its name are in `dataset.json`.
        parts.append(Text(f"skeletons: {skeleton}, visibility {str(visibility).partition(':')[0]}"))
    if info.run is not None:
        parts.append(Text("\n".join(speed_lines(info.run))))
    if info.split is not None:
        split = info.split
        sides = f"split: {split.train_clips:,} train, {split.test_clips:,} test clips"
        how = f"share {split.test_share:g}, seed {split.seed}"
        parts.append(Text(f"{sides} ({'from lists' if split.method == 'lists' else how})"))
        for name, version in split.versions.items():
            parts.append(Text(f"frozen: {name}, {counted(version.clips, 'clip')}"))
    return Group(*parts)


def render_failures(clips: Iterable[Clip]) -> RenderableType:
    """Return one line per source that failed or was quarantined, with its reason."""
    table = new_table("status", "error")
    for clip in clips:
        table.add_row(clip.status, clip.error or "")
    return table


_FACTS: Final = (
    "url", "licence", "uploader", "identity", "split", "pose_source", "tool_version", "error",
)  # fmt: skip


def render_clip(info: DatasetInfo, clip: Clip, more: dict[str, str]) -> RenderableType:
    """Return everything known about a clip: provenance, `more`, measurements, thresholds."""
    from rich.console import Group
    from rich.text import Text

    colour = "green" if clip.status == "kept" else "red"
    head = Text.assemble((clip.clip_id, "bold"), "  ", (clip.status, colour))
    if clip.reject_codes:
        head.append(f"  {', '.join(clip.reject_codes)}")
    facts = new_table("", "")
    row = clip.to_json()
    for name, value in [*_provenance(clip), *more.items()]:
        facts.add_row(name, value)
    for name in _FACTS:
        if row[name] is not None:
            facts.add_row(name, str(row[name]))
    if not clip.measurements:
        return Group(head, facts)
    return Group(head, facts, _measurement_table(info, clip))


def speed_lines(run: RunStats) -> list[str]:
    """Return the time an extraction took: of the latest run, and of all if there were more."""
    if len(run.runs) < 2:
        return run_lines(run)
    latest, *_ = run_lines(run.runs[-1])
    first, *others = run_lines(run)
    return [f"latest run that processed videos: {latest}", f"all runs: {first}", *others]


def run_lines(run: RunStats) -> list[str]:
    """Return the time of one extraction, or of a sum: rates, hours, the share of each stage."""
    lines = [f"{counted(run.workers, 'worker')}, {duration(run.wall_s)}"]
    if run.frames_per_s is not None and run.real_time_factor is not None:
        rates = f"{run.frames_per_s:,.1f} source frames/s, {run.real_time_factor:,.2f}x real time"
        lines[0] += f": {rates}"
    if (hours := run.video_hours_per_core_hour) is not None:
        on_gpu = run.video_hours_per_gpu_hour
        more = "" if on_gpu is None else f", {on_gpu:.2f} h per GPU-hour"
        lines.append(f"{hours:.2f} h of video per core-hour{more}")
    if run.stage_shares:
        shares = (f"{stage} {share:.0%}" for stage, share in run.stage_shares.items())
        lines.append(f"stages: {', '.join(shares)}")
    return lines


def verdicts(info: DatasetInfo, clip: Clip) -> list[dict[str, object]]:
    """Return one row per measurement: name, title, unit, measured, limit, verdict, code.

    The verdict is "ok", "reject", "" if there is no limit, or "not measured" if an earlier filter
    had rejected the clip or there was nothing to measure.
    """
    known = {item.name: item for item in info.measurements}
    names = [*known, *sorted((clip.measurements.keys() | clip.thresholds.keys()) - known.keys())]
    rows: list[dict[str, object]] = []
    for name in names:
        meaning = known.get(name)
        value, limit = clip.measurements.get(name), clip.thresholds.get(name)
        if value is None:
            verdict = "not measured"
        elif meaning is None or limit is None or meaning.direction == "none":
            verdict = ""
        else:
            verdict = "ok" if meaning.passes(value, limit) else "reject"
        rows.append(
            {
                "name": name,
                "title": meaning.title if meaning else name,
                "unit": meaning.unit if meaning else "",
                "direction": meaning.direction if meaning else "none",
                "measured": value,
                "threshold": limit,
                "verdict": verdict,
                "code": meaning.code if meaning else "",
            }
        )
    return rows


def _status_table(info: DatasetInfo) -> Table:
    counts = info.counts
    table = new_table("candidates", "rows", "share", right=("rows", "share"))
    for status in ("kept", "rejected", "failed", "quarantined"):
        number = getattr(counts, status)
        share = f"{number / counts.candidates:.1%}" if counts.candidates else ""
        table.add_row(status, f"{number:,}", share)
    return table


def _reject_table(info: DatasetInfo) -> Table:
    from tpbench.extraction.rows import OTHER_CODES

    titles = OTHER_CODES | {item.code: item.title for item in info.measurements if item.code}
    table = new_table("rejected for", "rows", "share", "measured", right=("rows", "share"))
    for code, number in info.counts.reject_codes.items():
        share = f"{number / info.counts.rejected:.1%}" if info.counts.rejected else ""
        table.add_row(code, f"{number:,}", share, titles.get(code, ""))
    return table


def _measurement_table(info: DatasetInfo, clip: Clip) -> Table:
    from rich.text import Text

    heads = ("measurement", "measured", "limit", "verdict")
    table = new_table(*heads, right=("measured",))
    signs = {"at_least": "\N{GREATER-THAN OR EQUAL TO}", "at_most": "\N{LESS-THAN OR EQUAL TO}"}
    styles = {"ok": "green", "reject": "red", "not measured": "dim"}
    for row in verdicts(info, clip):
        sign = signs.get(str(row["direction"]), "")
        limit = f"{sign} {_number(row['threshold'])} {row['unit']}".strip()
        verdict = str(row["verdict"])
        text = f"{verdict}: {row['code']}" if verdict == "reject" else verdict
        table.add_row(
            str(row["title"]),
            _number(row["measured"]),
            limit if row["threshold"] is not None else str(row["unit"]),
            Text(text, style=styles.get(verdict, "")),
        )
    return table


def _provenance(clip: Clip) -> list[tuple[str, str]]:
    facts = [("source", clip.source_path)]
    if clip.start_s is not None and clip.end_s is not None:
        frames = f"frames {clip.start_frame} to {clip.end_frame} (exclusive)"
        facts.append(("span", f"{clip.start_s:.3f} to {clip.end_s:.3f} s, {frames}"))
    if clip.fps is not None:
        facts.append(("frames", f"{clip.n_frames} at {clip.fps:g} frames/s"))
    corners = (clip.crop_x0, clip.crop_y0, clip.crop_x1, clip.crop_y1)
    if None not in corners:
        box = ", ".join(f"{value:.4f}" for value in corners if value is not None)
        size = f"{clip.source_width_px}x{clip.source_height_px} px"
        facts.append(("crop", f"x0, y0, x1, y1 = {box} as shares of {size}"))
    return facts


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else ""
