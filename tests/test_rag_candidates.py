"""Which passages a turn is given: what is there stays in place, what is new comes behind it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.types import Chunk, ScoredChunk
from rag.candidates import ENOUGH, arrange, place
from rag.types import Conversation, Turn

POOL = [
    ScoredChunk(
        chunk=Chunk(
            id=str(n),
            document_id="d",
            source=f"{n % 3}.md",
            index=n,
            start=100 * n,
            end=100 * n + 4,
            text="text",
            headings=(),
            pages=(),
        ),
        score=1.0 / (n + 1),
    )
    for n in range(9)
]
CHOSEN = st.lists(st.sampled_from(POOL), unique_by=lambda hit: hit.chunk.id, max_size=6)


def after(hits: list[ScoredChunk]) -> Conversation:
    passages = tuple(candidate.passage for candidate in arrange(Conversation(), hits, follow_up=False).candidates)
    return Conversation(turns=(Turn(question="q", standalone="q", answer="a", passages=passages),))


def at(hit: ScoredChunk) -> tuple[str, int]:
    return hit.chunk.source, hit.chunk.start


@given(before=CHOSEN, hits=CHOSEN, follow_up=st.booleans())
def test_the_prompt_grows_at_its_end_or_starts_afresh(
    before: list[ScoredChunk], hits: list[ScoredChunk], follow_up: bool
) -> None:
    found = arrange(after(before), hits, follow_up=follow_up).candidates
    places = [place(candidate.passage) for candidate in found]
    old = [at(hit) for hit in before]
    assert len(set(places)) == len(places)
    assert [candidate.passage.number for candidate in found] == list(range(1, len(found) + 1))
    stays = bool(old) and (follow_up or any(at(hit) in old for hit in hits[:2]))
    if stays:
        assert places[: len(old)] == old
        assert set(places[len(old) :]) <= {at(hit) for hit in hits[:ENOUGH]}
        assert {at(hit) for hit in hits[:ENOUGH]} <= set(places)
    else:
        assert places == [at(hit) for hit in hits]
    ranks = {at(hit): rank for rank, hit in enumerate(hits, start=1)}
    assert [candidate.rank for candidate in found] == [ranks.get(where) for where in places]


def test_the_same_hits_again_need_nothing_new() -> None:
    found = arrange(after(POOL[:4]), [POOL[2], POOL[0]], follow_up=False).candidates
    assert [place(candidate.passage) for candidate in found] == [at(hit) for hit in POOL[:4]]


def test_a_turn_without_passages_is_looked_through() -> None:
    talk = after(POOL[:2])
    refused = Turn(question="off", standalone="off", answer="no")
    found = arrange(Conversation(turns=(*talk.turns, refused)), POOL[4:5], follow_up=True).candidates
    assert [place(candidate.passage) for candidate in found] == [at(POOL[0]), at(POOL[1]), at(POOL[4])]
