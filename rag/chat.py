"""`RagChat`: a retriever and a model, and the rules between them."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from ingest.embed import open_embedder
from ingest.index import open_index
from prompts.wording import Wording, load_wording
from rag.candidates import Candidate, arrange
from rag.citations import AnswerWriter
from rag.context import Context, Instruction, build_context
from rag.errors import QuestionTooLongError
from rag.followup import LONGEST_QUESTION, accepted, joined, leans
from rag.llama import LlamaModel
from rag.memory import LONGEST_SUMMARY, fold, folds
from rag.model import ChatModel
from rag.models import find_model
from rag.quotes import closest_quote
from rag.retriever import Retrieval, Retriever
from rag.settings import Settings
from rag.types import Answer, Citation, Conversation, History, Sampling, StopReason, Timings, Turn, Usage
from rag.verifier import Verifier

OFF_DOCUMENTS = "nothing in the documents comes close to this question"
MODEL_REFUSED = "the model found no answer in the passages"
NOT_SUPPORTED = "no passage supports what the model said"
QUOTED = "no passage supports what the model said; this is the sentence that comes closest to the question"
LEFT_OUT = "left out, for no passage supports it: "


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question on its way: when it came in, what it continues, and what was found for it."""

    question: str
    standalone: str
    began: float
    conversation: Conversation
    retrieval: Retrieval
    retrieve_ms: float

    def since(self) -> float:
        """Milliseconds since it came in."""
        return 1000 * (time.perf_counter() - self.began)


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

    def ask(self, question: str, history: History | Conversation = ()) -> Answer:
        """The answer to a question.

        ``history``: what was said before, as messages that alternate user and assistant, oldest first; or, better, the
        ``conversation`` of the last answer, which also knows its passages: they then stay where they are in the prompt.
        """
        *_, answer = self.stream(question, history)
        assert isinstance(answer, Answer)
        return answer

    def prepare(self, question: str, history: History | Conversation = ()) -> tuple[Retrieval, Context]:
        """What :meth:`ask` would put before the model, without asking it for anything."""
        asked = self._look_up(question, _conversation(history), rewrite=False)
        return asked.retrieval, self._build(Instruction(question=question), self._candidates(asked), asked.conversation)

    def stream(self, question: str, history: History | Conversation = ()) -> Generator[str | Answer]:
        """Pieces of the answer as they are made, then the :class:`Answer`, whose ``text`` they add up to."""
        asked = self._look_up(question, _conversation(history), rewrite=True)
        if asked.retrieval.relevance < self.settings.min_relevance:
            yield self._wording.refusal
            yield self._answer(asked, None, self._wording.refusal, (), OFF_DOCUMENTS, "refused", None)
            return
        asked, context = self._remembering(asked)
        yield from self._generate(asked, context)

    def _look_up(self, question: str, conversation: Conversation, *, rewrite: bool) -> _Asked:
        """Search for the question, in a form that stands alone."""
        began = time.perf_counter()
        standalone = self._standalone(question, conversation, rewrite=rewrite)
        searched = time.perf_counter()
        retrieval = self.retriever.search(standalone, k=self.settings.k, mode=self.settings.mode)
        return _Asked(
            question=question,
            standalone=standalone,
            began=began,
            conversation=conversation,
            retrieval=retrieval,
            retrieve_ms=1000 * (time.perf_counter() - searched),
        )

    def _standalone(self, question: str, conversation: Conversation, *, rewrite: bool) -> str:
        grounding = self._verifier.grounding
        if not conversation.turns or not leans(question, grounding):
            return question
        said = ""
        if rewrite:
            request = self._wording.condense(question)
            said = self._request(request, arrange(conversation, (), follow_up=True), conversation, LONGEST_QUESTION)
        return accepted(said, question, conversation, grounding) or joined(question, conversation)

    def _candidates(self, asked: _Asked) -> tuple[Candidate, ...]:
        follow_up = asked.standalone != asked.question
        return arrange(asked.conversation, asked.retrieval.hits, follow_up=follow_up)

    def _remembering(self, asked: _Asked) -> tuple[_Asked, Context]:
        """The prompt; when turns no longer fit, they are folded first, as the settings say."""
        instruction, candidates = Instruction(question=asked.question), self._candidates(asked)
        context = self._build(instruction, candidates, asked.conversation)
        before = asked.conversation
        if context.turns == len(before.turns) - before.folded:
            return asked, context
        count = folds(before, self.settings.history, context.turns)
        summary = "" if self.settings.history == "head" else self._summary(before)
        asked = replace(asked, conversation=fold(before, count, summary))
        return asked, self._build(instruction, candidates, asked.conversation)

    def _summary(self, conversation: Conversation) -> str:
        """The model's own summary of the conversation; the passages make room for it if they must."""
        candidates = arrange(conversation, (), follow_up=True)
        return self._request(self._wording.summarise, candidates, conversation, LONGEST_SUMMARY).strip()

    def _request(self, text: str, candidates: Sequence[Candidate], conversation: Conversation, max_tokens: int) -> str:
        """What the model says to a request of our own, asked as one more turn: what it has read need not be read again.

        Empty when the request does not fit.
        """
        instruction = Instruction(question=text, plain=True)
        whole = len(conversation.turns) - conversation.folded
        try:
            context = self._build(instruction, candidates, conversation, max_tokens)
            if context.turns < whole:
                context = self._build(instruction, (), conversation, max_tokens)
        except QuestionTooLongError:
            return ""
        with closing(self.model.stream(context.prompt, Sampling(max_tokens=max_tokens))) as pieces:
            return "".join(pieces)

    def _build(
        self,
        instruction: Instruction,
        candidates: Sequence[Candidate],
        conversation: Conversation,
        reserved: int | None = None,
    ) -> Context:
        return build_context(
            instruction,
            candidates,
            conversation,
            format_=self.model.format,
            wording=self._wording,
            window=self.model.context_window,
            reserved=reserved or self.settings.max_answer_tokens,
        )

    def _generate(self, asked: _Asked, context: Context) -> Generator[str | Answer]:
        settings = self.settings
        sampling = Sampling(
            max_tokens=settings.max_answer_tokens,
            temperature=settings.temperature,
            seed=settings.seed,
            top_k=settings.top_k,
            top_p=settings.top_p,
            min_p=settings.min_p,
            repeat_penalty=settings.repeat_penalty,
            stop=(settings.stop,) if settings.stop else (),
        )
        writer = AnswerWriter(context.passages, self._verifier)
        raw = ""
        first_token_ms: float | None = None
        with closing(self.model.stream(context.prompt, sampling)) as pieces:
            for piece in pieces:
                if first_token_ms is None:
                    first_token_ms = asked.since()
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
    ) -> Generator[str | Answer]:
        """The model refused, or said nothing that a passage supports: quote the sources if they come close."""
        refused = not raw.strip() or self._says_refusal(raw)
        quote = None
        if not refused:
            quote = closest_quote(
                asked.standalone, context.passages, self._verifier.grounding, self.retriever.similarity
            )
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
        passages = context.passages if context else ()
        turn = Turn(question=asked.question, standalone=asked.standalone, answer=text, passages=passages)
        return Answer(
            question=asked.question,
            standalone=asked.standalone,
            text=text,
            refused=stop == "refused",
            why=why,
            citations=citations,
            passages=passages,
            usage=self.model.usage if context else Usage(),
            timings=Timings(retrieve_ms=asked.retrieve_ms, first_token_ms=first_token_ms, total_ms=asked.since()),
            stop=stop,
            prompt=context.prompt if context else None,
            conversation=replace(asked.conversation, turns=(*asked.conversation.turns, turn)),
        )


def _conversation(history: History | Conversation) -> Conversation:
    return history if isinstance(history, Conversation) else Conversation.of(history)


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().casefold()


def open_model(settings: Settings, *, vocabulary_only: bool = False) -> LlamaModel:
    """The model that the settings name; with ``vocabulary_only`` it can build and count prompts, no more."""
    return LlamaModel(
        find_model(settings.model),
        context_window=settings.context_window,
        threads=settings.threads,
        gpu_layers=settings.gpu_layers,
        batch_tokens=settings.batch_tokens,
        flash_attention=settings.flash_attention,
        prompt_format=settings.prompt_format,
        vocabulary_only=vocabulary_only,
    )
