"""`RagChat`: a retriever and a model, and the rules between them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from ingest.embed import open_embedder
from ingest.index import open_index
from prompts.wording import Wording, load_wording
from rag.citations import AnswerWriter
from rag.context import Context, build_context
from rag.llama import LlamaModel
from rag.model import ChatModel
from rag.models import find_model
from rag.quotes import closest_quote
from rag.retriever import Retrieval, Retriever
from rag.settings import Settings
from rag.types import Answer, Citation, Conversation, History, Sampling, StopReason, Timings, Usage
from rag.verifier import Verifier

OFF_DOCUMENTS = "nothing in the documents comes close to this question"
MODEL_REFUSED = "the model found no answer in the passages"
NOT_SUPPORTED = "no passage supports what the model said"
QUOTED = "no passage supports what the model said; this is the sentence that comes closest to the question"
LEFT_OUT = "left out, for no passage supports it: "


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question on its way: when it came in, and what was found for it."""

    question: str
    began: float
    retrieval: Retrieval
    retrieve_ms: float


class RagChat:
    """Answers questions from an index, with citations, or refuses.

    Takes finished parts; :meth:`from_settings` builds them. It keeps no conversation: history is an argument.
    Not safe for use by two threads at once.
    """

    def __init__(
        self,
        retriever: Retriever,
        model: ChatModel,
        settings: Settings | None = None,
        *,
        wording: Wording | None = None,
    ) -> None:
        self.retriever = retriever
        self.model = model
        self.settings = settings or Settings()
        self._wording = wording or load_wording()
        self._verifier = Verifier()

    @classmethod
    def from_settings(cls, settings: Settings) -> RagChat:
        """Open the index and load the model that the settings name; see :data:`rag.errors.USER_ERRORS`."""
        find_model(settings.model)
        embedder = open_embedder(settings.embedder)
        retriever = Retriever(open_index(settings.index, embedder), embedder)
        return cls(retriever, open_model(settings), settings)

    def ask(self, question: str, history: History = ()) -> Answer:
        """The answer to a question. ``history`` alternates user and assistant messages, oldest first."""
        *_, answer = self.stream(question, history)
        assert isinstance(answer, Answer)
        return answer

    def prepare(self, question: str, history: History = ()) -> tuple[Retrieval, Context]:
        """What :meth:`ask` would put before the model, without asking it."""
        retrieval = self._retrieve(question)
        return retrieval, self._context(question, retrieval, history)

    def stream(self, question: str, history: History = ()) -> Iterator[str | Answer]:
        """Pieces of the answer as they are made, then the :class:`Answer`, whose ``text`` they add up to."""
        began = time.perf_counter()
        retrieval = self._retrieve(question)
        asked = _Asked(
            question=question,
            began=began,
            retrieval=retrieval,
            retrieve_ms=1000 * (time.perf_counter() - began),
        )
        settings = self.settings
        if retrieval.relevance < settings.min_relevance:
            yield self._wording.refusal
            yield self._answer(asked, None, self._wording.refusal, (), OFF_DOCUMENTS, "refused", None)
            return
        yield from self._generate(asked, self._context(question, retrieval, history))

    def _retrieve(self, question: str) -> Retrieval:
        return self.retriever.search(question, k=self.settings.k, mode=self.settings.mode)

    def _context(self, question: str, retrieval: Retrieval, history: History) -> Context:
        return build_context(
            question,
            retrieval.hits,
            history,
            format_=self.model.format,
            wording=self._wording,
            window=self.model.context_window,
            reserved=self.settings.max_answer_tokens,
        )

    def _generate(self, asked: _Asked, context: Context) -> Iterator[str | Answer]:
        settings = self.settings
        sampling = Sampling(max_tokens=settings.max_answer_tokens, temperature=settings.temperature, seed=settings.seed)
        writer = AnswerWriter(context.passages, self._verifier)
        raw = ""
        first_token_ms: float | None = None
        with closing(self.model.stream(context.prompt, sampling)) as pieces:
            for piece in pieces:
                if first_token_ms is None:
                    first_token_ms = self._since(asked)
                raw += piece
                if shown := writer.feed(piece):
                    yield shown
                if writer.repeats or self._says_refusal(raw):
                    break
            else:
                if shown := writer.finish():
                    yield shown
        if not writer.text:
            yield from self._fall_back(asked, context, raw, first_token_ms)
            return
        why = LEFT_OUT + " / ".join(writer.unsupported) if writer.unsupported else ""
        stop: StopReason = "end" if self.model.finished or writer.repeats else "length"
        yield self._answer(asked, context, writer.text, writer.citations, why, stop, first_token_ms)

    def _fall_back(
        self, asked: _Asked, context: Context, raw: str, first_token_ms: float | None
    ) -> Iterator[str | Answer]:
        """The model refused, or said nothing that a passage supports: quote the sources if they come close."""
        refused = not raw.strip() or self._says_refusal(raw)
        quote = None
        if not refused:
            quote = closest_quote(asked.question, context.passages, self._verifier.grounding, self.retriever.similarity)
        if quote is None:
            yield self._wording.refusal
            why = MODEL_REFUSED if refused else NOT_SUPPORTED
            yield self._answer(asked, context, self._wording.refusal, (), why, "refused", first_token_ms)
            return
        text = f"{quote.quote} [{quote.number}]"
        yield text
        yield self._answer(asked, context, text, (quote,), QUOTED, "quoted", first_token_ms)

    def _says_refusal(self, text: str) -> bool:
        return _plain(text).startswith(_plain(self._wording.refusal))

    def _answer(
        self,
        asked: _Asked,
        context: Context | None,
        text: str,
        citations: tuple[Citation, ...],
        why: str,
        stop: StopReason,
        first_token_ms: float | None,
    ) -> Answer:
        return Answer(
            question=asked.question,
            standalone=asked.question,
            text=text,
            refused=stop == "refused",
            why=why,
            citations=citations,
            passages=context.passages if context else (),
            usage=self.model.usage if context else Usage(),
            timings=Timings(retrieve_ms=asked.retrieve_ms, first_token_ms=first_token_ms, total_ms=self._since(asked)),
            stop=stop,
            prompt=context.prompt if context else None,
            conversation=Conversation(),
        )

    def _since(self, asked: _Asked) -> float:
        return 1000 * (time.perf_counter() - asked.began)


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().casefold()


def open_model(settings: Settings, *, vocabulary_only: bool = False) -> LlamaModel:
    """The model that the settings name; with ``vocabulary_only`` it can build and count prompts, no more."""
    return LlamaModel(
        find_model(settings.model),
        context_window=settings.context_window,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
        prompt_format=settings.prompt_format,
        vocabulary_only=vocabulary_only,
    )
