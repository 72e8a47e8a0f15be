"""JSON answers: every text and number is looked for in the passages, and what is in none of them is taken out.

A text is there when its words stand in a passage, whatever the white space, case, quotation marks and thousands
separators; a number when a number of that value does, in figures or as a word up to twenty. A number, or a text of a
single word, may stand anywhere by chance: it counts only near a word of the question, of its property's name and
description, or of the texts beside it. A longer text that stands nowhere as it is is judged sentence by sentence, like
an answer in prose. Choices (``enum``), true and false cannot be quoted: they are named as not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rag.citations import SHOWN
from rag.errors import SettingsError
from rag.grounding import Grounding, Verifier, sentence_spans
from rag.lookup import EvenedText
from rag.schemas import Schema, check_schema, validation_error
from rag.types import Citation, Passage

NOTHING_FOUND = "no value of the model's JSON stands in a passage"
NO_WAY_OUT = "no passage has {}, and the schema lets it be neither null nor left out"
LEFT_OUT = "left out, for no passage has it: "
UNCHECKED = "not checked against the documents: "
_SENTENCE_WORDS = 6
"""From this many words on a text is judged as sentences; shorter ones are names and terms, which must stand there."""

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedJson:
    """``data`` without what no passage has, or None when nothing is left that one has.

    ``unsupported`` and ``unchecked`` are JSON paths into what the model wrote (``$.crew[0].name``). ``why`` says the
    same for people.
    """

    data: Any
    citations: tuple[Citation, ...]
    unsupported: tuple[str, ...]
    unchecked: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaf:
    """A value that says something. ``about``: the words of the schema and of the texts beside it."""

    path: Path
    value: str | int | float
    about: str
    checked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a value stands: ``passage.text[start:end]`` are the sentences around it. ``shared``: see :func:`_find`."""

    passage: Passage
    start: int
    end: int
    shared: int


def check_answer_schema(schema: object, name: str = "the schema") -> Schema:
    """See :func:`rag.schemas.check_schema`; refuses a schema of which nothing could be checked against documents."""
    normal = check_schema(schema, name)
    if not _quotable(normal):
        raise SettingsError(
            f"{name} has no text and no number that documents could be cited for: add one, like a quote"
        )
    return normal


def _quotable(schema: Schema) -> bool:
    below = [*schema.get("properties", {}).values(), *schema.get("anyOf", ()), *schema.get("oneOf", ())]
    below += [schema["items"]] if "items" in schema else []
    return schema.get("type") in ("string", "number", "integer") or any(map(_quotable, below))


def cite_leaves(
    data: Any,
    schema: Schema,
    passages: Sequence[Passage],
    question: str,
    verifier: Verifier,
    grounding: Grounding,
) -> CheckedJson:
    """Look for every value of ``data``, which fits ``schema``, in the passages.

    A value that stands in none becomes null, or is left out, or goes with the object around it: whichever the schema
    allows first. When it allows none of that, there is no answer (``data`` is None).
    """
    leaves = list(_leaves(data, schema))
    finder = _Finder(passages, question, verifier, grounding)
    found = {leaf.path: finder.cite(leaf) for leaf in leaves if leaf.checked}
    unsupported = tuple(json_path(path) for path, citations in found.items() if not citations)
    unchecked = tuple(json_path(leaf.path) for leaf in leaves if not leaf.checked)
    gone: list[Path] = []
    for path in [path for path, citations in reversed(found.items()) if not citations]:
        if any(path[: len(prefix)] == prefix for prefix in gone):
            continue
        pruned = _pruned(data, schema, path)
        if pruned is None:
            why = NO_WAY_OUT.format(json_path(path)) if any(found.values()) else NOTHING_FOUND
            return CheckedJson(data=None, citations=(), unsupported=unsupported, unchecked=unchecked, why=why)
        data, prefix = pruned
        gone.append(prefix)
    kept = [
        citation
        for path, citations in found.items()
        if not any(path[: len(prefix)] == prefix for prefix in gone)
        for citation in citations
    ]
    if not kept:
        return CheckedJson(data=None, citations=(), unsupported=unsupported, unchecked=unchecked, why=NOTHING_FOUND)
    notes = ((LEFT_OUT, unsupported), (UNCHECKED, unchecked))
    return CheckedJson(
        data=data,
        citations=tuple(dict.fromkeys(kept)),
        unsupported=unsupported,
        unchecked=unchecked,
        why="; ".join(f"{said}{', '.join(paths)}" for said, paths in notes if paths),
    )


