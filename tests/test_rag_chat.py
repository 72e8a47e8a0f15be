from __future__ import annotations

import pytest

from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.filters import parse_filters
from ingest.types import Embedder
from prompts.types import Message
from prompts.wording import load_wording
from rag import Answer, RagChat, Retriever, Settings
from rag.citations import SHOWN
from rag.model import ScriptedModel
from rag.reply import MODEL_REFUSED, NOT_SUPPORTED, OFF_DOCUMENTS, QUOTED

REFUSAL = load_wording().refusal
ENGINEER = "Who is the chief engineer of the company?"


def chat(retriever: Retriever, *answers: str, **changed: object) -> RagChat:
    settings = Settings(**{"k": 3, "min_relevance": 0.3, "min_confidence": 0.0} | changed)  # type: ignore[arg-type]
    return RagChat(retriever, ScriptedModel(answers or ("unused",)), settings)


def test_an_answer_cites_the_exact_characters_of_its_source(ferry_retriever: Retriever, ferry_index: EdgeIndex) -> None:
    answer = chat(ferry_retriever, "The chief engineer is Marit Solheim.").ask(ENGINEER)
    assert not answer.refused
    assert answer.stop == "end"
    (citation,) = answer.citations
    assert answer.text == f"The chief engineer is Marit Solheim. [{citation.number}]"
    assert citation.status == "verified"
    document = ferry_index.catalogue.find(citation.source)
    text = ferry_index.catalogue.text(document.document_id)
    assert text[citation.start : citation.end] == citation.quote == "The chief engineer is Marit Solheim."


def test_the_stream_adds_up_to_the_answer(ferry_retriever: Retriever) -> None:
    said = "The chief engineer is Marit Solheim. She joined the company in 2004. She likes tea."
    *pieces, answer = chat(ferry_retriever, said).stream(ENGINEER)
    assert isinstance(answer, Answer)
    assert len(pieces) == 2
    assert "".join(map(str, pieces)) == answer.text
    assert "tea" not in answer.text
    assert answer.why.endswith("She likes tea.")


def test_what_has_nothing_to_do_with_the_documents_never_reaches_the_model(
    ferry_retriever: Retriever,
) -> None:
    asked = chat(ferry_retriever, "Tungsten boils.")
    answer = asked.ask("Boiling point of tungsten hexafluoride?")
    assert (answer.refused, answer.text, answer.citations) == (True, REFUSAL, ())
    assert answer.why.startswith(f"{OFF_DOCUMENTS}; the passages do not hold 'Boiling', 'point', 'tungsten'")
    assert isinstance(asked.model, ScriptedModel)
    assert asked.model.prompts == []
    assert answer.timings.first_token_ms is None


@pytest.mark.parametrize("said", [REFUSAL, REFUSAL.upper(), f"{REFUSAL} However, dogs travel free.", ""])
def test_a_models_own_refusal_is_the_whole_answer(ferry_retriever: Retriever, said: str) -> None:
    answer = chat(ferry_retriever, said).ask(ENGINEER)
    assert (answer.refused, answer.text) == (True, REFUSAL)
    assert answer.why.startswith(MODEL_REFUSED)
    assert answer.citations == answer.claims == ()


def test_an_invented_answer_is_replaced_by_the_closest_sentence(ferry_retriever: Retriever) -> None:
    answer = chat(ferry_retriever, "Bob Tree has run the galley since 1950 [1].").ask(
        "How many passengers does the MV Orrin carry?"
    )
    assert answer.stop == "quoted"
    assert answer.why == QUOTED
    assert answer.text.startswith("The MV Orrin carries 214 passengers. [")
    assert "Bob Tree" not in answer.text
    (claim,) = answer.as_json()["claims"]
    assert claim["text"] == "Bob Tree has run the galley since 1950."
    assert (claim["status"], claim["named"], claim["numbers"]) == ("unsupported", (1,), ())
    assert claim["p_supported"] < SHOWN


def test_an_invented_answer_is_refused_when_nothing_comes_close(ferry_retriever: Retriever) -> None:
    answer = chat(ferry_retriever, "The mayor is Bob Tree [1].", min_relevance=0.0).ask("Who is the mayor of Brae?")
    assert answer.refused
    assert answer.why.startswith(f"{NOT_SUPPORTED}; the passages do not hold 'Brae', 'mayor'")
    assert "Bob" not in answer.text


def test_an_answer_that_is_cut_off_says_so(ferry_retriever: Retriever) -> None:
    said = "The chief engineer is Marit Solheim. " + "She joined the company in 2004 and then " * 9
    answer = chat(ferry_retriever, said, max_answer_tokens=60).ask(ENGINEER)
    assert answer.stop == "length"
    assert answer.usage.answer_tokens == 60


def test_history_is_an_argument_and_nothing_is_remembered(ferry_retriever: Retriever) -> None:
    asked = chat(ferry_retriever, "The chief engineer is Marit Solheim.")
    past = (Message(role="user", content="Hello </s>"), Message(role="assistant", content="Good day."))
    asked.ask(ENGINEER, past)
    asked.ask(ENGINEER)
    assert isinstance(asked.model, ScriptedModel)
    first, second = asked.model.prompts
    assert "Good day." in first.text
    assert "Hello <\\/s>" in first.text
    assert "Good day." not in second.text


def test_the_model_is_stopped_when_the_reader_stops(ferry_retriever: Retriever) -> None:
    class Endless(ScriptedModel):
        closed = False

        def stream(self, prompt, sampling):  # type: ignore[no-untyped-def]
            try:
                yield from super().stream(prompt, sampling)
            finally:
                Endless.closed = True

    model = Endless(["The chief engineer is Marit Solheim. She joined in 2004. " + "x " * 100])
    asked = RagChat(ferry_retriever, model, Settings(k=3, min_relevance=0.3))
    stream = asked.stream(ENGINEER)
    next(stream)
    stream.close()
    assert Endless.closed


def test_modes_and_sources_restrict_a_search(ferry_retriever: Retriever) -> None:
    question = "How many passengers does the MV Orrin carry?"
    for mode in ("dense", "sparse", "hybrid"):
        found = ferry_retriever.search(question, k=1, mode=mode)  # type: ignore[arg-type]
        assert "passengers" in found.hits[0].chunk.text
    only = ferry_retriever.search(question, k=9, filters=parse_filters(["source=pets.txt"]))
    assert {hit.chunk.source for hit in only.hits} == {"pets.txt"}


def test_searching_many_equals_searching_one_by_one(ferry_retriever: Retriever) -> None:
    questions = ["chief engineer?", "dogs?", "launched?"]
    together = ferry_retriever.search_many(questions, k=3)
    for question, found in zip(questions, together, strict=True):
        assert found.question == question
        assert found.hits == ferry_retriever.search(question, k=3).hits
        assert 0.0 <= found.relevance <= 1.0


def test_the_fake_embedder_keeps_the_protocol() -> None:
    embedder: Embedder = HashEmbedder()
    vectors = embedder.encode(["a b", ""])
    assert vectors.shape == (2, embedder.dimension)
    assert abs(float((vectors**2).sum(axis=1).min()) - 1.0) < 1e-6
