from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tpbench.dataset import SplitInfo
from tpbench.dataset.cards import render_card

if TYPE_CHECKING:
    from tpbench.dataset import Dataset


def test_card_states_counts_digest_codes_and_settings(small: Dataset) -> None:
    card = (small.folder / "README.md").read_text()

    assert "2 clips, 240 frames, 0.00 hours, 2 identities" in card
    assert small.digest in card
    assert "| `face.too_small` | Face height | 1 |" in card
    assert '"preset": "talkingpose"' in card
    assert f"| skeleton | `{'a' * 64}` |" in card
    assert "Not split yet" in card
    assert "| failed" not in card
    assert "| sources not readable | 1 |" in card


def test_card_head_is_yaml_whatever_the_name(small: Dataset) -> None:
    for name in ('say "hi": [no]', "# $name ${x}", "line\nbreak | *bold*"):
        card = render_card(small.info.model_copy(update={"name": name}))
        _, head, body = card.split("---\n", 2)

        assert yaml.safe_load(head)["pretty_name"] == name
        assert len([line for line in body.splitlines() if line.startswith("# ")]) == 1


def test_card_tells_of_the_split(small: Dataset) -> None:
    split = SplitInfo(
        test_share=0.1,
        seed=4,
        train_clips=1234,
        test_clips=5,
        train_identities=6,
        test_identities=7,
    )
    card = render_card(small.info.model_copy(update={"split": split}))

    assert "test share 0.1, seed 4" in card
    assert "| train | 1,234 | 6 |" in card


def test_settings_cannot_break_out_of_their_fence(small: Dataset) -> None:
    config = {"note": "```\n~~~~\n# owned"}
    card = render_card(small.info.model_copy(update={"config": config}))

    assert "\n# owned" not in card
