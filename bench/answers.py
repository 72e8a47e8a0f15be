"""What checking sentences does to a model's answers: the raw text against what is shown.

python bench/answers.py EVALSET_FOLDER [--model GGUF] [--each N]

Of each kind the first N questions in a fixed shuffle. "right" means that a gold answer is in the text; "shown" is
after the check (docs/decisions/0001-answers-sentence-by-sentence.md); the raw text comes from the same generation.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from evalset import PARTS, indexed, rows
from machine import print_head

from prompts.types import Prompt
from rag.chat import RagChat, open_model
from rag.llama import LlamaModel
from rag.settings import Settings
from rag.types import Sampling


class Recorder:
    """Keeps what the model said, before it is checked."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self.raw = ""

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        for piece in self._model.stream(prompt, sampling):
            self.raw += piece
            yield piece


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--each", type=int, default=20)
    arguments = parser.parse_args()
    settings = replace(Settings(), model=arguments.model, max_answer_tokens=96)
    model = Recorder(open_model(settings))
    print_head(data=arguments.folder.name, model=model.name, questions_of_each_kind=arguments.each)
    for corpus, questions in PARTS:
        with indexed(arguments.folder / f"{corpus}.jsonl") as (_, retriever):
            chat = RagChat(retriever, model, settings)  # type: ignore[arg-type]
            asked = rows(arguments.folder / f"{questions}.jsonl")
            for kind in sorted({row["kind"] for row in asked}):
                chosen = [row for row in asked if row["kind"] == kind]
                random.Random(0).shuffle(chosen)
                seen: Counter[str] = Counter()
                for row in chosen[: arguments.each]:
                    model.raw = ""
                    answer = chat.ask(row["question"])
                    seen["asked"] += 1
                    seen[answer.stop] += 1
                    gold = [text.casefold() for text in row.get("answers", [])]
                    seen["raw right"] += any(text in model.raw.casefold() for text in gold)
                    seen["shown right"] += not answer.refused and any(t in answer.text.casefold() for t in gold)
                print(questions, kind, dict(sorted(seen.items())), flush=True)


if __name__ == "__main__":
    main()
