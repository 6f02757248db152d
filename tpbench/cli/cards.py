"""`tpbench card`."""

from __future__ import annotations

import typer

from tpbench.cli import options as opt
from tpbench.cli.output import print_json


def card(dataset: opt.DatasetFolder, as_json: opt.AsJson = False) -> None:
    """Write a dataset's datasheet (README.md) and croissant.json.

    What only you can know (its purpose, people's consent, a contact, the licence) is read from
    DATASET/card.yaml. The first time, a template of it is written, which is yours from then on.
    """
    from tpbench.dataset.cards import card_dataset
    from tpbench.dataset.statements import STATEMENTS_NAME

    made = card_dataset(dataset)
    if as_json:
        content = {
            "files": [path.name for path in made.files],
            "statements": STATEMENTS_NAME,
            "template_written": made.template_written,
            "not_stated": list(made.open_fields),
        }
        print_json(content, indent=1)
        return
    for path in made.files:
        typer.echo(f"written: {path}")
    yours = dataset / STATEMENTS_NAME
    if made.template_written:
        typer.echo(f"yours to fill in, then run this again: {yours}")
    elif made.open_fields:
        typer.echo(f"not stated in {yours}: {', '.join(made.open_fields)}")
