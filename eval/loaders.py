"""Evaluation sets of others: BEIR folders, SQuAD v1 and v2 files, question files with a corpus beside them.

What they are, by shape:

- BEIR: a folder with ``corpus.jsonl`` (``_id``, ``title``, ``text``), ``queries.jsonl`` (``_id``, ``text``) and
  ``qrels/*.tsv``; named by the folder (its ``test`` split, or the only one) or by one of the ``.tsv`` files;
- SQuAD: one JSON object with a list ``data`` of articles;
- questions: ``questions.jsonl`` or ``NAME_questions.jsonl`` of cases, with ``corpus.jsonl`` or ``NAME_corpus.jsonl``
  (``id``, ``text``, perhaps ``title``) beside it.

Each needs an index of its corpus: :func:`write_corpus` writes files for ``rag ingest``, and the gold documents of the
cases are the names of those files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eval.corpora import CorpusDocument, WrittenCorpus, document_names, write_documents
from eval.errors import InputError
from eval.jsonl import Row, iter_rows, unreadable
from eval.types import Case
from rag.grounding import sentence_spans

QUOTE = 200
"""Most characters of a sentence that is taken for a gold quote; of a longer one, those around the answer."""
_QRELS = ["query-id", "corpus-id", "score"]


def is_beir(path: Path) -> bool:
    """Whether a path is a BEIR folder, or a file of relevance judgements inside one."""
    folder = _beir_folder(path)
    return (folder / "corpus.jsonl").is_file() and (folder / "queries.jsonl").is_file() and (folder / "qrels").is_dir()


def read_beir(path: Path) -> tuple[Case, ...]:
    """The judged queries of a BEIR set. A document is gold when its relevance is above 0; grades are not kept.

    The set does not say whether the documents answer a query in words, so the cases have no kind: retrieval is
    scored, refusals are not. A judged document that the corpus lacks stays gold and is never found, as in the
    published figures. Raises :class:`InputError`.
    """
    folder = _beir_folder(path)
    queries = {row.name("_id"): row.name("text") for row in iter_rows(folder / "queries.jsonl")}
    judged: dict[str, list[str]] = {}
    for where, query, document, relevance in _judgements(_qrels(path)):
        if query not in queries:
            raise InputError(f"{where}: the query {query!r} is not in {folder / 'queries.jsonl'}: take one release")
        if relevance > 0:
            judged.setdefault(query, []).append(document)
    if not judged:
        raise InputError(f"{_qrels(path)} judges no document relevant: choose another split")
    ids = dict.fromkeys(row.name("_id") for row in iter_rows(folder / "corpus.jsonl"))
    names = document_names([*ids, *{gold: None for golds in judged.values() for gold in golds if gold not in ids}])
    return tuple(
        Case(
            id=query,
            question=queries[query],
            gold_docs=tuple(names[gold] for gold in dict.fromkeys(golds)),
            tags=("beir",),
        )
        for query, golds in judged.items()
    )


def _beir_folder(path: Path) -> Path:
    return path.parent.parent if path.suffix == ".tsv" else path


def _qrels(path: Path) -> Path:
    if path.suffix == ".tsv":
        return path
    found = {file.stem: file for file in sorted((path / "qrels").glob("*.tsv"))}
    if "test" in found:
        return found["test"]
    if len(found) != 1:
        raise InputError(f"{path / 'qrels'} has the splits {', '.join(found) or '(none)'}: name one file of them")
    return next(iter(found.values()))


def _judgements(file: Path) -> Iterator[tuple[str, str, str, int]]:
    """(place, query, document, relevance) of each line."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error, "pass a BEIR folder") from error
    if lines[0].strip().split("\t") != _QRELS:
        raise InputError(f"{file}:1: the header must be {' '.join(_QRELS)}, with tabs between: add it")
    for number, line in enumerate(lines[1:], start=2):
        fields = line.rstrip("\r").split("\t")
        if not line.strip():
            continue
        if len(fields) != 3 or not re.fullmatch(r"-?[0-9]{1,9}", fields[2].strip()):
            raise InputError(f"{file}:{number}: expected query id, document id and a whole number, with tabs between")
        yield f"{file}:{number}", fields[0], fields[1], int(fields[2])


