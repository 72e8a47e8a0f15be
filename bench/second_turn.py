"""First-token time and reused tokens over a conversation, against plain llama.cpp on the same ids.

python bench/second_turn.py INDEX [--model FILE.gguf] [--rounds N]     INDEX: of data/corpus (`make gate` makes one)

Each round runs the conversation once through RagChat, then gives the very prompts to a bare llama_cpp.Llama in turn.
At the end a state is saved and loaded, against reading the same tokens again.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from machine import print_head

from ingest.embed import open_embedder
from ingest.index import open_index
from rag.chat import RagChat
from rag.llama import LlamaModel
from rag.models import find_model
from rag.retriever import Retriever
from rag.settings import Settings
from rag.types import Answer, Conversation, Sampling

QUESTIONS = (
    "How many months between annual inspections?",
    "And who does it?",
    "How long does it take?",
    "What does a red light on the station mean?",
    "And a green one?",
)


def converse(chat: RagChat) -> list[Answer]:
    """The questions in turn; each answer holds its prompt, usage and times."""
    answers: list[Answer] = []
    for question in QUESTIONS:
        answers.append(chat.ask(question, answers[-1].conversation if answers else Conversation()))
    return answers


def bare(file: Path, answers: list[Answer], window: int) -> list[float]:
    """Milliseconds to the first token of each prompt on an engine of its own, which then makes as many tokens."""
    import llama_cpp

    llama = llama_cpp.Llama(str(file), n_ctx=window, n_threads=2, n_threads_batch=2, verbose=False)
    times = []
    for answer in answers:
        assert answer.prompt is not None
        began = time.perf_counter()
        tokens = llama.generate(list(answer.prompt.token_ids), temp=0.0)
        next(tokens)
        times.append(1000 * (time.perf_counter() - began))
        for _, _token in zip(range(answer.usage.answer_tokens), tokens, strict=False):
            pass
        tokens.close()
    llama.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("index")
    parser.add_argument("--model", default="")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    file, window = find_model(given.model), Settings().context_window
    print_head(model=file.name, data="data/corpus", window=window)
    embedder = open_embedder()
    embedder.encode(["warm up"])
    ours: list[list[float]] = [[] for _ in QUESTIONS]
    theirs: list[list[float]] = [[] for _ in QUESTIONS]
    with open_index(given.index, embedder) as index:
        for _ in range(given.rounds):
            model = LlamaModel(file, context_window=window, threads=2)
            answers = converse(RagChat(Retriever(index, embedder), model))
            for times, answer in zip(ours, answers, strict=True):
                times.append(answer.timings.first_token_ms or 0.0)
            for times, ms in zip(theirs, bare(file, answers, window), strict=True):
                times.append(ms)
            last = model
    before: Answer | None = None
    for turn, answer in enumerate(answers, start=1):
        mine, plain = statistics.median(ours[turn - 1]), statistics.median(theirs[turn - 1])
        usage = answer.usage
        share = f", {usage.reused_tokens / before.usage.prompt_tokens:.0%} of the prompt before" if before else ""
        print(f"\n{turn}. {answer.question}\n   searched for: {answer.standalone}\n   {answer.text}")
        print(f"   prompt {usage.prompt_tokens} tokens, reused {usage.reused_tokens}{share}")
        print(f"   first token {mine:.0f} ms of which retrieval {answer.timings.retrieve_ms:.0f} ms; ", end="")
        print(f"llama.cpp alone {plain:.0f} ms; ratio {mine / plain:.2f}")
        before = answer
    state(last, answers[-1])


def state(model: LlamaModel, answer: Answer) -> None:
    """Saving and loading what has been read, against reading it again."""
    assert answer.prompt is not None
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        size = model.save_state(Path(folder), "bench")
        saved = time.perf_counter() - began
        began = time.perf_counter()
        tokens = model.load_state(Path(folder), "bench")
        loaded = time.perf_counter() - began
    model._llama.reset()
    model._llama._ctx.kv_cache_clear()
    began = time.perf_counter()
    next(model.stream(answer.prompt, Sampling(max_tokens=1)))
    read = time.perf_counter() - began
    print(f"\nstate of {tokens} tokens: {size / 2**20:.0f} MB, saved in {1000 * saved:.0f} ms, ", end="")
    print(
        f"loaded in {1000 * loaded:.0f} ms; reading them again {1000 * read:.0f} ms ({read / loaded:.0f} times as long)"
    )


if __name__ == "__main__":
    main()
