"""An answer of an earlier run, made again from what was recorded.

The passages are those that the search gave then, and the wording is that of then; the index is not needed. So an answer
can be made again after the documents have changed, and what differs is the model's or the program's doing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eval.cases import read_cases
from eval.errors import InputError
from eval.folder import ANSWERS, CASES
from eval.hiding import without
from eval.jsonl import Row, read_rows, unique
from eval.manifest import Manifest, model_facts, read_manifest, run_facts, wording_of
from eval.prompt_facts import ids_digest
from eval.run import forget
from eval.types import Case
from ingest.chunk import ChunkPolicy, embedding_text
from ingest.filters import Filters
from ingest.late import LateQuery, token_codes
from ingest.types import Chunk, Embedder, ScoredChunk, SearchResult, SparseVector, StoredDocument, Vectors
from rag.chat import RagChat
from rag.errors import SettingsError
from rag.model import ChatModel
from rag.retriever import Retriever
from rag.settings import Settings
from rag.types import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A case of a run and the line of its answer."""

    manifest: Manifest
    case: Case
    line: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A part of an answer that is not as it was: ``prompt``, ``answer``, ``refused`` or ``citations``."""

    part: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of making an answer again.

    ``changed``: facts of the run that are otherwise now, each a line for people; they are the likely cause of
    ``differences``, which are empty when the answer is the same.
    """

    answer: Answer
    differences: tuple[Difference, ...]
    changed: tuple[str, ...]

    @property
    def identical(self) -> bool:
        return not self.differences


def read_recorded(folder: Path, id_: str) -> Recorded:
    """The case of this id in a run's folder.

    Raises :class:`~eval.errors.InputError` when the folder has no such case or answer, or one that failed.
    """
    manifest = read_manifest(folder)
    cases = {case.id: case for case in read_cases(folder / CASES)}
    lines = unique(read_rows(folder / ANSWERS))
    if id_ not in cases or id_ not in lines:
        raise InputError(f"{folder} has no answer to a case {id_!r}: its ids are in {folder / ANSWERS}")
    line = lines[id_]
    if "error" in line.data:
        raise InputError(f"{line.where}: this case failed ({line.text('error')}): run it again with 'rag eval run'")
    return Recorded(manifest=manifest, case=cases[id_], line=line)


def recorded_settings(manifest: Manifest, given: Mapping[str, Any]) -> Settings:
    """The settings of a run, on as many threads and layers of a GPU as then; ``given`` are those of the command line,
    None where one was not given.

    Raises :class:`~eval.errors.InputError` when this version has other settings.
    """
    try:
        values = {
            **manifest.facts["settings"],
            **manifest.places,
            "threads": manifest.machine.get("threads"),
            "gpu_layers": manifest.facts["model"]["gpu_layers"],
            **{name: value for name, value in given.items() if value is not None},
        }
        return Settings(**{name: value for name, value in values.items() if value is not None})
    except (TypeError, KeyError, SettingsError) as error:
        raise InputError(f"the run's settings are not for this version ({error}): make the run again") from error


def replay(recorded: Recorded, model: ChatModel, embedder: Embedder, settings: Settings) -> Replay:
    """Make the answer again with the recorded passages and wording, and compare it."""
    index = _RecordedIndex(recorded.line)
    retriever = Retriever(index.read_by(embedder), embedder)
    chat = RagChat(retriever, model, settings, wording=wording_of(recorded.manifest))
    forget(model)
    answer = chat.ask(recorded.case.question, recorded.case.history)
    now = run_facts(chat, model_facts(settings, model))
    return Replay(
        answer=answer,
        differences=_differences(recorded.line.data, answer),
        changed=changes({**recorded.manifest.facts, "index": now["index"]}, now),
    )


def finds_the_same(recorded: Recorded, retriever: Retriever, settings: Settings) -> bool:
    """Whether a search gives the recorded passages today, in their order."""
    other = without(retriever, recorded.case.hidden)
    found = other.search(recorded.line.text("standalone"), k=settings.k, mode=settings.mode)
    before = _RecordedIndex(recorded.line).hits
    return [hit.chunk.text for hit in found.hits] == [hit.chunk.text for hit in before]


def changes(before: Mapping[str, Any], now: Mapping[str, Any], under: str = "") -> tuple[str, ...]:
    """The facts that are otherwise now, each as "settings.k was 5, is 3"."""
    told: list[str] = []
    for name in dict.fromkeys((*before, *now)):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            told += changes(old, new, f"{under}{name}.")
        elif old != new:
            told.append(f"{under}{name} was {_short(old)}, is {_short(new)}")
    return tuple(told)


class _RecordedIndex:
    """A :class:`~ingest.document_index.PassageIndex` that finds what a search found once, whatever it is asked."""

    def __init__(self, line: Row) -> None:
        """Raises :class:`~eval.errors.InputError` when the line does not hold what a run records of a search."""
        try:
            search = line.data["search"]
            self._best_cosine: float | None = search["best_cosine"]
            self.hits = tuple(map(_hit, search["hits"]))
            self._sent = [(sent["source"], sent["start"], sent["text"]) for sent in line.data["passages"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise line.wrong("search", "what a run of this version records of the search") from error

    def read_by(self, embedder: Embedder) -> _RecordedIndex:
        """The same, its hits with the token codes that ingest gives their chunks: a run does not record them."""
        policy = ChunkPolicy(window=embedder.window)
        _, read = embedder.encode_tokens([embedding_text(hit.chunk, embedder.counter, policy) for hit in self.hits])
        other = copy(self)
        other.hits = tuple(replace(h, codes=token_codes(r.vectors)) for h, r in zip(self.hits, read, strict=True))
        return other

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        late: LateQuery | None = None,
        *,
        limit: int = 10,
        filters: Filters | None = None,
    ) -> SearchResult:
        """See :meth:`PassageIndex.search`."""
        del dense, sparse, late, limit, filters
        return SearchResult(hits=self.hits, best_cosine=self._best_cosine)

    def text(self, document_id: str) -> str:
        """As much of a document's text as the hits and the passages hold, each in its place."""
        own = [(hit.chunk.source, hit.chunk.start, hit.chunk.text) for hit in self.hits]
        sources = {hit.chunk.source for hit in self.hits if hit.chunk.document_id == document_id}
        text = ""
        for _, start, held in sorted(piece for piece in (*own, *self._sent) if piece[0] in sources):
            text = text.ljust(start)
            text = text[:start] + held + text[start + len(held) :]
        return text

    def documents(self, filters: Filters | None = None) -> list[StoredDocument]:
        """None are known."""
        del filters
        return []


def _hit(data: Mapping[str, Any]) -> ScoredChunk:
    chunk: dict[str, Any] = {name: value for name, value in data.items() if name != "score"}
    lists = {"headings": tuple(chunk["headings"]), "pages": tuple(chunk["pages"])}
    return ScoredChunk(chunk=Chunk(**{**chunk, **lists}), score=data["score"])


def _differences(before: Mapping[str, Any], answer: Answer) -> tuple[Difference, ...]:
    """What is not as recorded. A prompt is compared by the digest of its ids, where both have one."""
    now = answer.as_json()
    parts = {name: (before.get(name), now[name]) for name in ("answer", "refused", "citations")}
    prompt = before.get("prompt")
    old = prompt.get("sha256") if isinstance(prompt, dict) else None
    new = ids_digest(answer.prompt.token_ids) if answer.prompt and answer.prompt.token_ids else None
    parts = {"prompt": (old, new), **parts}
    return tuple(
        Difference(part=part, before=old, after=new)
        for part, (old, new) in parts.items()
        if json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True)
    )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
