"""What has to be found for a case, and whether it stood in the passages that were sent.

What has to be found (the needs of a case):

- with gold quotes, a passage that contains one of them, white space collapsed and characters composed (NFC); wherever
  it stands, one is enough. A case tagged ``multi-doc`` needs one such passage from each of its gold documents;
- without gold quotes, a passage of each gold document.

A passage is of a gold document when its source is that path, or ends with it, with or without the file extension. A
passage is relevant when it meets a need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from eval.normal import evened, stands_in, tokens
from eval.types import Case, Record
from rag.types import Passage

Need = Callable[[Passage], bool]


def needs_of(case: Case) -> tuple[Need, ...]:
    """What has to be found for a case; empty when the case does not say, or is to be refused."""
    if case.answerable is False:
        return ()
    documents = tuple(_of(document) for document in dict.fromkeys(case.gold_docs))
    if not case.gold_quotes:
        return documents
    quoted = _quoting(case.gold_quotes)
    if "multi-doc" in case.tags:
        return tuple(_both(quoted, document) for document in documents)
    return (quoted,)


def gold_sent(case: Case, record: Record) -> bool | None:
    """Whether the passages sent hold what the answer needs; None when the case does not tell.

    A case that is to be refused has no such passage. Else, with gold quotes, all needs of the case must be met. With
    answers alone, a passage (of a gold document, where some are named) must hold one of them, as whole normalised
    tokens. With gold documents alone, a passage of each must be there.

    After the answerability of TRUST-Score (Song et al. 2024, "Measuring and Enhancing Trustworthiness of LLMs in RAG
    through Grounded Attributions and Learning to Refuse"), which asks whether the documents sent hold a gold claim.
    Ours differs where an answer needs several documents: there all are wanted, since half of the evidence answers
    nothing.
    """
    if case.answerable is not True:
        return case.answerable
    if case.gold_quotes or not case.answers:
        needs = needs_of(case)
        return all(any(need(passage) for passage in record.passages) for need in needs) if needs else None
    homes = [_of(document) for document in case.gold_docs]
    answers = [tokens(answer) for answer in case.answers]
    return any(
        any(stands_in(answer, tokens(passage.text)) for answer in answers)
        for passage in record.passages
        if not homes or any(home(passage) for home in homes)
    )


def ranking(record: Record) -> Sequence[Passage]:
    """The passages as they were ranked, best first: ``retrieved`` where the record has it, else those sent."""
    return record.passages if record.retrieved is None else record.retrieved


def _quoting(quotes: Sequence[str]) -> Need:
    wanted = [evened(quote) for quote in quotes]
    return lambda passage: any(quote in evened(passage.text) for quote in wanted)


def _of(document: str) -> Need:
    def need(passage: Passage) -> bool:
        path = PurePosixPath(passage.source)
        return bool(path.name) and any(
            name == document or name.endswith(f"/{document}") for name in (str(path), str(path.with_suffix("")))
        )

    return need


def _both(one: Need, other: Need) -> Need:
    return lambda passage: one(passage) and other(passage)
