"""What each step after the model does to its answers: checking, asking again, quoting.

python bench/answers.py EVALSET [--model GGUF] [--each N] [--threads N]

Of each kind of question to the corpus so many, spread over the clusters. One run of the model is looked at after each
step, so the rows compare like with like. "recall": a gold answer is in the text; "answered": not refused; "grounded":
mean groundedness of what was answered, by the verifier that also filters and by another one. Asking again is no part of
the program (docs/decisions/0001-answers-sentence-by-sentence.md says why): it is done here, on the questions for which
no sentence of the model was supported, in the same conversation, with the first failing sentence named.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from evalset import indexed
from machine import print_head
from retrieval_sets import sample_of

from eval.cases import read_cases
from eval.scores import score_case
from eval.types import Case, Record
from prompts.types import Message, Prompt
from prompts.wording import load_wording
from rag.alignment import AlignmentVerifier
from rag.candidates import Arrangement
from rag.chat import RagChat, open_model
from rag.citations import AnswerWriter
from rag.context import Instruction, build_context
from rag.grounding import Grounding, Verifier
from rag.llama import LlamaModel
from rag.packing import Candidate
from rag.settings import Settings
from rag.types import Answer, Conversation, Passage, Sampling
from rag.verifier import LexicalVerifier

ANSWERABLE = ("answerable", "answerable_disfluent")
UNANSWERABLE = ("near_miss", "far_ood")
AGAIN = (
    'No passage supports your sentence "{claim}". Answer the question once more from the passages only; if they do not '
    "contain the answer, reply exactly: {refusal}\n{question}"
)
STEPS = (
    "the model alone",
    "off-corpus questions refused",
    "unsupported sentences left out",
    "... then asked again",
    "... then quoted (the program)",
    "... then asked again, then quoted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The text after each of :data:`STEPS`, empty where it is a refusal, and what stood before the model."""

    case: Case
    texts: tuple[str, ...]
    passages: tuple[Passage, ...]
    again: bool


class Recorder:
    """Keeps what the model said, before it is checked."""

    def __init__(self, model: LlamaModel) -> None:
        self._model = model
        self.raw = ""

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        self.raw = ""
        for piece in self._model.stream(prompt, sampling):
            self.raw += piece
            yield piece


def followed(chat: RagChat, model: Recorder, case: Case, least: float) -> Steps:
    """Ask once, and once more where nothing was supported. ``least``: relevance below which a question is refused."""
    retrieval, _ = chat.prepare(case.question)
    answer = chat.ask(case.question)
    declined = answer.refused and not answer.claims
    raw = "" if declined else model.raw
    early = "" if retrieval.relevance < least else raw
    checked = answer.text if early and answer.stop in ("end", "length") else ""
    ask = bool(early) and not checked and bool(answer.claims)
    again = checked or (asked_again(chat, model, answer) if ask else "")
    quoted = checked or (answer.text if early and answer.stop == "quoted" else "")
    texts = (raw, early, checked, again, quoted, again or quoted)
    return Steps(case=case, texts=texts, passages=answer.passages, again=ask)


def asked_again(chat: RagChat, model: Recorder, answer: Answer) -> str:
    """What of a second answer is supported; the first failing sentence of the first one is named in the request."""
    wording, settings = load_wording(), chat.settings
    request = AGAIN.format(claim=answer.claims[0].text, refusal=wording.refusal, question=answer.question)
    said = (Message(role="user", content=answer.question), Message(role="assistant", content=model.raw))
    places = (
        Candidate(passage=passage, rank=rank, whole=len(passage.text))
        for rank, passage in enumerate(answer.passages, start=1)
    )
    context = build_context(
        Instruction(question=request, plain=True, exchange=said),
        Arrangement(candidates=tuple(places)),
        Conversation(),
        format_=model.format,  # type: ignore[arg-type]
        wording=wording,
        window=settings.context_window,
        reserved=settings.max_answer_tokens,
    )
    writer = AnswerWriter(context.passages, LexicalVerifier(), Grounding())
    for piece in model.stream(context.prompt, settings.sampling):
        writer.feed(piece)
        if writer.repeats:
            break
    writer.finish()
    return "" if model.raw.startswith(wording.refusal) else writer.text


def print_steps(found: Sequence[Steps], judges: Sequence[Verifier]) -> None:
    refusal = load_wording().refusal
    print(
        "\nstep | answerable: recall | answered | unanswerable: answered | grounded by",
        " | ".join(j.name for j in judges),
    )
    for number, step in enumerate(STEPS):
        recall: list[float] = []
        answered: dict[bool, list[bool]] = {True: [], False: []}
        grounded: dict[str, list[float]] = {judge.name: [] for judge in judges}
        for item in found:
            text = item.texts[number]
            record = Record(id=item.case.id, answer=text or refusal, refused=not text, passages=item.passages)
            answered[item.case.kind in ANSWERABLE].append(bool(text))
            for judge in judges:
                scores = {score.name: score.value for score in score_case(item.case, record, judge).scores}
                if (value := scores["groundedness"]) is not None:
                    grounded[judge.name].append(value)
            if item.case.kind in ANSWERABLE and (value := scores["answer_recall"]) is not None:
                recall.append(value)
        shares = (recall, answered[True], answered[False], *grounded.values())
        print(step, "|", " | ".join(f"{np.mean(share):.3f}" if share else "-" for share in shares))
    kinds = {kind: sum(item.case.kind == kind for item in found) for kind in (*ANSWERABLE, *UNANSWERABLE)}
    print(f"questions: {kinds}; asked again: {sum(item.again for item in found)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("evalset", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    least = Settings().min_relevance
    settings = replace(Settings(), model=given.model, threads=given.threads, max_answer_tokens=96)
    settings = replace(settings, min_relevance=0.0, min_confidence=0.0)
    model = Recorder(open_model(settings))  # type: ignore[arg-type]
    print_head(data=given.evalset.name, model=model.name, questions_of_each_kind=given.each)
    cases = read_cases(given.evalset / "questions.jsonl")
    chosen = [
        case
        for kind in (*ANSWERABLE, *UNANSWERABLE)
        for case in sample_of([case for case in cases if case.kind == kind], given.each)
    ]
    found = []
    with indexed(given.evalset / "corpus.jsonl") as (_, retriever):
        chat = RagChat(retriever, model, settings)  # type: ignore[arg-type]
        for number, case in enumerate(chosen, start=1):
            found.append(followed(chat, model, case, least))
            print(f"\r{number} of {len(chosen)} questions", end="", flush=True)
    print_steps(found, (LexicalVerifier(), AlignmentVerifier()))


if __name__ == "__main__":
    main()
