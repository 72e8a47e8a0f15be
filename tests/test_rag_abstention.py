from __future__ import annotations

import json
import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.embed import HashEmbedder
from ingest.index import open_index
from ingest.pipeline import ingest
from ingest.types import Chunk, ScoredChunk
from prompts.types import Message, Prompt
from prompts.wording import load_wording
from rag import RagChat, Retriever, Settings
from rag.abstention import (
    ANSWER,
    MODEL,
    SEARCH,
    Attempt,
    Missing,
    Signals,
    answer_signals,
    missing_words,
    names_of,
    search_signals,
)
from rag.confidence import STAGES, Abstention, load_abstention, read_abstention
from rag.errors import SettingsError
from rag.grounding import Grounding
from rag.llama import LlamaModel
from rag.model import ScriptedModel
from rag.models import find_model
from rag.reply import DOUBTFUL, MODEL_REFUSED
from rag.retriever import Retrieval
from rag.types import Likelihood, Sampling

REFUSAL = load_wording().refusal
NOTHING = Missing(names=(), numbers=(), words=())
ENGINEER = "Who is the chief engineer of the company?"
MARIT = "The chief engineer is Marit Solheim."


def retrieval(question: str, *texts: str, cosine: float | None = 0.5) -> Retrieval:
    grounding = Grounding()
    hits = tuple(
        ScoredChunk(
            chunk=Chunk(
                id=str(at),
                document_id="d",
                source="a.txt",
                index=at,
                start=0,
                end=len(text),
                text=text,
                headings=("Boats",),
                pages=(),
            ),
            score=1.0 / (at + 1),
        )
        for at, text in enumerate(texts)
    )
    return Retrieval(
        question=question,
        hits=hits,
        best_cosine=cosine,
        coverage=grounding.coverage(question, list(texts)),
        best_sentence=grounding.best_sentence(question, list(texts)),
        embed_ms=0.0,
        search_ms=0.0,
    )


def signals_of(found: Retrieval, grounding: Grounding) -> Signals:
    return search_signals(found, missing_words(found, grounding), grounding)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Who built the Eiffel Tower?", ["Eiffel", "Tower"]),
        ("Tesla died when?", []),
        ("iPhone prices?", ["iPhone"]),
        ("what does max_wal_size do", ["max_wal_size"]),
        ("Does the VIS-1 fit?", ["VIS-1"]),
        ('what is a "red light"?', ["red light"]),
        ("Is it Solheim's boat?", ["Solheim"]),
        ("", []),
    ],
)
def test_names_are_quoted_texts_identifiers_and_capitals(text: str, names: list[str]) -> None:
    assert list(names_of(text)) == names


def test_what_the_passages_lack_is_named() -> None:
    asked = retrieval("How many passengers did the Orrin carry to Oslo in 1987 and 2,004?", "The Orrin carries 214.")
    found = missing_words(asked, Grounding())
    assert found.names == ("Oslo",)
    assert found.numbers == ("1987", "2,004")
    assert "passengers" in found.words
    assert "carry" not in found.words


def test_a_number_counts_however_it_is_written() -> None:
    assert missing_words(retrieval("Who has 2,004 boats?", "He has 2004 boats."), Grounding()).numbers == ()
    assert missing_words(retrieval("Who has 12 boats?", "He has twelve boats."), Grounding()).numbers == ()


@given(st.text(max_size=80), st.lists(st.text(max_size=60), max_size=3))
def test_signals_of_any_search_are_finite_shares(question: str, texts: list[str]) -> None:
    found = signals_of(retrieval(question, *texts, cosine=None), Grounding())
    assert tuple(found) == SEARCH
    assert [found.pop(name) for name in ("cosine", "late", "weakest")] == [None] * 3
    assert all(value is not None and 0.0 <= value <= 1.0 for value in found.values())


def test_signals_of_an_answer() -> None:
    grounding = Grounding()
    attempt = Attempt(supports=(0.9, 0.7), left_out=2, shown="The engineer is Marit.")
    assert answer_signals(attempt, "Who is the engineer?", grounding) == pytest.approx(
        {"declined": 0.0, "left_out": 0.5, "support": 0.8, "focus": 1.0}
    )
    nothing = answer_signals(Attempt(declined=True), "Who is the engineer?", grounding)
    assert nothing == {"declined": 1.0, "left_out": 0.0, "support": 0.0, "focus": 0.0}


# The weights


