"""Models on servers: a server that misbehaves as told, and the real one of llama-cpp-python with the packaged model."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from server_support import (
    Faults,
    RealServer,
    chunk,
    drip,
    events,
    fault_server,
    llama_cpp_server,
    ping_on,
    plain,
    refuse,
    refuse_slowly,
    reply,
    reset,
    said,
    wait_on,
)

from prompts.defuse import defuse
from prompts.errors import UnsafePromptError
from prompts.types import Message, Prompt
from rag.chat import RagChat
from rag.errors import ModelError
from rag.llama import LlamaModel
from rag.models import find_model
from rag.retriever import Retriever
from rag.server import ServerModel, Timeouts
from rag.server_errors import asked_wait
from rag.server_format import CONTROL_TAGS, estimate_tokens
from rag.settings import Settings
from rag.types import Sampling, Usage

WINDOW = 1024
PATIENT = Timeouts(connect=20, first_token=20, between_tokens=20)
"""A busy machine may take seconds; a defect shall still not hang a test for minutes."""
KEY = "sk-very-secret"
QUESTION = "Name the capital of France."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture
def faults() -> Iterator[Faults]:
    with fault_server() as found:
        yield found


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAG_API_KEY", raising=False)


@pytest.fixture(scope="module")
def packaged() -> Path:
    return find_model("")


@pytest.fixture(scope="module")
def real(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    with llama_cpp_server(packaged, tmp_path_factory.mktemp("server"), WINDOW) as server:
        yield server


@pytest.fixture(scope="module")
def local(packaged: Path) -> Iterator[LlamaModel]:
    model = LlamaModel(packaged, context_window=WINDOW, threads=1)
    yield model
    model.close()


class Sleeps(list[float]):
    """Instead of sleeping, keeps how long it would have been."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def model_on(faults: Faults, **more: Any) -> ServerModel:
    return ServerModel(faults.url, **({"timeouts": PATIENT, "sleep": Sleeps()} | more))


def prompt_for(model: ServerModel | LlamaModel, *texts: str) -> Prompt:
    roles = ("user", "assistant")
    messages = tuple(
        Message(role=roles[position % 2], content=text)  # type: ignore[arg-type]
        for position, text in enumerate(texts)
    )
    built = model.format.build(messages)
    return Prompt(messages=messages, token_ids=built.token_ids, text=built.text, ledger=())


def ask(model: ServerModel | LlamaModel, text: str = QUESTION, **sampling: Any) -> str:
    return "".join(model.stream(prompt_for(model, text), Sampling(**({"max_tokens": 24} | sampling))))


# --- what goes wrong -------------------------------------------------------------------------------------------------

HALF = [chunk("Par"), chunk("is")]


@pytest.mark.parametrize(
    ("step", "said_", "tries"),
    [
        (refuse(500, "out of memory"), r"failed \(500: out of memory\), 4 times in a row: look at the server's log", 4),
        (refuse(503, "loading"), r"failed \(503: loading\), 4 times", 4),
        (refuse(429, "slow down"), r"refused the request \(429: slow down\), 4 times in a row: try again later", 4),
        (refuse(408), "408.*, 4 times", 4),
        (refuse(429, "day", Retry_After="3600"), r"429: day\): come back in 3600 s, at \d{4}-", 1),
        (refuse(401, "bad key"), r"refused the request \(401: bad key\): set RAG_API_KEY", 1),
        (refuse(403), "set RAG_API_KEY", 1),
        (refuse(404, "no model"), r"404: no model\): check the URL and the model's name", 1),
        (refuse(400, "maximum context length is 99 tokens"), "more than the server's context holds; lower -k", 1),
        (refuse(413), "more than the server's context holds", 1),
        (refuse(418), "refused the request .*418.*check the model's name", 1),
        (lambda handler: reply(handler, 500, b"<html>\x1b[31mboom\r\n</html>"), r"500: <html> \[31mboom </html>", 4),
        (lambda handler: reply(handler, 307, b"", Location="http://evil.example/v1"), "redirects to evil.example", 1),
        (plain({"choices": [{"text": "no stream"}]}), "does not stream its answer", 1),
        (reset, "broke the connection .*, 4 times", 4),
        (events(chunk(), then=reset), "broke the connection .*, 4 times", 4),
        (events(chunk()), "ended the stream too early, 4 times", 4),
        (events('{"error": {"message": "CUDA", "code": 500}}'), r"failed \(500: CUDA\), 4 times", 4),
        (events('{"error": {"message": "exceeds the context size", "code": 400}}'), "context holds; lower -k", 1),
        (events("{not json"), "sent an event that cannot be read", 1),
        (events("[1, 2]"), "cannot be read", 1),
        (events('{"choices": [{"text": 7}]}'), "cannot be read", 1),
        (events(*HALF), "broke off in the middle .*too early", 1),
        (events(*HALF, "[DONE]"), "broke off in the middle .*too early", 1),
        (events(*HALF, then=reset), "broke off in the middle .*broke the connection", 1),
        (events(*HALF, "{not json"), "broke off in the middle .*cannot be read", 1),
        (events(*HALF, '{"error": "CUDA"}'), "broke off in the middle .*CUDA", 1),
        (events(*HALF, chunk(finish="content_filter"), "[DONE]"), "cut the answer off .*content_filter", 1),
    ],
)
def test_each_fault_is_one_line_and_is_tried_again_only_where_that_may_help(
    faults: Faults, step: Any, said_: str, tries: int
) -> None:
    faults.steps = [step]
    model = model_on(faults)
    with pytest.raises(ModelError, match=said_) as raised:
        ask(model)
    assert len(faults.questions) == tries
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500
    assert not model.finished


