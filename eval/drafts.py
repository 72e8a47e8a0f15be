"""Drafts of cases, made by a model from passages of the user's own index, for a person to review.

The model chooses the answer among the figures and names of a passage and writes the question: a small model that is
free to write both seldom copies anything. What it writes is input: the answer must stand in the passage word for word,
and the question must be one that somebody without the passage can understand and that does not hold the answer. What
fails is dropped and counted. What passes may still be trivial, wrong, or answered elsewhere too: a draft is never
counted until a person accepts it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from eval.cases import case_json, cases_text
from eval.errors import InputError
from eval.normal import normalised, stands_in
from eval.types import Case
from ingest.types import Chunk
from prompts.defuse import defuse, find_reserved
from prompts.draft_wording import DraftWording, load_draft_wording
from prompts.encoding import clean
from prompts.types import LedgerEntry, Message, Prompt
from rag.errors import ModelError
from rag.followup import leans
from rag.grounding import Grounding, sentence_spans
from rag.model import ChatModel
from rag.schemas import Schema, check_schema, outline, read_json
from rag.settings import Settings
from rag.types import Sampling

TRIES = 4
"""Passages that are tried at most for each draft that is wanted."""
LONGEST_ANSWER = 60
"""Characters."""
_SHORTEST_PASSAGE = 60
_FEWEST_WORDS = 4
_MOST_ANSWERS = 12
_LONGEST_QUESTION = 160
# A number with its unit or what it counts; a name, but not the first word of a sentence, which any word may be.
_FIGURE = re.compile(r"(?<![\w.,:/–-])\d+(?:[.,:]\d+)*(?: ?[%°][A-Z]?| [a-z]{2,})?(?![\w/–-]|[.,:]\d)")
_NAME = re.compile(r"(?<=[a-z0-9,;:] )[A-Z][^\W_]+(?:[ -](?:of |de |van |von )?[A-Z][^\W_]+)*(?![\w-])")
_MEANS_THE_PASSAGE = re.compile(
    r"\b(?:th(?:e|is|at) (?:passage|text|document|excerpt|article|paragraph|section|statement|following)|"
    r"according to (?:it|this)|mentioned (?:above|below|here))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Why a passage gave no draft, in a few words that are the same for all such passages."""

    why: str


def draft_cases(
    model: ChatModel,
    passages: Sequence[Chunk],
    count: int,
    settings: Settings,
    *,
    wording: DraftWording | None = None,
) -> Iterator[Case | Dropped]:
    """Ask the model for a draft from one passage after the other, until there are ``count`` of them.

    ``passages`` are tried in order, ``TRIES`` times ``count`` at most. ``settings`` say how tokens are drawn, and how
    many.
    """
    texts = wording or load_draft_wording()
    grounding = Grounding()
    asked: set[str] = set()
    for passage in passages[: TRIES * count]:
        found = _draft(model, passage, texts, settings.sampling, grounding)
        if isinstance(found, Case):
            if normalised(found.question) in asked:
                found = Dropped(why="the question is there already")
            else:
                asked.add(normalised(found.question))
        yield found
        if len(asked) == count:
            return


def spread(chunks: Sequence[Chunk]) -> list[Chunk]:
    """Passages that are long enough to ask about: one of each document, then a second of each, and so on.

    The order is drawn by SHA-256 of source, place and text, so that it is the same for the same documents.
    """
    of_source: dict[str, list[Chunk]] = {}
    for chunk in sorted(chunks, key=_drawn):
        if len(chunk.text) >= _SHORTEST_PASSAGE:
            of_source.setdefault(chunk.source, []).append(chunk)
    ranked = [(rank, _drawn(chunk), chunk) for found in of_source.values() for rank, chunk in enumerate(found)]
    return [chunk for _, _, chunk in sorted(ranked, key=lambda item: item[:2])]


def _drawn(chunk: Chunk) -> str:
    return hashlib.sha256(f"{chunk.source}\0{chunk.start}\0{chunk.text}".encode("utf-8", "replace")).hexdigest()


def _draft(
    model: ChatModel, passage: Chunk, wording: DraftWording, sampling: Sampling, grounding: Grounding
) -> Case | Dropped:
    answers = answers_in(passage.text)
    if not answers:
        return Dropped(why="the passage has no figure and no name")
    schema = _schema(answers)
    prompt = _prompt(model, passage, wording, schema)
    if prompt.tokens + sampling.max_tokens > model.context_window:
        return Dropped(why="the passage does not fit the context window")
    with closing(model.stream(prompt, replace(sampling, schema=schema))) as pieces:
        text = "".join(pieces)
    try:
        data = read_json(text, schema, finished=model.finished)
    except ModelError:
        return Dropped(why="the model wrote no such JSON")
    question, answer = (" ".join(data[name].split()) for name in ("question", "answer"))
    if why := _wrong(question, answer, passage, grounding):
        return Dropped(why=why)
    return Case(
        id="draft-" + hashlib.sha256(f"{passage.source}\0{question}".encode()).hexdigest()[:12],
        question=question,
        kind="answerable",
        answers=(answer,),
        gold_docs=(passage.source,),
        gold_quotes=(_sentence(question, answer, passage.text, grounding),),
        cluster=passage.source,
        tags=("generated",),
        draft=True,
    )