def weights(*stages: str, threshold: float = 0.5, **weight: float) -> dict[str, Any]:
    return {
        "fitted_on": {},
        "stages": {
            name: {
                "intercept": 0.0,
                "threshold": threshold,
                "signals": {
                    signal: {"mean": 0.5, "scale": 0.25, "weight": weight.get(signal, 0.0)} for signal in STAGES[name]
                },
            }
            for name in STAGES
            if name in stages
        },
    }


def abstention(*stages: str, threshold: float = 0.5, **weight: float) -> Abstention:
    return read_abstention(weights(*(stages or STAGES), threshold=threshold, **weight), "test")


def test_the_shipped_weights_are_sound() -> None:
    shipped = load_abstention()
    assert tuple(shipped.stages) == tuple(STAGES)
    assert read_abstention(json.loads(json.dumps(shipped.as_json())), "again") == shipped
    good = dict.fromkeys(SEARCH, 1.0) | {"cosine": 0.7, "late": 0.8, "weakest": 0.7}
    good |= {"names_missing": 0.0, "numbers_missing": 0.0}
    bad = dict.fromkeys(SEARCH, 0.0) | {"cosine": 0.1, "late": 0.3, "weakest": 0.2, "names_missing": 1.0}
    for stage in shipped.stages.values():
        assert stage.signals["sentence"].weight > 0
    assert shipped.judge(bad, NOTHING).confidence < 0.3 < 0.7 < shipped.judge(good, NOTHING).confidence


def test_the_logit_is_the_sum_of_the_parts_and_far_values_are_bounded() -> None:
    stage = abstention(cosine=2.0).stages["search"]
    assert stage.confidence({"cosine": 0.75}) == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert stage.confidence({"cosine": 1e9}) == pytest.approx(1 / (1 + math.exp(-6.0)))
    assert stage.confidence({"cosine": None}) == 0.5


def test_a_question_is_met_word_by_word(ferry_retriever: Retriever) -> None:
    """The fake embedder gives a word one vector wherever it stands, so a word that is there is met almost fully."""
    grounding = Grounding()
    met = signals_of(ferry_retriever.search("chief engineer", k=3), grounding)
    unmet = signals_of(ferry_retriever.search("chief tungsten", k=3), grounding)
    assert met["late"] is not None
    assert unmet["late"] is not None
    assert met["weakest"] is not None
    assert unmet["weakest"] is not None
    assert met["late"] > unmet["late"]
    assert met["weakest"] > unmet["weakest"] + 0.2


def test_the_richest_stage_that_is_known_counts() -> None:
    found = abstention(cosine=1.0)
    stages = {name: replace(stage, threshold=at / 10) for at, (name, stage) in enumerate(found.stages.items())}
    found = replace(found, stages=stages)
    search = dict.fromkeys(SEARCH, 0.5)
    answer = search | dict.fromkeys(ANSWER, 0.5)
    assert found.judge(search, NOTHING).threshold == 0.0
    assert found.judge(answer | dict.fromkeys(MODEL), NOTHING).threshold == 0.1
    assert found.judge(answer | dict.fromkeys(MODEL, -1.0), NOTHING).threshold == 0.2
    assert found.judge(search | {"cosine": None}, NOTHING).threshold == 0.0


