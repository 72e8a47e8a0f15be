"""The packaged model on the real engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prompts.types import Message, Prompt
from rag.engine import supports_gpu
from rag.errors import ModelError
from rag.llama import LlamaModel
from rag.models import find_model
from rag.types import Sampling


@pytest.fixture(scope="module")
def model() -> LlamaModel:
    return LlamaModel(find_model(""), context_window=512)


def prompt(model: LlamaModel, *texts: str) -> Prompt:
    roles = ("user", "assistant")
    messages = tuple(
        Message(role=roles[position % 2], content=text)  # type: ignore[arg-type]
        for position, text in enumerate(texts)
    )
    built = model.format.build(messages)
    return Prompt(messages=messages, token_ids=built.token_ids, text=built.text, ledger=())


def test_greedy_answers_repeat_and_the_prefix_is_really_reused(model: LlamaModel) -> None:
    first = prompt(model, "Name the capital of France.")
    one = "".join(model.stream(first, Sampling(max_tokens=24)))
    assert "Paris" in one
    assert model.usage.prompt_tokens == len(first.token_ids)
    again = "".join(model.stream(first, Sampling(max_tokens=24)))
    assert again == one
    assert model.usage.reused_tokens == len(first.token_ids) - 1
    longer = prompt(model, "Name the capital of France.", one.strip(), "And of Italy?")
    assert "".join(model.stream(longer, Sampling(max_tokens=24)))
    assert len(first.token_ids) - 4 <= model.usage.reused_tokens < len(longer.token_ids)


def test_the_token_limit_stops_it_and_is_told_apart_from_an_end(model: LlamaModel) -> None:
    asked = prompt(model, "Count from one to one hundred.")
    list(model.stream(asked, Sampling(max_tokens=5)))
    assert (model.usage.answer_tokens, model.finished) == (5, False)
    list(model.stream(prompt(model, "Say yes."), Sampling(max_tokens=100)))
    assert model.finished
    assert model.usage.answer_tokens < 100


def test_a_reader_that_stops_leaves_the_model_usable(model: LlamaModel) -> None:
    stream = model.stream(prompt(model, "Tell a long story."), Sampling(max_tokens=200))
    next(stream)
    stream.close()
    assert model.usage.answer_tokens <= 2
    assert "".join(model.stream(prompt(model, "Say yes."), Sampling(max_tokens=8)))


def test_the_seed_decides_above_temperature_zero(model: LlamaModel) -> None:
    asked = prompt(model, "Write a sentence about the sea.")

    def said(seed: int) -> str:
        return "".join(model.stream(asked, Sampling(max_tokens=16, temperature=1.5, seed=seed)))

    assert said(1) == said(1)
    assert len({said(seed) for seed in range(4)}) > 1


def test_the_answer_ends_at_a_stop_text_that_is_no_part_of_it(model: LlamaModel) -> None:
    asked = prompt(model, "Name the capital of France.")
    whole = "".join(model.stream(asked, Sampling(max_tokens=24)))
    assert "Paris" in whole
    said = "".join(model.stream(asked, Sampling(max_tokens=24, stop=("Par",))))
    assert said == whole[: whole.index("Par")]
    assert model.finished


def test_an_answer_follows_a_json_schema(model: LlamaModel) -> None:
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string", "maxLength": 20}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    said = "".join(model.stream(prompt(model, "Name the capital of France."), Sampling(max_tokens=64, schema=schema)))
    assert set(json.loads(said)) == {"capital"}


@pytest.mark.parametrize("longest", [3_000, 20_000])
def test_a_schema_that_llama_cpp_cannot_follow_is_an_error_and_no_crash(model: LlamaModel, longest: int) -> None:
    schema = {"type": "string", "maxLength": longest}
    with pytest.raises(ModelError, match="JSON schema"):
        list(model.stream(prompt(model, "Say yes."), Sampling(max_tokens=8, schema=schema)))


def test_before_a_long_prompt_the_wait_is_estimated(model: LlamaModel) -> None:
    told: list[tuple[int, float]] = []
    model.on_wait = lambda tokens, seconds: told.append((tokens, seconds))
    list(model.stream(prompt(model, "Say yes."), Sampling(max_tokens=2)))
    assert told == []
    long = prompt(model, "Look at the grey sea. " * 50)
    list(model.stream(long, Sampling(max_tokens=2)))
    ((tokens, seconds),) = told
    assert 0 < tokens < len(long.token_ids)
    assert seconds > 0
    model.on_wait = None


def test_a_saved_state_need_not_be_read_again(model: LlamaModel, tmp_path: Path) -> None:
    asked = prompt(model, "Name the capital of France.")
    first = "".join(model.stream(asked, Sampling(max_tokens=24)))
    assert model.save_state(tmp_path, "talk") > 0
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o077 == 0
    other = LlamaModel(find_model(""), context_window=512, threads=1)
    assert other.load_state(tmp_path, "none") == 0
    assert other.load_state(tmp_path, "talk") >= len(asked.token_ids)
    again = "".join(other.stream(asked, Sampling(max_tokens=24)))
    assert again == first
    assert other.usage.reused_tokens >= len(asked.token_ids) - 1
    file.write_bytes(file.read_bytes()[:1000])
    assert other.load_state(tmp_path, "talk") == 0
    assert "".join(other.stream(asked, Sampling(max_tokens=24))) == first
    other.close()


def test_layers_for_a_gpu_need_a_build_with_one() -> None:
    if supports_gpu():
        LlamaModel(find_model(""), context_window=512, gpu_layers=1).close()
        return
    with pytest.raises(ModelError, match="GGML_CUDA"):
        LlamaModel(find_model(""), context_window=512, gpu_layers=1)


def test_a_prompt_that_leaves_no_room_is_refused_before_it_runs(model: LlamaModel) -> None:
    with pytest.raises(ModelError, match="exceed the context window of 512"):
        list(model.stream(prompt(model, "sea " * 500), Sampling(max_tokens=64)))


def test_a_window_beyond_the_training_is_refused() -> None:
    with pytest.raises(ModelError, match="--context-window 8192"):
        LlamaModel(find_model(""), context_window=100_000, vocabulary_only=True)


def test_a_damaged_model_is_one_clear_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(find_model("").read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"cannot load .*damaged\.gguf"):
        LlamaModel(damaged)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.gguf", None, "no model file"),
        ("text.gguf", b"hello" * 9, "not a GGUF"),
        ("e.gguf", b"", "not a GGUF"),
    ],
)
def test_files_that_are_no_models_are_named(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        find_model(str(tmp_path / name))


def test_without_the_packaged_model_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.models.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"groundchat\[demo\]"):
        find_model("")
    with pytest.raises(ModelError, match=r"groundchat\[demo\]"):
        find_model("smollm2")