def json_path(path: Path) -> str:
    """``$.crew[0].name``"""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _leaves(data: Any, schema: Schema, path: Path = (), about: str = "") -> Iterator[_Leaf]:
    """The values of ``data`` that say something: no null, no empty text, nothing that the schema fixes."""
    about = f"{about} {schema.get('description', '')}"
    for shape in ("anyOf", "oneOf"):
        if shape in schema:
            fitting = (branch for branch in schema[shape] if not validation_error(data, branch))
            yield from _leaves(data, next(fitting, {}), path, about)
            return
    if isinstance(data, dict):
        beside = " ".join(value for value in data.values() if isinstance(value, str))
        for key, value in data.items():
            yield from _leaves(value, schema["properties"][key], (*path, key), f"{about} {_words(key)} {beside}")
    elif isinstance(data, list):
        for number, item in enumerate(data):
            yield from _leaves(item, schema["items"], (*path, number), about)
    elif data is not None and data != "" and "const" not in schema and len(schema.get("enum", "ab")) > 1:
        checked = "enum" not in schema and not isinstance(data, bool)
        yield _Leaf(path=path, value=data, about=about, checked=checked)


def _words(key: str) -> str:
    return re.sub(r"[\W_]+|(?<=[a-z])(?=[A-Z])", " ", key)


def _pruned(data: Any, schema: Schema, path: Path) -> tuple[Any, Path] | None:
    """The data without the value at ``path``, as little else gone as the schema allows, and the path that went."""
    for depth in range(len(path), 0, -1):
        for null in (True, False):
            candidate = _without(data, path[:depth], null)
            if not validation_error(candidate, schema):
                return candidate, path[:depth]
    return None


def _without(data: Any, path: Path, null: bool) -> Any:
    """The data with null at ``path``, or without it."""
    step, *rest = path
    inner = _without(data[step], tuple(rest), null) if rest else None
    drop = not rest and not null
    if isinstance(data, dict):
        return {key: inner if key == step else value for key, value in data.items() if not (drop and key == step)}
    return [inner if at == step else value for at, value in enumerate(data) if not (drop and at == step)]


class _Finder:
    """Looks values up in passages."""

    def __init__(self, passages: Sequence[Passage], question: str, verifier: Verifier, grounding: Grounding) -> None:
        self._passages = [(passage, EvenedText(passage.text), sentence_spans(passage.text)) for passage in passages]
        self._question = question
        self._verifier = verifier
        self._grounding = grounding

    def cite(self, leaf: _Leaf) -> tuple[Citation, ...]:
        """Where the value stands; empty when it does nowhere."""
        text = leaf.value if isinstance(leaf.value, str) else ""
        grounding = self._grounding
        own = grounding.terms(text)
        wanted = grounding.terms(f"{self._question} {leaf.about}") - own
        places = list(self._find(leaf.value, wanted, grounding))
        if places:
            best = max(places, key=lambda place: place.shared)
            if best.shared or len(own) > 1 or not wanted:
                return (best.passage.cite(best.start, best.end, "verified"),)
        return self._judge(text) if len(text.split()) >= _SENTENCE_WORDS else ()

    def _find(self, value: str | float, wanted: frozenset[int], grounding: Grounding) -> Iterator[_Place]:
        """Every place of the value; ``shared`` counts the wanted words around it, those of its own sentence twice."""
        for passage, evened, spans in self._passages:
            above = grounding.terms(" ".join(passage.headings))
            for start, end in evened.find(value):
                touched = [at for at, (first, last) in enumerate(spans) if first < end and start < last]
                if not touched:
                    continue
                first, last = touched[0], touched[-1]
                own = spans[first][0], spans[last][1]
                near = passage.text[spans[max(0, first - 1)][0] : spans[min(len(spans) - 1, last + 1)][1]]
                shared = len(wanted & grounding.terms(passage.text[own[0] : own[1]]))
                shared += len(wanted & (grounding.terms(near) | above))
                yield _Place(passage=passage, start=own[0], end=own[1], shared=shared)

    def _judge(self, text: str) -> tuple[Citation, ...]:
        """A citation for each sentence of the text; none unless every sentence has a passage that supports it."""
        cited: list[Citation] = []
        for start, end in sentence_spans(text):
            claim = text[start:end]
            verdicts = [
                (self._verifier.verify(claim, passage.text, " ".join(passage.headings)).p_supported, -at)
                for at, (passage, *_) in enumerate(self._passages)
            ]
            support, at = max(verdicts, default=(0.0, 0))
            if support < SHOWN:
                return ()
            passage = self._passages[-at][0]
            near = self._grounding.closest(claim, passage.text)
            first, last = (near.start, near.end) if near.score else (0, len(passage.text))
            cited.append(passage.cite(first, last, "verified"))
        return tuple(cited)
