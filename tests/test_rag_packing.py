"""Hits become passages: exact, within the budget, none twice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.chunk import ChunkPolicy, chunk_document
from ingest.embed import HashEmbedder
from ingest.late import late_query, token_codes
from ingest.types import Chunk, Document, Element, ScoredChunk
from rag.grounding import Grounding
from rag.matching import Matches, Span, matches_of
from rag.packing import REPEATED, Budget, Packing, overlaps, pack, units_of, whole
from rag.types import Passage
from rag.windows import CONTEXT

SENTENCES = (
    "The ferry leaves at 06:40.",
    "Dogs travel free on the open deck!",
    "E-17 means that the anchor drags.",
    "fare | adult | child",
    "night | 12 | 6",
    "    return fare * 2",
    "e.g. on Sundays there is none.",
    "The office is in Harbour Street, behind the old customs house and the fish market.",
)


def document(name: str, lines: Sequence[str]) -> Document:
    elements = []
    at = 0
    for line in ("Handbook", *lines):
        elements.append(
            Element(text=line, kind="title" if not at else "text", page=1 + at // 200, start=at, end=at + len(line))
        )
        at += len(line) + 1
    return Document(id=str(uuid5(NAMESPACE_URL, name)), source=name, content_hash=name, elements=tuple(elements))


def chunks_of(found: Document, target: int = 24) -> tuple[Chunk, ...]:
    return chunk_document(found, HashEmbedder().counter, ChunkPolicy(window=256, target=target, smallest=4))


def by_words(*words: str) -> Matches:
    def matches(hit: ScoredChunk, spans: Sequence[Span]) -> list[float]:
        return [sum(word in hit.chunk.text[start:end] for word in words) / len(words) for start, end in spans]

    return matches


def budget(tokens: int) -> Budget:
    return Budget(tokens=tokens, count=len, frame=lambda chunk: f"[1] {chunk.source}\n{chunk.text}")


def size(packing: Packing) -> int:
    return sum(len(f"[1] {packed.passage.source}\n{packed.passage.text}") for packed in packing.passages)


def scored(chunks: Sequence[Chunk]) -> list[ScoredChunk]:
    return [ScoredChunk(chunk=chunk, score=1.0 / rank) for rank, chunk in enumerate(chunks, start=1)]


@st.composite
def found(draw: st.DrawFn) -> tuple[list[ScoredChunk], dict[str, str]]:
    """Some chunks of some documents in any order, and the documents' texts by id."""
    lines = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=14)
    documents = [document(f"{n}.md", draw(lines)) for n in range(draw(st.integers(1, 3)))]
    chunks = [chunk for one in documents for chunk in chunks_of(one)]
    chosen = draw(st.lists(st.sampled_from(chunks), unique_by=lambda chunk: (chunk.source, chunk.start), max_size=8))
    return scored(chosen), {one.id: one.text for one in documents}


@given(made=found(), tokens=st.integers(64, 1500), joined=st.booleans(), taken=st.integers(0, 2))
def test_passages_are_exact_apart_within_the_budget_and_always_the_same(
    made: tuple[list[ScoredChunk], dict[str, str]], tokens: int, joined: bool, taken: int
) -> None:
    hits, texts = made
    there = [packed.passage for packed in whole(hits[:taken], ()).passages]
    run = partial(
        pack,
        hits,
        there,
        matches=by_words("ferry", "Harbour", "fare"),
        budget=budget(tokens),
        text_of=texts.__getitem__ if joined else None,
    )
    packing = run()
    assert packing == run()
    passages = [packed.passage for packed in packing.passages]
    by_source = {hit.chunk.source: texts[hit.chunk.document_id] for hit in hits}
    for packed in packing.passages:
        passage = packed.passage
        assert passage.text == by_source[passage.source][passage.start : passage.end]
        assert passage.text == passage.text.strip()
        assert len(passage.text) <= packed.whole + len(hits)
        assert overlaps(passage, hits[packed.rank - 1].chunk)
    every = sorted([*passages, *there], key=lambda passage: (passage.source, passage.start))
    for one, two in pairwise(every):
        assert one.source != two.source or one.end <= two.start
    assert [passage.number for passage in passages] == list(range(1, len(passages) + 1))
    longest = max((end - start for hit in hits for start, end in units_of(hit.chunk.text)), default=0)
    alone = CONTEXT + longest + len("[1] 0.md\n")  # the first window, which is taken even if it does not fit
    assert size(packing) <= max(tokens, alone) + 2 * len(passages)
    if hits and not there:
        assert packing.passages[0].rank == 1
    kept = {hit.chunk.id for hit in hits if any(overlaps(passage, hit.chunk) for passage in [*passages, *there])}
    assert len(packing.left_out) == len(hits) - len(kept)