def answers_in(text: str) -> tuple[str, ...]:
    """Figures and names of a passage that an answer can be, in order; of many, some from its whole length."""
    spans = sorted((match.start(), match[0]) for match in (*_FIGURE.finditer(text), *_NAME.finditer(text)))
    found = list(dict.fromkeys(span for _, span in spans if len(span) <= LONGEST_ANSWER and find_reserved(span) == ()))
    return (
        tuple(found[at * len(found) // _MOST_ANSWERS] for at in range(_MOST_ANSWERS))
        if len(found) > _MOST_ANSWERS
        else tuple(found)
    )


def _schema(answers: Sequence[str]) -> Schema:
    properties = {
        "answer": {"enum": list(answers)},
        "question": {
            "type": "string",
            "minLength": 20,
            "maxLength": _LONGEST_QUESTION,
            "description": "ends with a question mark",
        },
    }
    return check_schema({"type": "object", "properties": properties, "required": ["answer", "question"]})


def _prompt(model: ChatModel, passage: Chunk, wording: DraftWording, schema: Schema) -> Prompt:
    asked = wording.passage(passage.text, passage.source, passage.headings, outline(schema))
    tags = model.format.tags
    messages = (
        Message(role="system", content=defuse(clean(wording.system), tags)),
        Message(role="user", content=defuse(clean(asked), tags)),
    )
    encoded = model.format.build(messages)
    size = len(encoded.token_starts)
    ledger = (LedgerEntry(part="passage to draft from", tokens=size, action="kept", why="always kept"),)
    return Prompt(messages=messages, token_ids=encoded.token_ids, text=encoded.text, ledger=ledger)


def _wrong(question: str, answer: str, passage: Chunk, grounding: Grounding) -> str:
    """What is wrong with a draft; empty when nothing is that a rule can see."""
    if not normalised(answer) or not any(char.isalnum() for char in answer):
        return "the answer is empty"
    if not list(_places(answer, passage.text)):
        return "the answer does not stand in the passage"
    if len(question.split()) < _FEWEST_WORDS or not question.endswith("?"):
        return "there is no question"
    if stands_in(normalised(answer), normalised(question)):
        return "the question holds the answer"
    if normalised(question) in normalised(passage.text):
        return "the question is copied from the passage"
    if _MEANS_THE_PASSAGE.search(question) or leans(question, grounding):
        return "the question cannot be understood without the passage"
    if not grounding.terms(question) & grounding.terms("\n".join((*passage.headings, passage.text))):
        return "the question has nothing to do with the passage"
    return ""


def _places(answer: str, text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of an answer in a text, word for word; only white space may differ."""
    words = r"\s+".join(re.escape(word) for word in answer.split())
    for match in re.finditer(rf"(?<!\w){words}(?!\w)", text):
        yield match.span()


def _sentence(question: str, answer: str, text: str, grounding: Grounding) -> str:
    """The sentence that holds the answer; of several, the one that has most of the question's terms."""
    wanted = grounding.terms(question)
    sentences = sentence_spans(text)
    found = []
    for start, end in _places(answer, text):
        touched = [(a, b) for a, b in sentences if a < end and b > start]
        found.append(text[touched[0][0] : touched[-1][1]])
    return max(found, key=lambda sentence: len(wanted & grounding.terms(sentence)))


def write_drafts(
    file: Path, found: Iterator[Case | Dropped], facts: Mapping[str, str], progress: Callable[[int], None]
) -> tuple[int, Counter[str]]:
    """Write drafts into a new file as they are made; returns their number, and why others were dropped.

    ``facts`` (such as the model's name) stand in each line beside the case. ``progress`` is called with the number of
    drafts so far. Raises :class:`InputError` when the file exists or cannot be written; without a draft there is none.
    """
    made, dropped = 0, Counter[str]()
    try:
        if file.exists() and file.stat().st_size:  # an empty one is what a killed attempt left
            raise InputError(f"{file} exists: accept or delete what is in it, or pass another --out")
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", encoding="utf-8", newline="\n") as stream:
            try:
                for one in found:
                    if isinstance(one, Dropped):
                        dropped[one.why] += 1
                        continue
                    made += 1
                    stream.write(cases_text([{**case_json(one), **facts}]))
                    stream.flush()
                    progress(made)
            finally:
                if not made:
                    file.unlink()
    except OSError as error:
        raise InputError(f"{file} cannot be written ({error.strerror}): pass another --out") from error
    return made, dropped
