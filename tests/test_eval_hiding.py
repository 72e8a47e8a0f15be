"""Hidden passages: they are never found, and what is found instead is what an index without them has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eval_support import TEXTS, EchoModel, MemoryIndex, memory_chat
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.hiding import HiddenPassages, without
from eval.manifest import run_facts
from eval.run import answer_case, key_of
from eval.types import Case
from ingest.embed import HashEmbedder
from ingest.index import open_index
from ingest.pipeline import ingest
from ingest.types import SearchMode
from prompts.types import Message
from rag.retriever import Retriever
from rag.settings import Settings

WORDS = st.lists(
    st.sampled_from(["ferry", "boat", "crew", "deck", "sails", "on", "at", "dawn"]), min_size=1, max_size=6
)
QUESTION = "How many passengers does the MV Orrin carry?"
ORRIN = "MV  Orrin\ncarries 214"
CASE = Case(id="c", question="How many passengers does boat 3 carry?")


@pytest.fixture(scope="module")
def retriever(ferry_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retriever]:
    """One index for all tests: they only read it."""
    embedder = HashEmbedder()
    with open_index(str(tmp_path_factory.mktemp("hiding") / "index"), embedder, create=True) as index:
        ingest([ferry_folder], index, embedder, workers=1)
        yield Retriever(index, embedder)


@given(texts=st.lists(WORDS.map(" ".join), max_size=30), words=WORDS, limit=st.integers(1, 12), data=st.data())
@settings(max_examples=150, deadline=None)
def test_it_finds_what_an_index_without_them_finds(
    texts: list[str], words: list[str], limit: int, data: st.DataObject
) -> None:
    hidden = data.draw(st.lists(st.sampled_from(["ferry", "crew deck", "at  dawn", "boat\nsails"]), max_size=3))
    flat = [" ".join(text.split()) for text in hidden]
    index = MemoryIndex(texts)
    rest = MemoryIndex([])
    rest.chunks = [chunk for chunk in index.chunks if not any(text in chunk.text for text in flat)]
    (dense,) = index.embedder.encode([" ".join(words)])
    assert HiddenPassages(index, hidden).search(dense, None, limit=limit) == rest.search(dense, None, limit=limit)


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
def test_in_a_real_index(retriever: Retriever, mode: SearchMode) -> None:
    plain = retriever.search(QUESTION, k=3, mode=mode)
    assert any("214 passengers" in hit.chunk.text for hit in plain.hits)
    other = without(retriever, (ORRIN,)).search(QUESTION, k=3, mode=mode)
    assert not any("214 passengers" in hit.chunk.text for hit in other.hits)
    assert other.coverage <= plain.coverage
    if mode != "sparse":
        assert other.hits
        assert other.best_cosine is not None
        assert plain.best_cosine is not None
        assert other.best_cosine < plain.best_cosine
    assert retriever.search(QUESTION, k=3, mode=mode).hits == plain.hits


def test_nothing_hidden_changes_nothing(retriever: Retriever) -> None:
    assert without(retriever, ()) is retriever


def test_all_hidden_is_a_refusal() -> None:
    chat = memory_chat(EchoModel(), Settings(min_relevance=0.01))
    line = answer_case(chat, replace(CASE, hidden=("boat",)), frozenset())
    assert line["refused"] is True
    assert (line["passages"], line["retrieved"], line["search"]["hits"]) == ([], [], [])


def test_neither_prompt_nor_ranking_has_it() -> None:
    model = EchoModel()
    line = answer_case(memory_chat(model), replace(CASE, hidden=("boat 3",)), frozenset())
    assert len(line["passages"]) == len(line["retrieved"]) == len(TEXTS) - 1
    assert not any("boat 3" in passage["text"] for passage in (*line["passages"], *line["retrieved"]))
    assert TEXTS[3] not in model.prompts[0].text


def test_nor_has_a_follow_up() -> None:
    past = (
        Message(role="user", content="How many passengers does boat 3 carry?"),
        Message(role="assistant", content="Boat 3 carries many passengers."),
    )
    model = EchoModel()
    line = answer_case(
        memory_chat(model), Case(id="f", question="Is it?", history=past, hidden=("boat 3",)), frozenset()
    )
    assert line["standalone"].startswith(past[0].content)
    assert TEXTS[3] not in model.prompts[0].text
    assert TEXTS[3] not in [hit["text"] for hit in line["retrieved"]]


def test_the_chat_itself_is_left_as_it_was() -> None:
    chat = memory_chat(EchoModel())
    before: Any = answer_case(chat, CASE, frozenset())
    answer_case(chat, replace(CASE, hidden=("boat 3",)), frozenset())
    after: Any = answer_case(chat, CASE, frozenset())
    assert before["passages"] == after["passages"]


def test_what_is_hidden_is_in_the_key() -> None:
    chat = memory_chat(EchoModel())
    facts = run_facts(chat, {"name": "echo"})
    assert key_of(CASE, facts) != key_of(replace(CASE, hidden=("boat",)), facts)