@pytest.mark.parametrize("step", [wait_on, events(then=ping_on), refuse_slowly])
def test_silence_before_the_answer_ends(faults: Faults, step: Any) -> None:
    faults.steps = [step]
    model = model_on(faults, timeouts=replace(PATIENT, first_token=0.3, between_tokens=1))
    with pytest.raises(ModelError, match=r"sent nothing for (0\.3|1) s: look at the server's load"):
        ask(model)
    assert len(faults.questions) == 1


@pytest.mark.parametrize("step", [wait_on, ping_on])
def test_silence_in_the_answer_ends(faults: Faults, step: Any) -> None:
    faults.steps = [events(*HALF, then=step)]
    model = model_on(faults, timeouts=replace(PATIENT, between_tokens=1))
    with pytest.raises(ModelError, match=r"broke off in the middle .*sent nothing for 1 s"):
        ask(model)
    assert len(faults.questions) == 1


def test_what_a_server_says_of_itself_must_come_to_an_end(faults: Faults) -> None:
    faults.known["/v1/models"] = drip
    with pytest.raises(ModelError, match="sent nothing for 1 s"):
        model_on(faults, timeouts=replace(PATIENT, between_tokens=1))


def test_a_server_that_recovers_is_waited_for_longer_each_time(faults: Faults) -> None:
    sleeps = Sleeps()
    faults.steps = [refuse(503), reset, events(chunk()), said("Paris", "!")]
    model = model_on(faults, sleep=sleeps)
    assert ask(model) == "Paris!"
    for wait, (low, high) in zip(sleeps, [(0.5, 1), (1, 1.5), (2, 2.5)], strict=True):
        assert low <= wait <= high


def test_what_was_shown_is_never_shown_twice(faults: Faults) -> None:
    faults.steps = [events(*HALF, then=reset), said("Paris")]
    shown = []
    model = model_on(faults)
    with pytest.raises(ModelError, match="broke off"):
        shown.extend(model.stream(prompt_for(model, QUESTION), Sampling()))
    assert len(faults.questions) == 1


def test_a_server_that_is_not_there() -> None:
    sleeps = Sleeps()
    with socket.socket() as taken:  # bound but not listening: the port refuses, and nobody else gets it
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ModelError, match=r"127\.0\.0\.1.* cannot be reached .*, 4 times in a row: start the server"
        ):
            ServerModel(url, sleep=sleeps)
    assert len(sleeps) == 3


NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "12"}, 12),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, 30),
        ({"retry-after": formatdate(NOW - 30, usegmt=True)}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"}, 0),
        ({"retry-after": "9" * 12}, 365 * 86400),
        ({"retry-after": "3", "x-ratelimit-reset-requests": "50s"}, 3),
        ({"x-ratelimit-reset-requests": "1m30.5s"}, 90.5),
        ({"x-ratelimit-reset-tokens": "250ms"}, 0.25),
        ({"x-ratelimit-reset-requests": str(NOW + 20)}, 20),
        ({"x-ratelimit-reset-requests": "24h", "x-ratelimit-reset-tokens": "7s"}, 7),
        (
            {
                "x-ratelimit-reset-requests": "20s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "7s",
                "x-ratelimit-remaining-tokens": "90",
            },
            20,
        ),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert asked_wait(headers, NOW) == pytest.approx(seconds)


def test_the_wait_that_a_server_asks_for_is_kept(faults: Faults) -> None:
    sleeps = Sleeps()
    faults.steps = [refuse(429, Retry_After="17"), refuse(429, X_RateLimit_Reset_Requests="21s"), said("Paris")]
    assert ask(model_on(faults, sleep=sleeps)) == "Paris"
    assert sleeps == [17, 21]


# --- requests and what comes of them ---------------------------------------------------------------------------------


def test_the_request_and_the_usage(faults: Faults) -> None:
    reported = {"prompt_tokens": 30, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 12}}
    faults.steps = [said("Par", "is", **reported)]
    model = model_on(faults)
    assert ask(model, temperature=0.5, seed=3, stop=("###",)) == "Paris"
    assert model.usage == Usage(prompt_tokens=30, reused_tokens=12, answer_tokens=9)
    assert model.finished
    (asked,) = faults.questions
    assert asked.path == "/v1/chat/completions"
    wanted = {"model": "tiny", "temperature": 0.5, "seed": 3, "stop": ["###"], "max_tokens": 24, "stream": True}
    assert asked.body.items() >= wanted.items()
    assert asked.body["messages"] == [{"role": "user", "content": QUESTION}]


def test_what_is_not_reported_is_counted(faults: Faults) -> None:
    faults.steps = [said("Par", "is", finish="length")]
    model = model_on(faults)
    prompt = prompt_for(model, QUESTION)
    stream = model.stream(prompt, Sampling(max_tokens=2))
    assert next(stream) == "Par"
    assert model.usage.answer_tokens >= 1
    assert list(stream) == ["is"]
    tokens = len(model.format.build(prompt.messages).token_starts)
    assert model.usage == Usage(prompt_tokens=tokens, answer_tokens=2)
    assert not model.finished


def test_llama_servers_timings_tell_what_was_reused(faults: Faults) -> None:
    last = chunk(finish="stop", usage={"prompt_tokens": 30, "completion_tokens": 1}, timings={"cache_n": 25})
    faults.steps = [events(chunk("Paris"), last)]
    model = model_on(faults)
    assert ask(model) == "Paris"
    assert model.usage.reused_tokens == 25


def test_a_reader_that_stops_closes_the_connection(faults: Faults) -> None:
    faults.steps = [events(chunk("Par"), then=ping_on)]
    model = model_on(faults, timeouts=Timeouts())
    stream = model.stream(prompt_for(model, QUESTION), Sampling())
    assert next(stream) == "Par"
    stream.close()
    assert faults.left.wait(8)
    assert not model.finished


def test_fields_that_a_server_refuses_are_left_out_from_then_on(faults: Faults) -> None:
    faults.steps = [
        refuse(400, "Unrecognized request argument supplied: top_k"),
        refuse(422, [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]),
        refuse(400, "Unknown name"),
        said("Paris"),
    ]
    model = model_on(faults)
    assert [ask(model), ask(model)] == ["Paris", "Paris"]
    left_out = [{"top_k", "stream_options", "min_p", "seed"} - asked.body.keys() for asked in faults.questions]
    none, one, two = set[str](), {"top_k"}, {"top_k", "stream_options"}
    assert left_out == [none, one, two, two | {"min_p"}, two | {"min_p"}]
    for asked in faults.questions[-2:]:
        assert not asked.body.keys() & {"top_k", "min_p", "repeat_penalty", "repetition_penalty"}
        assert asked.body["temperature"] == 0


def test_a_refusal_that_cannot_be_met_ends(faults: Faults) -> None:
    faults.steps = [refuse(400, "unknown field, whatever is sent")]
    with pytest.raises(ModelError, match="unknown field"):
        ask(model_on(faults))
    assert len(faults.questions) == 2


