"""How often intervals and marks are wrong, by simulation: the tables of `docs/statistics.md`.

    python -m benchmarks.bench_statistics [--samples 1000] [coverage marks power comparisons]

In bold today's method, in brackets the one it replaced, on the same samples or as many of them as
stand there. Populations: `tests/metrics/simulations.py`.
"""

from __future__ import annotations

import argparse

from tests.metrics.simulations import (
    BEYOND,
    IDENTITIES,
    MODELS,
    POPULATIONS,
    Field,
    comparisons,
    coverage,
    marks,
)


def _print_coverage(samples: int) -> None:
    print("\n| values | " + " | ".join(f"{count} people" for count in IDENTITIES) + " |")
    print("|---|" + "---|" * len(IDENTITIES))
    for population in POPULATIONS | BEYOND:
        cells = []
        for count in IDENTITIES:
            new = coverage(population, count, samples)
            free = coverage(population, count, samples, bounded=False)
            old = coverage(population, count, samples, method="old")
            cell = f"**{100 * new.share:.1f}** ({100 * old.share:.1f})"
            if old.width:
                cell += f", {new.width / old.width:.2f}x"
            if free.blank > 0.005:
                cell = f"**{100 * new.share:.1f}**; {100 * free.share:.1f}, "
                cell += f"{100 * free.blank:.0f} % blank ({100 * old.share:.1f})"
            cells.append(cell)
        print(f"| {population} | " + " | ".join(cells) + " |", flush=True)


def _print_marks(tables: int) -> None:
    fields = {
        "normal, 2 clips each, alike 0.8": Field(),
        "normal, alike 0": Field(alike=0.0),
        "heavy tails (t, 3 degrees), 0.8": Field(noise="heavy"),
        "skewed (lognormal), alike 0.5": Field(noise="skewed", alike=0.5),
        "normal, unequal (Pareto 1.2), 0.8": Field(clips="unequal"),
        "skewed, unequal, 0.5": Field(noise="skewed", clips="unequal", alike=0.5),
        "shares, 76 % of people all 1": Field(noise="shares"),
    }
    print("\n| models | people | " + " | ".join(f"{models}" for models in MODELS) + " |")
    print("|---|---|" + "---|" * len(MODELS))
    for name, field in fields.items():
        for count in (6, *IDENTITIES[1:]):
            cells = []
            for models in MODELS:
                new = marks(field, count, models, tables)[0]
                cell = f"**{100 * new:.1f}**"
                if field == Field():
                    before = marks(field, count, models, max(20, tables // 10), method="old")[0]
                    cell += f" ({100 * before:.0f})"
                cells.append(cell)
            print(f"| {name} | {count} | " + " | ".join(cells) + " |", flush=True)


def _print_power(tables: int) -> None:
    print("\n| behind by (sd of a person's difference) | people | 2 | 10 | 30 models |")
    print("|---|---|---|---|---|")
    for behind in (0.5, 1.0, 2.0):
        for count in IDENTITIES[1:]:
            cells = []
            for models in MODELS:
                field = Field(behind=behind)
                new = marks(field, count, models, tables)[1]
                old = marks(field, count, models, max(20, tables // 10), method="old")[1]
                cells.append(f"**{100 * new:.0f}** ({100 * old:.0f})")
            print(f"| {behind} | {count} | " + " | ".join(cells) + " |", flush=True)


def _print_comparisons(trials: int) -> None:
    print("\n| metrics | " + " | ".join(f"{count} people" for count in IDENTITIES[1:]) + " |")
    print("|---|" + "---|" * len(IDENTITIES[1:]))
    for metrics in (1, 10, 50):
        cells = []
        for count in IDENTITIES[1:]:
            new = comparisons(count, metrics, trials)
            old = comparisons(count, metrics, max(20, trials // 10), method="old")
            cells.append(f"**{100 * new:.1f}** ({100 * old:.0f})")
        print(f"| {metrics} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Print the tables asked for."""
    tables = {
        "coverage": _print_coverage,
        "marks": _print_marks,
        "power": _print_power,
        "comparisons": _print_comparisons,
    }
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("tables", nargs="*", choices=[[], *tables], default=[])
    arguments = parser.parse_args()
    for name in arguments.tables or tables:
        tables[name](arguments.samples)


if __name__ == "__main__":
    main()