def test_reasons_name_missing_words_and_then_what_weighs_most() -> None:
    found = abstention(cosine=1.0, sentence=2.0, focus=3.0)
    poor = dict.fromkeys(SEARCH, 0.0) | dict.fromkeys(ANSWER, 0.0)
    reasons = found.judge(poor, Missing(names=("Oslo",), numbers=("1987",), words=("a\x1b", "b"))).reasons
    assert reasons[0] == "the passages do not hold 'Oslo', '1987', 'a\\x1b'"
    assert "no sentence of the passages" in reasons[1]
    shown = poor | {"support": 0.9}
    assert "something else" in found.judge(shown, NOTHING).reasons[0]
    assert found.judge(dict.fromkeys(SEARCH, 0.6), NOTHING).reasons == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data.pop("stages"), "fitted_on, stages"),
        (lambda data: data["stages"].pop("answer"), "stages must be"),
        (lambda data: data["stages"].update(other={}), "stages must be"),
        (lambda data: data.update(fitted_on=3), "fitted_on"),
        (lambda data: data["stages"]["search"].update(threshold=1.5), "from 0 to 1"),
        (lambda data: data["stages"]["search"].update(intercept="x"), "expected a number"),
        (lambda data: data["stages"]["search"].update(intercept=True), "expected a number"),
        (lambda data: data["stages"]["search"].update(intercept=10**400), "expected a number"),
        (lambda data: data["stages"]["search"]["signals"].pop("cosine"), "cosine"),
        (lambda data: data["stages"]["search"]["signals"].update(new={}), "expected an object"),
        (lambda data: data["stages"]["answer"]["signals"]["cosine"].update(scale=0), "above 0"),
        (lambda data: data["stages"]["answer"]["signals"]["cosine"].update(mean=float("nan")), "expected a number"),
    ],
)
def test_a_file_of_weights_is_read_strictly(change: Any, told: str, tmp_path: Path) -> None:
    data = weights(*STAGES)
    change(data)
    file = tmp_path / "weights.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(SettingsError, match="rag eval calibrate") as raised:
        load_abstention(str(file))
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[", b"3", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_file_of_weights(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "weights.json"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"weights\.json"):
        load_abstention(str(file))
    with pytest.raises(SettingsError, match="cannot be read"):
        load_abstention(str(tmp_path / "none.json"))


# In the chat


@pytest.fixture(scope="module")
def ferry_retriever(ferry_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Retriever]:
    """The ferry documents, indexed once: nothing here changes them."""
    embedder = HashEmbedder()
    with open_index(str(tmp_path_factory.mktemp("ferry-index") / "index"), embedder, create=True) as index:
        ingest([ferry_folder], index, embedder, workers=1)
        yield Retriever(index, embedder)


class Telling(ScriptedModel):
    """Tells a likelihood, and remembers which rival it was asked about."""

    likelihood: Likelihood | None = None
    rival = ""

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        self.rival = sampling.rival
        self.likelihood = Likelihood(rival=-1.0, first=-0.5, own=-0.25)
        yield from super().stream(prompt, sampling)


def chat(retriever: Retriever, model: ScriptedModel, weights: Abstention, **changed: Any) -> RagChat:
    return RagChat(retriever, model, Settings(**{"k": 3, "min_relevance": 0.0} | changed), abstention=weights)


def test_a_doubtful_answer_is_refused_before_anything_is_shown(ferry_retriever: Retriever) -> None:
    never = abstention(threshold=0.9)
    *pieces, answer = chat(ferry_retriever, ScriptedModel([f"{MARIT} She joined in 2004."]), never).stream(ENGINEER)
    assert pieces == [REFUSAL]
    assert not isinstance(answer, str)
    assert answer.refused
    assert answer.why.startswith(DOUBTFUL)
    assert answer.confidence == 0.5
    assert answer.citations == ()
    assert answer.conversation.turns[-1].answer == REFUSAL


@pytest.mark.parametrize(("least", "refused"), [(0.0, False), (0.49, False), (0.51, True), (-1.0, True)])
def test_the_setting_goes_before_the_threshold_of_the_file(
    ferry_retriever: Retriever, least: float, refused: bool
) -> None:
    never = abstention(threshold=0.9)
    asked = chat(ferry_retriever, ScriptedModel([MARIT]), never, min_confidence=least)
    assert asked.ask(ENGINEER).refused is refused


def test_a_quote_in_place_of_an_answer_is_weighed_too(ferry_retriever: Retriever) -> None:
    said = ScriptedModel(["Bob Tree has run the galley since 1950 [1]."])
    question = "How many passengers does the MV Orrin carry?"
    assert chat(ferry_retriever, said, abstention(threshold=0.1)).ask(question).stop == "quoted"
    assert chat(ferry_retriever, said, abstention(threshold=0.9)).ask(question).refused


def test_a_model_that_tells_is_asked_about_the_refusal(ferry_retriever: Retriever) -> None:
    model = Telling([MARIT])
    answer = chat(ferry_retriever, model, abstention(own_likelihood=1.0, threshold=0.0)).ask(ENGINEER)
    assert model.rival == REFUSAL
    assert answer.signals["own_likelihood"] == -0.25
    assert answer.confidence == pytest.approx(1 / (1 + math.exp(3.0)))
    plain = chat(ferry_retriever, ScriptedModel([MARIT]), abstention(own_likelihood=1.0, threshold=0.0)).ask(ENGINEER)
    assert plain.signals["own_likelihood"] is None
    assert plain.confidence == 0.5


def test_every_answer_has_its_confidence_in_json(ferry_retriever: Retriever) -> None:
    for said, question in ((MARIT, ENGINEER), (REFUSAL, ENGINEER), (MARIT, "Boiling point of tungsten?")):
        shown = (
            chat(ferry_retriever, ScriptedModel([said]), load_abstention(), min_relevance=0.3).ask(question).as_json()
        )
        assert 0.0 <= shown["confidence"] <= 1.0
        assert set(SEARCH) <= set(shown["signals"])
        json.dumps(shown, allow_nan=False)


def test_a_models_refusal_tells_its_strongest_reason(ferry_retriever: Retriever) -> None:
    found = abstention(threshold=0.0)
    answer = chat(ferry_retriever, ScriptedModel([REFUSAL]), found).ask("Who is the harbourmaster of Oslo?")
    assert answer.why == f"{MODEL_REFUSED}; the passages do not hold 'Oslo', 'harbourmaster'"
    assert answer.signals["declined"] == 1.0


def test_json_is_decided_on_before_the_model_is_asked(ferry_retriever: Retriever) -> None:
    model = ScriptedModel(["{}"])
    schema = {"type": "object", "properties": {"engineer": {"type": "string"}}}
    *_, answer = chat(ferry_retriever, model, abstention(threshold=0.9)).stream(ENGINEER, schema=schema)
    assert not isinstance(answer, str)
    assert answer.refused
    assert model.prompts == []
    assert answer.usage.prompt_tokens == 0


@pytest.mark.parametrize("value", [-0.5, 1.1, float("nan")])
def test_min_confidence_out_of_range(value: float) -> None:
    with pytest.raises(SettingsError, match="min_confidence"):
        Settings(min_confidence=value)


# With a real model


@pytest.fixture(scope="module")
def model() -> LlamaModel:
    return LlamaModel(find_model(""), context_window=512, threads=1)


PASSAGES = "Answer from these passages, or reply exactly: {}\n\n[1] The red light means that the station has no power."


def prompt(model: LlamaModel, question: str) -> Prompt:
    system = Message(role="system", content=PASSAGES.format(REFUSAL))
    return model.format.build((system, Message(role="user", content=question)))


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_the_answer_is_the_same_whether_the_refusal_is_weighed_or_not(model: LlamaModel, temperature: float) -> None:
    plain = Sampling(max_tokens=12, temperature=temperature, seed=7)
    for question in ("What does a red light mean?", "Who built the Eiffel Tower?"):
        asked = prompt(model, question)
        model.forget()
        alone = list(model.stream(asked, plain))
        assert model.likelihood is None
        usage = model.usage
        model.forget()
        beside = list(model.stream(asked, replace(plain, rival=REFUSAL)))
        assert beside == alone
        assert model.usage == usage
        model.forget()
        assert list(model.stream(asked, plain)) == alone


def test_what_was_read_is_kept_after_the_refusal_was_weighed(model: LlamaModel) -> None:
    sampling = Sampling(max_tokens=8, rival=REFUSAL)
    asked = prompt(model, "What does a red light mean?")
    model.forget()
    said = list(model.stream(asked, sampling))
    stopped = model.stream(asked, sampling)
    next(stopped)
    stopped.close()
    assert model.usage.reused_tokens == len(asked.token_ids) - 1
    assert list(model.stream(asked, sampling)) == said
    assert model.usage.reused_tokens == len(asked.token_ids) - 1


def test_the_likelihood_is_that_of_choosing_token_by_token(model: LlamaModel) -> None:
    """The mean of log p(token | what is before it), each read from a prompt that ends just there."""
    from rag.engine import log_probabilities, next_logits

    asked = prompt(model, "What does a red light mean?")
    list(model.stream(asked, Sampling(max_tokens=4, rival=REFUSAL)))
    likelihood = model.likelihood
    assert likelihood is not None
    llama = model._llama
    tokens = llama.tokenize(REFUSAL.encode(), add_bos=False, special=False)
    steps = []
    for at, token in enumerate(tokens):
        next_logits(llama, [*asked.token_ids, *tokens[:at]], None)
        steps.append(float(log_probabilities(llama)[token]))
    assert likelihood.rival == pytest.approx(sum(steps) / len(steps), abs=0.02)
    assert likelihood.own <= 0.0
    assert likelihood.first <= 0.0


@pytest.mark.parametrize("rival", ["I", "I am sorry " * 200, "\x00", "<|im_end|>"])
def test_any_rival_is_weighed_as_far_as_it_fits(model: LlamaModel, rival: str) -> None:
    asked = prompt(model, "What does a red light mean?")
    list(model.stream(asked, Sampling(max_tokens=2, rival=rival)))
    assert model.likelihood is not None
    assert model.likelihood.rival <= 0.0