def test_a_schema_is_asked_for_as_the_server_understands_it(faults: Faults) -> None:
    faults.steps = [refuse(400, "response_format.type must be 'text' or 'json_object'"), said('{"city": "Paris"}')]
    model = model_on(faults)
    assert json.loads(ask(model, schema=SCHEMA)) == {"city": "Paris"}
    first, second = (asked.body["response_format"] for asked in faults.questions)
    assert (first["type"], first["json_schema"]["schema"]) == ("json_schema", SCHEMA)
    assert second == {"type": "json_object", "schema": SCHEMA}


# --- which server, which model, which key ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said_"),
    [
        ("ftp://host/v1", "no server's URL"),
        ("http://", "no server's URL"),
        ("http://host:notaport", "no URL"),
        ("http://user:hunter2@host/v1", "must hold no key.*RAG_API_KEY"),
        ("http://user:hunter2@host:notaport", "no URL"),
        ("https://host/v1?api_key=hunter2", "must hold no key.*RAG_API_KEY"),
        ("http://ho\x00st/", "no URL"),
        (f"http://{'a' * 64}.com", "no URL"),
        ("http://a..b", "no URL"),
        ("http://xn--a", "no URL"),
        ("http://host/\udcff", "no URL"),
    ],
)
def test_a_bad_url_is_told_without_its_secrets(url: str, said_: str) -> None:
    with pytest.raises(ModelError, match=said_) as raised:
        ServerModel(url)
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None or "hunter2" not in str(raised.value.__cause__)


def test_a_models_name_cannot_write_on_the_terminal(faults: Faults) -> None:
    faults.known["/v1/models"] = {"data": [{"id": "ti\x1b[31mny"}]}
    faults.steps = [said("Paris")]
    model = model_on(faults)
    assert model.name == "ti?[31mny"
    assert ask(model) == "Paris"
    assert faults.questions[0].body["model"] == "ti\x1b[31mny"


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1#tiny"])
def test_ways_to_write_the_url(faults: Faults, suffix: str) -> None:
    faults.steps = [said("Paris")]
    model = ServerModel(faults.url + suffix, timeouts=PATIENT)
    assert (model.name, ask(model)) == ("tiny", "Paris")


def test_one_of_several_models_is_named_behind_a_hash(faults: Faults) -> None:
    faults.known["/v1/models"] = {"data": [{"id": "org/one"}, {"id": "two:latest"}]}
    faults.steps = [said("Paris")]
    with pytest.raises(ModelError, match=r"has 2 models \(org/one, two:latest\): name one, as .*/v1#MODEL"):
        model_on(faults)
    with pytest.raises(ModelError, match="no model 'three': it has org/one, two:latest"):
        ServerModel(faults.url + "#three")
    for named, id_ in (("org/one", "org/one"), ("two", "two:latest")):
        model = ServerModel(f"{faults.url}/v1#{named}", timeouts=PATIENT)
        assert ask(model) == "Paris"
        assert faults.questions[-1].body["model"] == id_


def test_a_server_that_lists_no_models_is_told_which(faults: Faults) -> None:
    del faults.known["/v1/models"]
    faults.steps = [said("Paris")]
    with pytest.raises(ModelError, match="does not list its models: name one"):
        model_on(faults)
    model = ServerModel(faults.url + "#any", timeouts=PATIENT)
    assert (ask(model), faults.questions[-1].body["model"]) == ("Paris", "any")


