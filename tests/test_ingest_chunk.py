"""Chunks: exact offsets, nothing lost, nothing twice, nothing over the embedder's window."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_support import CORPUS, corpus_document, document_of

from ingest.chunk import SPECIAL_TOKENS, ChunkPolicy, chunk_document, embedding_text
from ingest.embed import Words, open_embedder
from ingest.types import Document, TokenCounter

MINILM = open_embedder().counter
WINDOW = open_embedder().window

_ODD = (
    "a\u0301 e\u0308\u0323 \u200b \u00ad \ufeff 한국어 조선말 漢字かな交じり文 ไทยไม่เว้นวรรค 👩‍👩‍👧‍👦🏳️‍🌈 "
    "\u2028 \x85 \x1c \t \x00 ﷺ ﬁ Å ẞ"
)
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60),
    st.lists(st.sampled_from([*"Aé.!?。\n \t|-0'", *_ODD.split(" "), "word ", "Next one. "]), min_size=1).map("".join),
    st.integers(1, 120).map(lambda count: "Sentence number one is here. " * count),
    st.sampled_from(["x" * 5000, "漢" * 900, "한" * 300, "👍🏽" * 200, "é" * 400, "a\u0301" * 700, "1.2.3-" * 150]),
    st.integers(1, 60).map(lambda rows: "\n".join(f"row {row} | {row * 7} | ok" for row in range(rows))),
).filter(lambda text: bool(text.strip()))
PARTS = st.lists(
    st.tuples(
        TEXTS.map(str.strip),
        st.sampled_from(["title", "text", "list", "table", "code"]),
        st.integers(0, 6),
    ),
    min_size=1,
    max_size=12,
)


def check(document: Document, counter: TokenCounter, policy: ChunkPolicy) -> None:
    text = document.text
    chunks = chunk_document(document, counter, policy)
    end = 0
    for position, chunk in enumerate(chunks):
        assert chunk.index == position
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip()
        assert chunk.start >= end
        assert not text[end : chunk.start].strip(), "lost between two chunks"
        end = chunk.end
        whole = embedding_text(chunk, counter, policy)
        assert whole.endswith(chunk.text)
        assert len(counter.offsets(whole)) + SPECIAL_TOKENS <= policy.window
        assert len(chunk.text) <= policy.longest
    assert not text[end:].strip(), "lost at the end"
    assert "".join("".join(c.text.split()) for c in chunks) == "".join(text.split())
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert chunk_document(document, counter, policy) == chunks


@settings(max_examples=20, deadline=None)
@given(PARTS)
def test_made_documents_in_the_real_window(parts: list[tuple[str, str, int]]) -> None:
    check(document_of(parts), MINILM, ChunkPolicy(window=WINDOW))


@settings(max_examples=8, deadline=None)
@given(PARTS, st.integers(8, 40))
def test_made_documents_in_a_tiny_window(parts: list[tuple[str, str, int]], window: int) -> None:
    check(document_of(parts), MINILM, ChunkPolicy(window=window))
    check(document_of(parts), Words(), ChunkPolicy(window=window))


@settings(max_examples=8, deadline=None)
@given(st.lists(TEXTS.map(str.strip), min_size=1, max_size=5), TEXTS.map(str.strip))
def test_headings_longer_than_the_window(titles: list[str], body: str) -> None:
    parts = [(f"{title} heading " * 40, "title", depth) for depth, title in enumerate(titles)]
    check(document_of([*parts, (body, "text", 0)]), MINILM, ChunkPolicy(window=WINDOW))


@pytest.mark.parametrize("name", sorted(str(p.relative_to(CORPUS)) for p in CORPUS.rglob("*.*")))
def test_the_real_corpus(name: str) -> None:
    document = corpus_document(name)
    for window in (WINDOW, 32):
        check(document, MINILM, ChunkPolicy(window=window))


def test_a_page_of_titles_is_not_one_chunk_a_title() -> None:
    document = document_of([(f"Section {n} about the harbour and its boats", "title", 1) for n in range(100)])
    chunks = chunk_document(document, MINILM, ChunkPolicy(window=WINDOW))
    assert len(chunks) < 10


def test_a_heading_stays_with_the_text_below_it() -> None:
    sentence = "The boat leaves the pier at nine in the morning and comes back at night. "
    parts = [
        ("First", "title", 0),
        (sentence * 8, "text", 0),
        ("Second", "title", 0),
        (sentence * 8, "text", 0),
    ]
    chunks = chunk_document(document_of(parts), MINILM, ChunkPolicy(window=WINDOW))
    assert [chunk.text.split("\n")[0] for chunk in chunks] == ["First", "Second"]
    assert [chunk.headings for chunk in chunks] == [("First",), ("Second",)]


def test_the_heading_path_is_embedded_with_the_text() -> None:
    parts = [("Boats", "title", 0), ("Orrin", "title", 1), ("She carries 214 passengers. " * 90, "text", 0)]
    policy = ChunkPolicy(window=WINDOW)
    chunks = chunk_document(document_of(parts), MINILM, policy)
    assert embedding_text(chunks[-1], MINILM, policy).startswith("Boats > Orrin\nShe carries")


def test_a_table_is_cut_between_rows() -> None:
    rows = "\n".join(f"Station {n} | {n * 13} crowns | open from May to September" for n in range(60))
    chunks = chunk_document(document_of([(rows, "table", 0)]), MINILM, ChunkPolicy(window=WINDOW))
    assert len(chunks) > 1
    assert [line for chunk in chunks for line in chunk.text.split("\n")] == rows.split("\n")


def test_rows_that_are_parted_from_their_header_have_it_among_their_headings() -> None:
    header = "Station | Fee | Season"
    rows = "\n".join([header, *(f"Station {n} | {n * 13} crowns | from May to September" for n in range(120))])
    parts = [("Fees", "title", 0), (rows, "table", 0), ("Dogs travel free. " * 40, "text", 0)]
    policy = ChunkPolicy(window=WINDOW)
    first, *others = chunk_document(document_of(parts), MINILM, policy)
    assert first.headings == ("Fees",)
    assert header in first.text
    inner = [chunk for chunk in others if chunk.text.startswith("Station") and "Dogs" not in chunk.text]
    assert len(inner) > 2
    for chunk in inner:
        assert chunk.headings == ("Fees", header)
        assert embedding_text(chunk, MINILM, policy).startswith(f"Fees > {header}\nStation")
    assert others[-1].headings == ("Fees",)


@pytest.mark.parametrize("first", ["1 | 2 | 3", " |  | ", "Name " * 80])
def test_a_first_row_that_cannot_be_a_header_is_none(first: str) -> None:
    rows = "\n".join([first, *(f"Station {n} | {n * 13} crowns | from May to September" for n in range(60))])
    chunks = chunk_document(document_of([(rows, "table", 0)]), MINILM, ChunkPolicy(window=WINDOW))
    assert len(chunks) > 2
    assert {chunk.headings for chunk in chunks} == {()}


def test_rows_and_lines_of_code_are_cut_at_sentences_only_when_they_are_too_long() -> None:
    short = "\n".join(f"{n} | Who pays? The guest. He pays. | yes" for n in range(60))
    for kind in ("table", "code"):
        chunks = chunk_document(document_of([(short, kind, 0)]), MINILM, ChunkPolicy(window=WINDOW))
        assert [line for chunk in chunks for line in chunk.text.split("\n")] == short.split("\n")
    long = "Rules | " + "The guest pays at the desk before he leaves. " * 60
    chunks = chunk_document(document_of([(long.strip(), "table", 0)]), MINILM, ChunkPolicy(window=WINDOW))
    assert len(chunks) > 2
    assert all(chunk.text.endswith("leaves.") for chunk in chunks)
