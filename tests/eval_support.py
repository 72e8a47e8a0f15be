"""A chat without files: passages in memory, a scripted model. Also the program that a test kills."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Sequence
from pathlib import Path

from eval.manifest import run_facts
from eval.run import run_cases
from eval.types import Case
from ingest.embed import HashEmbedder
from ingest.filters import Filters
from ingest.late import LateQuery
from ingest.types import Chunk, ScoredChunk, SearchResult, SparseVector, StoredDocument, Vectors
from prompts.types import Prompt
from rag.chat import RagChat
from rag.model import ScriptedModel
from rag.retriever import Retriever
from rag.settings import Settings
from rag.types import Sampling

CASES = tuple(Case(id=f"c{number}", question=f"How many passengers does boat {number} carry?") for number in range(5))
TEXTS = tuple(f"The boat {number} carries {100 + number} passengers." for number in range(5))


class MemoryIndex:
    """A :class:`~ingest.document_index.PassageIndex` of texts, each a document of one chunk. Ranked by cosine."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.embedder = HashEmbedder()
        self.chunks = [
            Chunk(
                id=f"{number}",
                document_id=f"d{number}",
                source=f"{number}.md",
                index=0,
                start=0,
                end=len(text),
                text=text,
                headings=(),
                pages=(1,),
            )
            for number, text in enumerate(texts)
        ]
        self.asked: list[int] = []

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        late: LateQuery | None = None,
        *,
        limit: int = 10,
        filters: Filters | None = None,
    ) -> SearchResult:
        del sparse, late, filters
        self.asked.append(limit)
        assert dense is not None
        cosines = [row @ dense for row in self.embedder.encode([chunk.text for chunk in self.chunks])]  # each alone
        hits = [ScoredChunk(chunk=chunk, score=float(c)) for chunk, c in zip(self.chunks, cosines, strict=True)]
        hits.sort(key=lambda hit: -hit.score)
        return SearchResult(hits=tuple(hits[:limit]), best_cosine=hits[0].score if hits else None)

    def text(self, document_id: str) -> str:
        return next(chunk.text for chunk in self.chunks if chunk.document_id == document_id)

    def documents(self, filters: Filters | None = None) -> list[StoredDocument]:
        del filters
        return [
            StoredDocument(
                source=chunk.source,
                document_id=chunk.document_id,
                content_hash="",
                chunks=1,
                characters=len(chunk.text),
                size=0,
                root="",
            )
            for chunk in self.chunks
        ]


class EchoModel(ScriptedModel):
    """Answers with the sentence of the prompt's best passage, whatever was asked before; counts its answers."""

    def __init__(self, *, slow_after: int | None = None) -> None:
        super().__init__(["unused"])
        self._slow_after = slow_after

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str]:
        if self._slow_after is not None and len(self.prompts) >= self._slow_after:
            time.sleep(600)
        first = next(text for text in sorted(TEXTS, key=lambda text: prompt.text.find(text)) if text in prompt.text)
        self.answers = (f"{first} [1]",)
        yield from super().stream(prompt, sampling)


def memory_chat(model: ScriptedModel, settings: Settings | None = None, texts: Sequence[str] = TEXTS) -> RagChat:
    index = MemoryIndex(texts)
    return RagChat(Retriever(index, index.embedder), model, settings or Settings(min_relevance=0.0, min_confidence=0.0))


def run_slowly(file: Path, answers: int) -> None:
    """Answer so many cases, then hang."""
    chat = memory_chat(EchoModel(slow_after=answers))
    run_cases(chat, CASES, file, run_facts(chat, {"name": "echo"}), lambda done, total: None)


if __name__ == "__main__":
    run_slowly(Path(sys.argv[1]), int(sys.argv[2]))