def test_the_key_goes_to_the_server_and_into_no_message(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAG_API_KEY", KEY)
    faults.steps = [refuse(401, f"incorrect key {KEY}")]
    with pytest.raises(ModelError, match=r"incorrect key \*\*\*") as raised:
        ask(model_on(faults))
    assert faults.questions[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(raised.value)
    monkeypatch.setenv("RAG_API_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(ModelError, match="RAG_API_KEY holds characters") as raised:
        model_on(faults)
    assert KEY not in str(raised.value)


def test_no_proxy_and_no_other_host_is_asked(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    with fault_server() as other:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, other.url)
        faults.steps = [
            said("Paris"),
            lambda handler: reply(handler, 302, b"", Location=f"{other.url}/v1/chat/completions"),
        ]
        model = model_on(faults)
        assert ask(model) == "Paris"
        with pytest.raises(ModelError, match=r"redirects to 127\.0\.0\.1: pass the URL"):
            ask(model)
        assert other.requests == []


# --- context, counting, unsafe texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "known",
    [
        {"/v1/models": {"data": [{"id": "tiny", "max_model_len": 2048}]}},
        {"/props": {"default_generation_settings": {"n_ctx": 2048}}},
    ],
)
def test_the_context_that_the_server_reports_is_the_limit(faults: Faults, known: dict[str, Any]) -> None:
    faults.known |= known
    with pytest.raises(ModelError, match="2048 tokens on this server, not 4096: pass --context-window 2048"):
        model_on(faults)
    assert model_on(faults, context_window=1000).context_window == 1000


@pytest.mark.parametrize(
    ("known", "path", "asked"),
    [
        ({"/v1/models": {"data": [{"id": "tiny", "max_model_len": 9000}]}}, "/tokenize", "prompt"),
        ({"/props": {"default_generation_settings": {"n_ctx": 9000}}}, "/tokenize", "content"),
        ({}, "/extras/tokenize", "input"),
    ],
)
def test_tokens_are_counted_by_the_server_where_it_can(
    faults: Faults, known: dict[str, Any], path: str, asked: str
) -> None:
    faults.known |= known | {path: lambda body: {"tokens": list(range(len(body[asked].split())))}}
    model = model_on(faults)
    assert model.count_tokens("one two three") == 3
    assert "counted by the server's tokeniser" in model.format.why
    few, more = (len(model.format.build([Message(role="user", content="a " * n)]).token_starts) for n in (10, 60))
    assert more - few == 50


@pytest.mark.parametrize(
    "known",
    [
        {"/v1/models": {"data": [{"id": "tiny", "max_model_len": 9000}]}},
        {"/props": {"default_generation_settings": {"n_ctx": 9000}}},
    ],
)
def test_a_server_that_keeps_its_tokeniser_to_itself_is_estimated(faults: Faults, known: dict[str, Any]) -> None:
    faults.known |= known
    faults.steps = [said("Paris")]
    model = model_on(faults)
    assert "estimated" in model.format.why
    assert ask(model) == "Paris"


def test_the_estimate_is_on_the_safe_side_for_prose(local: LlamaModel) -> None:
    prose = (Path(__file__).parent.parent / "data" / "corpus" / "handbook" / "handbook-2024.md").read_text("utf-8")
    assert 1 <= estimate_tokens(prose) / local.count_tokens(prose) <= 1.6


def test_a_chat_without_ids_fits_and_its_ledger_adds_up(faults: Faults, ferry_retriever: Retriever) -> None:
    faults.steps = [said("The MV Orrin carries 214 passengers. [1]")]
    model = model_on(faults, context_window=600)
    settings = Settings(context_window=600, max_answer_tokens=150, min_relevance=0.0)
    question = "How many <|im_end|> passengers does [INST] the MV Orrin carry?"
    answer = RagChat(ferry_retriever, model, settings).ask(question)
    assert answer.prompt is not None
    assert answer.prompt.token_ids == ()
    counted = len(model.format.build(answer.prompt.messages).token_starts)
    assert answer.prompt.tokens == counted == answer.usage.prompt_tokens
    assert counted <= 450
    sent = json.dumps(faults.questions[0].body["messages"])
    assert "passengers" in sent
    assert "<|im_end|>" not in sent
    assert "[INST]" not in sent
    with pytest.raises(ModelError, match="exceed the context window of 600"):
        list(model.stream(answer.prompt, Sampling(max_tokens=550)))
    assert len(faults.questions) == 1


@pytest.mark.parametrize(
    "tag",
    ["<|im_end|>", "<s>", "[INST]", "<end_of_turn>", "<|turn>", "<EOS_TOKEN>", "[gMASK]", "</think>", "<SPECIAL_31>",
     "<\uff5cend\u2581of\u2581sentence\uff5c>", "]~b]", "[|endofturn|]", "<fim_middle>", ">>ANSWER<<", "[/THINK]"],
)  # fmt: skip
def test_no_familys_control_token_is_sent(faults: Faults, tag: str) -> None:
    faults.steps = [said("Paris")]
    model = model_on(faults)
    text = f"before {tag} after"
    with pytest.raises(UnsafePromptError):
        model.format.build([Message(role="user", content=text)])
    unsafe = Prompt(messages=(Message(role="user", content=text),), token_ids=(), text=text, ledger=())
    with pytest.raises(UnsafePromptError):
        list(model.stream(unsafe, Sampling()))
    assert faults.questions == []
    assert ask(model, defuse(text, model.format.tags)) == "Paris"


def test_every_listed_tag_is_looked_for() -> None:
    assert [tag for tag in CONTROL_TAGS if tag == defuse(tag, CONTROL_TAGS)] == []


def test_lone_surrogates_reach_neither_the_server_nor_the_screen(faults: Faults) -> None:
    faults.known["/extras/tokenize"] = {"tokens": [1]}
    faults.steps = [said("a\ud800b")]
    model = model_on(faults)
    assert model.count_tokens("\ud800") == 1
    assert ask(model, "what\ud800?", stop=("\ud800",)) == "a\ufffdb"
    assert faults.questions[0].body["messages"][0]["content"] == "what\ufffd?"


# --- the exact prompt ------------------------------------------------------------------------------------------------


def test_the_exact_prompt_is_sent_as_ids(faults: Faults, packaged: Path) -> None:
    model = model_on(faults, tokenizer=packaged)
    prompt = prompt_for(model, QUESTION)
    faults.steps = [said("Paris", prompt_tokens=len(prompt.token_ids), completion_tokens=1)]
    assert "".join(model.stream(prompt, Sampling())) == "Paris"
    (asked,) = faults.questions
    assert asked.path == "/v1/completions"
    assert tuple(asked.body["prompt"]) == prompt.token_ids


def test_a_server_that_reads_another_prompt_is_told(faults: Faults, packaged: Path) -> None:
    model = model_on(faults, tokenizer=packaged)
    prompt = prompt_for(model, QUESTION)
    faults.steps = [said("Paris", prompt_tokens=len(prompt.token_ids) + 1)]
    with pytest.raises(ModelError, match=f"reads the prompt as {len(prompt.token_ids) + 1} tokens, not"):
        list(model.stream(prompt, Sampling()))


@pytest.mark.parametrize("bos", [False, True])
def test_text_is_sent_only_when_the_server_reads_it_as_the_same_ids(faults: Faults, packaged: Path, bos: bool) -> None:
    refusal = refuse(400, "cannot unmarshal array into field prompt of type string")
    faults.steps = [refusal, said("Paris")]
    whole = prompt_for(model_on(faults, tokenizer=packaged), QUESTION)
    good = whole.text.removeprefix("<|im_start|>") if bos else whole.text

    def read(body: dict[str, Any]) -> dict[str, Any]:
        return {"tokens": list(whole.token_ids) if body["input"] == good else [0] * 39}

    faults.known["/extras/tokenize"] = lambda body: {"tokens": []}
    with pytest.raises(ModelError, match="is not the vocabulary of tiny"):
        model_on(faults, tokenizer=packaged)
    here = LlamaModel(packaged, context_window=WINDOW, vocabulary_only=True)
    faults.known["/extras/tokenize"] = lambda body: (
        read(body) if "France" in body["input"] else {"tokens": [0] * here.count_tokens(body["input"])}
    )
    model = model_on(faults, tokenizer=packaged)
    assert "".join(model.stream(whole, Sampling())) == "Paris"
    assert [asked.body["prompt"] for asked in faults.questions] == [list(whole.token_ids), good]
    with pytest.raises(ModelError, match=r"reads the prompt as 39 tokens, not .*leave out --tokenizer"):
        ask(model, "And what is France?")
    assert len(faults.questions) == 2


def test_text_is_not_sent_to_a_server_that_cannot_be_checked(faults: Faults, packaged: Path) -> None:
    faults.steps = [refuse(422, "prompt: Input should be a valid string")]
    with pytest.raises(ModelError, match=r"takes no token ids, only text.*leave out --tokenizer"):
        ask(model_on(faults, tokenizer=packaged))
    assert len(faults.questions) == 1


@pytest.mark.parametrize(
    ("known", "field"),
    [
        ({"/props": {"default_generation_settings": {"n_ctx": 9000}}}, "json_schema"),
        ({"/v1/models": {"data": [{"id": "tiny", "max_model_len": 9000}]}}, "response_format"),
        ({}, ""),
    ],
)
def test_a_schema_with_the_exact_prompt(faults: Faults, packaged: Path, known: dict[str, Any], field: str) -> None:
    counts = LlamaModel(packaged, context_window=WINDOW, vocabulary_only=True).count_tokens
    faults.known |= known
    if known:
        faults.known["/tokenize"] = lambda body: {"tokens": [0] * counts(body.get("content") or body.get("prompt"))}
    faults.steps = [said("{}")]
    model = model_on(faults, tokenizer=packaged)
    if not field:
        with pytest.raises(ModelError, match="leave out --tokenizer"):
            ask(model, schema=SCHEMA)
        assert faults.questions == []
        return
    assert ask(model, schema=SCHEMA) == "{}"
    assert SCHEMA in (
        faults.questions[0].body[field],
        faults.questions[0].body[field].get("json_schema", {}).get("schema"),
    )


def test_settings_that_contradict_each_other(faults: Faults, packaged: Path) -> None:
    with pytest.raises(ModelError, match="--prompt-format llama-2 is not for a server"):
        model_on(faults, prompt_format="llama-2")
    with pytest.raises(ModelError, match="--context-window 8192"):
        model_on(faults, tokenizer=packaged, context_window=100_000)


# --- the real thing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", [QUESTION, "Grüße! What is 12 × 3, and why does <b>it</b> matter?"])
def test_the_exact_prompt_gives_the_answer_of_the_same_model_here(
    real: RealServer, local: LlamaModel, packaged: Path, question: str
) -> None:
    model = ServerModel(real.url, context_window=WINDOW, tokenizer=packaged)
    assert model.name == packaged.name
    prompt = prompt_for(model, question)
    assert prompt == prompt_for(local, question)
    pieces = list(model.stream(prompt, Sampling(max_tokens=24)))
    assert "".join(pieces) == "".join(local.stream(prompt, Sampling(max_tokens=24)))
    assert len(pieces) > 3
    assert model.finished == local.finished
    assert model.usage.prompt_tokens == len(prompt.token_ids)
    assert abs(model.usage.answer_tokens - local.usage.answer_tokens) <= 1
    model.close()


def test_messages_give_the_answer_too(real: RealServer) -> None:
    model = ServerModel(real.url, context_window=WINDOW)
    assert "Paris" in ask(model)
    assert model.finished
    assert 0 < model.usage.answer_tokens < 24
    ask(model, "Count from one to one hundred.", max_tokens=5)
    assert (model.finished, model.usage.answer_tokens) == (False, 5)


def test_a_schema_is_followed(real: RealServer) -> None:
    model = ServerModel(real.url, context_window=WINDOW)
    answer = ask(model, "Which city is the capital of France? Answer in JSON.", schema=SCHEMA, max_tokens=60)
    assert isinstance(json.loads(answer)["city"], str)


def test_counts_are_the_servers_own(real: RealServer, local: LlamaModel) -> None:
    model = ServerModel(real.url, context_window=WINDOW)
    text = "The annual inspection takes place every 14 months."
    assert local.count_tokens(text) <= model.count_tokens(text) <= local.count_tokens(text) + 1
    assert model.count_tokens("") == 0
    prompt = prompt_for(model, text)
    assert len(model.format.build(prompt.messages).token_starts) >= len(prompt_for(local, text).token_ids)


def test_the_server_stops_when_the_reader_does(real: RealServer, packaged: Path) -> None:
    model = ServerModel(real.url, context_window=WINDOW, tokenizer=packaged)
    stream = model.stream(prompt_for(model, "Tell a very long story about the sea."), Sampling(max_tokens=800))
    next(stream)
    stream.close()
    assert model.usage.answer_tokens == 1
    for _ in range(1200):
        if "Disconnected from client" in real.log.read_text(errors="replace"):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the server went on")
    assert "Paris" in ask(model)


def test_more_than_the_servers_context_is_told_in_its_own_words(real: RealServer, packaged: Path) -> None:
    model = ServerModel(real.url, context_window=4 * WINDOW, tokenizer=packaged)
    with pytest.raises(ModelError, match=f"maximum context length is {WINDOW} tokens.*lower -k"):
        ask(model, "sea " * 1500)
    with pytest.raises(ModelError, match=f"exceed the context window of {4 * WINDOW}"):
        ask(model, "sea " * 5000)
