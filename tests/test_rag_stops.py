"""Stop texts in a stream: found however the pieces are cut, and never shown."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rag.model import StopText


@given(
    text=st.text("ab#", max_size=30),
    stops=st.lists(st.text("ab#", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=10),
)
def test_what_is_shown_is_what_stands_before_the_first_stop(text: str, stops: list[str], cuts: list[int]) -> None:
    borders = [0, *sorted(cut for cut in cuts if cut <= len(text)), len(text)]
    stop_text = StopText(stops)
    shown = ""
    for start, end in pairwise(borders):
        shown += stop_text.feed(text[start:end])
        if stop_text.found:
            break
    shown += stop_text.finish()
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    assert stop_text.found == bool(found)
    if not found:
        assert shown == text
    else:
        # a stop that is complete early ends the answer, even where a longer one began before it
        assert text.startswith(shown)
        assert any(text.startswith(stop, len(shown)) for stop in stops)