@given(made=found())
def test_what_fits_is_put_in_whole(made: tuple[list[ScoredChunk], dict[str, str]]) -> None:
    hits, texts = made
    packing = pack(hits, matches=by_words("ferry"), budget=budget(100_000), text_of=texts.__getitem__)
    said = "\n".join(packed.passage.text for packed in packing.passages)
    for hit in hits:
        for start, end in units_of(hit.chunk.text):
            assert hit.chunk.text[start:end] in said


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("One. Two!\nThree", ["One.", "Two!", "Three"]),
        ("It runs, e.g. on Sundays. Not now.", ["It runs, e.g. on Sundays.", "Not now."]),
        ("A line that was\nbroken by hand.\nNext", ["A line that was\nbroken by hand.", "Next"]),
        ("def fare():\n    return 2\nThen", ["def fare():\n    return 2", "Then"]),
        ("Ends here.\ndbname\nThe name.", ["Ends here.", "dbname", "The name."]),
        ("", []),
    ],
)
def test_units_are_whole_sentences_and_blocks_of_code(text: str, units: list[str]) -> None:
    assert [text[start:end] for start, end in units_of(text)] == units


def prose(name: str, count: int) -> Document:
    return document(name, [f"Sentence {n} of {name} says that berth {n} is closed today." for n in range(count)])


def test_a_window_is_cut_around_the_sentence_that_matches() -> None:
    one = prose("a.md", 12)
    (chunk,) = chunks_of(one, target=240)
    packing = pack(scored([chunk]), matches=by_words("Sentence 7 "), budget=budget(110))
    (packed,) = packing.passages
    assert "berth 7 is" in packed.passage.text
    assert packed.passage.text.startswith("Sentence ")
    assert packed.passage.text.endswith("today.")
    assert len(packed.passage.text) < packed.whole == len(chunk.text)


def test_neighbours_are_joined_over_the_border_only_with_the_text_at_hand() -> None:
    one = prose("a.md", 8)
    first, second, *_ = chunks_of(one, target=40)
    assert first.headings == second.headings
    run = partial(pack, scored([second, first]), matches=by_words("berth"), budget=budget(10_000))
    (joined,) = run(text_of=lambda _: one.text).passages
    assert (joined.passage.start, joined.passage.end) == (first.start, second.end)
    assert joined.passage.text == one.text[first.start : second.end]
    assert (joined.rank, joined.passage.score) == (1, 1.0)
    assert [packed.passage.text for packed in run().passages] == [second.text, first.text]


def test_a_copy_is_left_out_and_what_a_near_copy_adds_is_kept() -> None:
    def chunk(name: str, last: str) -> Chunk:
        lines = ["The ferry to the island leaves at 06:40 each day.", "Dogs travel free on the open deck.", last]
        (only,) = chunks_of(document(name, lines), target=240)
        return only

    old, copy, new = (
        chunk("a.md", "The fare is 12."),
        chunk("b.md", "The fare is 12."),
        chunk("c.md", "The fare is 14."),
    )
    packing = pack(scored([old, copy, new]), matches=by_words("fare"), budget=budget(10_000))
    assert [(out.source, out.why) for out in packing.left_out] == [("b.md", REPEATED)]
    sources = {packed.passage.source: packed.passage.text for packed in packing.passages}
    assert set(sources) == {"a.md", "c.md"}
    assert "The fare is 14." in sources["c.md"]


def test_a_window_in_a_table_begins_with_its_header() -> None:
    rows = ["boat | fare", *(f"Orrin {n} | {n}" for n in range(9))]
    (chunk,) = chunks_of(document("a.md", ["Prices of this year and of the last one.", *rows]), target=240)
    budget_ = Budget(tokens=90, count=lambda text: len(text) // 4, frame=lambda chunk: chunk.text)
    (packed,) = pack(scored([chunk]), matches=by_words("Orrin 5"), budget=budget_).passages
    assert "boat | fare" in packed.passage.text


def test_what_stands_there_already_is_not_added_again() -> None:
    one = prose("a.md", 8)
    (chunk,) = chunks_of(one, target=240)
    (window,) = pack(scored([chunk]), matches=by_words("Sentence 3 "), budget=budget(110)).passages
    rest = pack(scored([chunk]), [window.passage], matches=by_words("berth"), budget=budget(10_000))
    assert window.passage.text not in "".join(packed.passage.text for packed in rest.passages)
    assert rest.left_out == ()
    everything = Passage.of(chunk, number=1, score=1.0)
    assert pack(scored([chunk]), [everything], matches=by_words("berth"), budget=budget(10_000)) == Packing(passages=())


@pytest.mark.parametrize("codes", [True, False])
def test_the_sentence_with_the_words_of_the_question_matches_best(codes: bool) -> None:
    embedder = HashEmbedder()
    (chunk,) = chunks_of(document("a.md", SENTENCES[:3]), target=240)
    text = f"{' > '.join(chunk.headings)}\n{chunk.text}"
    shift = len(text) - len(chunk.text)
    _, (tokens,) = embedder.encode_tokens([text])
    question = "What does E-17 say of the anchor?"
    _, (asked,) = embedder.encode_tokens([question])
    hit = ScoredChunk(chunk=chunk, score=1.0, codes=token_codes(tokens.vectors) if codes else b"")
    matches = matches_of(
        question,
        late_query(asked, [False] * len(asked.spans)),
        lambda _: [(start - shift, end - shift) for start, end in tokens.spans],
        Grounding(),
    )
    spans = units_of(chunk.text)
    found = matches(hit, spans)
    start, end = spans[max(range(len(spans)), key=lambda k: found[k])]
    assert chunk.text[start:end] == SENTENCES[2]
    assert all(0 <= match <= 1.2 for match in found)
