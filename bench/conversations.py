"""Follow-up questions: what is searched for, and what it finds (docs/decisions/0009-conversations.md).

python bench/conversations.py SPLIT [--model FILE.gguf]     SPLIT is dev or test

Needs an index of data/corpus in .cache/gate-index (`make gate` makes it). With a model, questions that it has rewritten
are measured too: that was tried instead of searching for a question together with what it follows.
"""

from __future__ import annotations

import argparse
import json
import re
from contextlib import closing
from pathlib import Path
from typing import Any

from machine import print_head

from eval.statistics import wilson
from ingest.embed import open_embedder
from ingest.index import open_index
from ingest.types import ScoredChunk
from prompts.types import Message
from prompts.wording import load_wording
from rag.candidates import arrange, place
from rag.chat import open_model
from rag.context import Instruction, build_context
from rag.followup import joined, leans
from rag.grounding import Grounding
from rag.retriever import Retriever
from rag.settings import Settings
from rag.types import Conversation, Passage, Sampling, Turn

CASES = Path(__file__).resolve().parent.parent / "data" / "eval" / "conversations.jsonl"
K = Settings().k
REQUEST = """Do not answer the next question. Rewrite it as one question that can be understood without this \
conversation: put the names in place of words like "it" or "that". Reply with the rewritten question only.
Next question: {}"""
ROOM = 64
ASKS = re.compile(r"\b(?:what|which|who|whom|whose|when|where|why|how)\b", re.IGNORECASE)


def accepted(rewritten: str, question: str, conversation: Conversation, grounding: Grounding) -> str | None:
    """The model's rewritten question, tidied, or None if it cannot be trusted to ask the same: it must be one question,
    made of words of the question and of the conversation, and leave none of the question's own out."""
    text = " ".join(rewritten.split()).strip("\"'“”")
    new, own = grounding.terms(text), grounding.terms(question)
    spoken = [text for turn in conversation.turns for text in (turn.question, turn.standalone, turn.answer)]
    asks = ASKS.search(question)
    sound = (
        text.endswith("?")
        and text.count("?") == 1
        and text not in spoken
        and own <= new <= own | grounding.terms(" ".join(spoken))
        and new != own
        and (asks is None or asks[0].casefold() in text.casefold())
    )
    return text if sound else None


class Bench:
    """The cases of one split on one index."""

    def __init__(self, retriever: Retriever, split: str, model: Any) -> None:
        lines = CASES.read_text(encoding="utf-8").splitlines()
        self.cases = [case for line in lines if (case := json.loads(line))["split"] == split]
        self.retriever = retriever
        self.model = model
        self.grounding = Grounding()

    def conversation(self, case: dict[str, Any]) -> Conversation:
        """The history with the passages that its questions would have had before them; each question of it is taken
        in the joined form if it leans on those before."""
        talk = Conversation()
        turns = [Message(**message) for message in case["history"]]
        for asked, said in zip(turns[::2], turns[1::2], strict=True):
            question = asked.content
            leaning = bool(talk.turns) and leans(question, self.grounding)
            standalone = joined(question, talk) if leaning else question
            found = arrange(talk, self.hits(standalone), follow_up=leaning).candidates
            turn = Turn(
                question=question,
                standalone=standalone,
                answer=said.content,
                passages=tuple(candidate.passage for candidate in found),
            )
            talk = Conversation(turns=(*talk.turns, turn))
        return talk

    def hits(self, question: str) -> tuple[ScoredChunk, ...]:
        return self.retriever.search(question, k=K).hits

    def rewritten(self, case: dict[str, Any], talk: Conversation) -> str | None:
        context = build_context(
            Instruction(question=REQUEST.format(case["question"]), plain=True),
            arrange(talk, (), follow_up=True),
            talk,
            format_=self.model.format,
            wording=load_wording(),
            window=self.model.context_window,
            reserved=ROOM,
        )
        with closing(self.model.stream(context.prompt, Sampling(max_tokens=ROOM))) as pieces:
            said = "".join(pieces)
        kept = accepted(said, case["question"], talk, self.grounding)
        print(f"    {'kept' if kept else 'not '} {case['id']} {case['question']!r} -> {' '.join(said.split())[:120]!r}")
        return kept

    def run(self) -> None:
        """Print every table."""
        leaning: dict[str, list[bool]] = {}
        finds: dict[str, list[bool]] = {}
        in_prompt: dict[str, list[bool]] = {}
        sizes: dict[str, list[int]] = {}
        dragged = []
        for case in self.cases:
            kind, question = case["kind"], case["question"]
            talk = self.conversation(case)
            needs = leans(question, self.grounding)
            leaning.setdefault(kind, []).append(needs)
            forms = {"as asked": question, "joined": joined(question, talk), "by hand": case["standalone"]}
            forms["by rule"] = forms["joined"] if needs else question
            if self.model and needs:
                kept = self.rewritten(case, talk)
                forms["by model"] = kept or forms["by rule"]
            elif self.model:
                forms["by model"] = question
            for form, text in forms.items():
                hits = self.hits(text)
                finds.setdefault(f"{kind}, {form}", []).append(_holds(case, [hit.chunk.text for hit in hits]))
            final = forms.get("by model", forms["by rule"])
            found = arrange(talk, self.hits(final), follow_up=final != question).candidates
            passages = [candidate.passage for candidate in found]
            in_prompt.setdefault(kind, []).append(_holds(case, [passage.text for passage in passages]))
            before = talk.turns[-1].passages
            old = {place(passage) for passage in before}
            sizes.setdefault(kind, []).append(sum(place(passage) not in old for passage in passages))
            if kind == "topic_change":
                dragged.append(_share(passages, old))
        for kind, values in leaning.items():
            print(f"{kind:14s} taken for a follow-up: {_rate(values)}")
        for label, values in finds.items():
            print(f"{label:26s} gold among the first {K}: {_rate(values)}")
        for kind, values in in_prompt.items():
            new = sizes[kind]
            print(
                f"{kind:14s} gold in the prompt: {_rate(values)}; new passages: {sum(new) / len(new):.2f} on average, "
                f"none for {sum(n == 0 for n in new)} of {len(new)}"
            )
        print(f"topic_change   passages of the old topic in the prompt: {sum(dragged) / len(dragged):.2f} of them")


def _holds(case: dict[str, Any], texts: list[str]) -> bool:
    squeezed = [" ".join(text.split()) for text in texts]
    return any(" ".join(quote.split()) in text for quote in case["gold_quotes"] for text in squeezed)


def _share(passages: list[Passage], old: set[tuple[str, int]]) -> float:
    return sum(place(passage) in old for passage in passages) / max(1, len(passages))


def _rate(values: list[bool]) -> str:
    low, high = wilson(sum(values), len(values))
    return f"{sum(values)} of {len(values)} ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("split", choices=("dev", "test"))
    parser.add_argument("--model", default=None)
    parser.add_argument("--index", default=".cache/gate-index")
    given = parser.parse_args()
    print_head(data=f"{CASES.name}, {given.split}", model=given.model)
    embedder = open_embedder()
    with open_index(given.index, embedder) as index:
        model = None if given.model is None else open_model(Settings(model=given.model))
        Bench(Retriever(index, embedder), given.split, model).run()


if __name__ == "__main__":
    main()