def squad_articles(path: Path) -> tuple[Row, ...] | None:
    """The articles of a SQuAD file; None when the file is something else (JSON lines, most likely).

    Raises :class:`InputError` when it cannot be read, or is one JSON value of another shape.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a null character
        raise unreadable(path, error, "pass a file of cases") from error
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict) and "data" in value and "question" not in value:
        return Row(where=str(path), data=value).rows("data")
    if isinstance(value, list):
        raise InputError(f"{path} is one JSON list: write one case a line, or pass a SQuAD file")
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paragraph:
    document: CorpusDocument
    questions: tuple[Row, ...]


def read_squad(articles: Sequence[Row]) -> tuple[Case, ...]:
    """The questions of SQuAD v1 or v2 articles; each paragraph is a document, each article a cluster.

    Unanswerable ones are near misses. The gold quotes are the sentences that the annotated answers stand in: a long
    paragraph is cut into several passages, and only one that holds the answer is relevant. Raises
    :class:`InputError` for what is malformed, or an answer that does not stand where it is said to.
    """
    paragraphs = list(_paragraphs(articles))
    names = document_names(paragraph.document.id for paragraph in paragraphs)
    return tuple(
        _squad_case(row, paragraph.document, names[paragraph.document.id])
        for paragraph in paragraphs
        for row in paragraph.questions
    )


def _paragraphs(articles: Sequence[Row]) -> Iterator[_Paragraph]:
    seen: Counter[str] = Counter()
    for article in articles:
        title = article.name("title")
        for row in article.rows("paragraphs"):
            document = CorpusDocument(
                id=f"{title}#{seen[title]:03d}", text=row.name("context"), title=title.replace("_", " ")
            )
            seen[title] += 1
            yield _Paragraph(document=document, questions=row.rows("qas"))


def _squad_case(row: Row, document: CorpusDocument, name: str) -> Case:
    # Some releases have questions with white space around them.
    case = Case(id=row.name("id"), question=row.name("question").strip(), cluster=document.id.rpartition("#")[0])
    if row.flag("is_impossible"):
        return replace(case, kind="near_miss", tags=("squad",))
    answers = row.rows("answers")
    if not answers:
        raise row.wrong("answers", "one or more objects, or is_impossible true")
    return replace(
        case,
        kind="answerable",
        answers=tuple(dict.fromkeys(answer.name("text").strip() for answer in answers)),
        gold_docs=(name,),
        gold_quotes=tuple(dict.fromkeys(_sentence(answer, document.text) for answer in answers)),
        tags=("squad",),
    )


def _sentence(answer: Row, text: str) -> str:
    start = answer.whole("answer_start")
    end = start + len(answer.name("text"))
    if start < 0 or text[start:end] != answer.name("text"):
        raise answer.wrong("answer_start", "the place in the paragraph where the answer stands")
    spans = [(a, b) for a, b in sentence_spans(text) if a < end and b > start]
    first, last = min(a for a, _ in spans), max(b for _, b in spans)
    if last - first <= QUOTE:
        return text[first:last]
    side = max(0, QUOTE - (end - start)) // 2
    if start - side > first:
        first = text.find(" ", start - side, start) + 1 or start
    if end + side < last:
        last = max(end, text.rfind(" ", end, end + side))
    return text[first:last]


def corpus_beside(path: Path) -> Path | None:
    """The corpus of a question file, where there is one by name."""
    stem = path.name.removesuffix("questions.jsonl")
    if path.suffix == ".jsonl" and stem != path.name and (stem == "" or stem.endswith("_")):
        corpus = path.with_name(f"{stem}corpus.jsonl")
        return corpus if corpus.is_file() else None
    return None


def in_corpus(cases: Iterable[Case], corpus: Path) -> tuple[Case, ...]:
    """Cases whose gold documents are ids of a corpus, with the names of its files in their place.

    Raises :class:`InputError` for a gold document that the corpus lacks.
    """
    names = document_names(document.id for document in _plain_documents(corpus))
    found = []
    for case in cases:
        if missing := [gold for gold in case.gold_docs if gold not in names]:
            raise InputError(f"the case {case.id!r} has the gold document {missing[0]!r}, which {corpus} lacks")
        found.append(replace(case, gold_docs=tuple(names[gold] for gold in case.gold_docs)))
    return tuple(found)


def _plain_documents(corpus: Path) -> Iterator[CorpusDocument]:
    for row in iter_rows(corpus):
        yield CorpusDocument(id=row.name("id"), text=row.text("text"), title=row.text("title", ""))


def corpus_documents(path: Path) -> Iterator[CorpusDocument]:
    """The documents that an evaluation set asks about.

    ``path`` is what :func:`eval.cases.read_suite` takes for it, or a plain corpus (JSONL with ``id`` and ``text``).
    Raises :class:`InputError` for anything else.
    """
    if is_beir(path):
        for row in iter_rows(_beir_folder(path) / "corpus.jsonl"):
            yield CorpusDocument(id=row.name("_id"), text=row.text("text"), title=row.text("title", ""))
        return
    if path.is_dir():
        raise InputError(f"{path} is no BEIR folder (corpus.jsonl, queries.jsonl, qrels): name a file of the set")
    if path.suffix == ".jsonl" and path.name.endswith("corpus.jsonl"):
        yield from _plain_documents(path)
    elif corpus := corpus_beside(path):
        yield from _plain_documents(corpus)
    elif articles := squad_articles(path):
        for paragraph in _paragraphs(articles):
            yield paragraph.document
    else:
        raise InputError(f"{path} has no corpus: pass a BEIR folder, a SQuAD file, or a corpus.jsonl")


def corpus_names(path: Path) -> Mapping[str, str]:
    """Id -> name of the file, of each document of a set; see :func:`corpus_documents`."""
    return document_names(document.id for document in corpus_documents(path))


def write_corpus(path: Path, folder: Path) -> WrittenCorpus:
    """Write the documents of an evaluation set as files for ``rag ingest``; gold documents match their sources.

    Raises :class:`InputError`, as :func:`corpus_documents` and :func:`eval.corpora.write_documents`.
    """
    return write_documents(corpus_documents(path), corpus_names(path), folder)
