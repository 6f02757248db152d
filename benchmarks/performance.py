"""Runs the benchmarks and writes what they print into docs/performance.md.

    make bench                                         # all of them, a good hour
    make bench SECTIONS="--only extract --only steps"  # these again; the others stay
    python -m benchmarks.performance --quick           # rougher, some minutes; writes nothing

The page holds nothing but what was measured. Each section says when, on which machine and at which
commit; one that was not run keeps what it has. The machine should have nothing else to do.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.sides import CHECKOUT, commit_of

PAGE: Final = CHECKOUT / "docs" / "performance.md"
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Figures of metrics are for one core, on either side."""
_HEAD: Final = """\
# Performance

Measured by `make bench`, which writes this page. Frames a second need a machine with nothing else
to do; processor time (CPU) holds on a busy one, too. Each section says what was run where, and how
many processes wanted a core when it began (load). Before a long extraction, measure your own
machine with `tpbench bench extract`: [extraction.md](extraction.md#how-fast-it-is).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One benchmark, and its place on the page."""

    name: str
    title: str
    module: str
    about: str
    """What stands above its figures."""
    one_thread: bool = True
    """Linear algebra on one thread."""
    has_quick: bool = False


SECTIONS: Final = (
    Section(
        name="extract",
        title="Extraction beside a plain loop",
        module="bench_extract",
        about=(
            "The plain loop decodes with OpenCV and runs MediaPipe's face detector, hand "
            "landmarker and pose landmarker on every frame; it writes nothing. It was run as one "
            "process and as two; ratios are to the faster form. tpbench writes the dataset. The "
            "start of processes is not counted, and stated. Of the mix, one video in five is a "
            "talk; the others are slides, a talk without its face, two people, a dark talk, and "
            "shots that are too short."
        ),
        one_thread=False,
        has_quick=True,
    ),
    Section(
        name="dwpose",
        title="DWPose beside a loop of rtmlib",
        module="bench_dwpose",
        about=(
            "On the processor, with networks of the sizes of YOLOX-l and DWPose-l and made-up "
            "weights. rtmlib runs picture by picture on all cores; tpbench in two processes of one "
            "thread."
        ),
        one_thread=False,
        has_quick=True,
    ),
    Section(
        name="steps",
        title="Extraction step by step",
        module="bench_steps",
        about="Each step alone, on the frames of a sample talk.",
        one_thread=False,
        has_quick=True,
    ),
    Section(
        name="growth",
        title="How extraction grows",
        module="bench_growth",
        about="One run for each row, the start of its processes included.",
        one_thread=False,
        has_quick=True,
    ),
    Section(
        name="scoring",
        title="Scoring beside scikit-image and the official TJE",
        module="bench_metrics_engine",
        about=(
            "PSNR, SSIM, TJE, drift and more in one pass, against one tool after the other. Memory "
            "kept: the C library was told not to give freed memory back to the system."
        ),
    ),
    Section(
        name="networks",
        title="LPIPS and the features of FVD",
        module="bench_metrics_networks",
        about="On the processor, with made-up weights; I3D is a network of its architecture.",
    ),
    Section(
        name="scoring-workers",
        title="Scoring with more workers",
        module="bench_metrics_workers",
        about="One folder, one worker against two.",
    ),
    Section(
        name="pixels",
        title="Pixel metrics",
        module="bench_metrics_pixel",
        about="Single metrics beside those of other libraries.",
    ),
    Section(
        name="frechet",
        title="Fréchet distances",
        module="bench_metrics_frechet",
        about="FID and FVD from features.",
    ),
    Section(
        name="memory",
        title="Memory of scoring",
        module="bench_metrics_memory",
        about="Peak memory by length of the clips.",
    ),
    Section(
        name="codec",
        title="What the codec costs",
        module="bench_metrics_codec",
        about="Scores of a clip that is only encoded again.",
    ),
    Section(
        name="warp",
        title="The classical baseline",
        module="bench_warp",
        about="Frames a second of `warp`.",
    ),
    Section(
        name="talkingpose",
        title="TalkingPose",
        module="bench_talkingpose",
        about="With made-up weights.",
    ),
)


def run(section: Section, *, quick: bool, more: list[str]) -> str:
    """Run a benchmark, show its output, and return it.

    Raises:
        SystemExit: it failed.
    """
    print(f"== {section.title}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{section.module}", *more]
    if quick and section.has_quick:
        command.append("--quick")
    environment = os.environ | (_ONE_THREAD if section.one_thread else {})
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603 - our own scripts
        command, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT, env=environment
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        sys.exit(f"{section.module}: exit code {process.returncode}; the page is as it was")
    return "".join(lines)


def as_markdown(output: str) -> str:
    """Return what a benchmark printed: tables stay, other lines become indented blocks."""
    blocks: list[str] = []
    for part in re.split(r"\n\s*\n", output.strip("\n")):
        is_table = part.startswith("|")
        blocks.append(part if is_table else "\n".join(f"    {line}" for line in part.splitlines()))
    return "\n\n".join(blocks)


def stamp() -> str:
    """Return date, machine, what else it has to do, and the commit."""
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    return f"{today} · {machine()}, load {os.getloadavg()[0]:.1f} · commit {commit_of(CHECKOUT)}"


def written(section: Section, output: str, stamp: str) -> str:
    """Return a section of the page."""
    about = textwrap.fill(section.about, 100)
    return f"## {section.title}\n\n{about}\n\n{stamp}\n\n{as_markdown(output)}\n"


def machine() -> str:
    """Return processor, cores, memory and Python of this machine, and no name of it."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*: (.+)$", info.read_text(encoding="utf-8"), re.MULTILINE)
        cpu = found[1] if found else cpu
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    memory = ""
    if hasattr(os, "sysconf"):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        memory = f", {total / 2**30:.0f} GB"
    return f"{cpu}, {cores} cores{memory}, Python {platform.python_version()}"


def sections_of(page: str) -> dict[str, str]:
    """Return the sections of a page by title."""
    parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].removeprefix("## "): part.rstrip() + "\n" for part in parts}


def save(title: str, text: str) -> None:
    """Replace one section of the page; the others stay, in the order of `SECTIONS`."""
    known = sections_of(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    known[title] = text
    order = [section.title for section in SECTIONS]
    kept = [known[name] for name in order if name in known]
    PAGE.write_text("\n".join([_HEAD, *kept]), encoding="utf-8")


def main() -> None:
    """Run the benchmarks and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=[one.name for one in SECTIONS])
    parser.add_argument("--quick", action="store_true", help="rough; the page is not written")
    parser.add_argument("more", nargs="*", help="arguments of the benchmark, behind --")
    options = parser.parse_args()
    if options.more and len(options.only or ()) != 1:
        parser.error("arguments of a benchmark need one --only")
    for section in SECTIONS:
        if options.only and section.name not in options.only:
            continue
        began = stamp()
        output = run(section, quick=options.quick, more=options.more)
        if not options.quick:
            save(section.title, written(section, output, began))


if __name__ == "__main__":
    main()
