from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tpbench.extraction.report.samples import choose


@given(people=st.lists(st.integers(0, 8), max_size=40), limit=st.integers(1, 12))
def test_samples_go_to_other_people_first(people: list[int], limit: int) -> None:
    chosen = choose([str(person) for person in people], limit)

    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(limit, len(people))
    assert len({people[at] for at in chosen}) == min(limit, len(set(people)))
