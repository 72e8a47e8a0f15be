"""A prompt -> the model's words -> an answer whose every sentence or value has been looked for in its sources."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain

from prompts.wording import Wording
from rag.abstention import Attempt, answer_signals, missing_words, model_signals, search_signals
from rag.citations import AnswerWriter
from rag.confidence import PHRASES, Abstention, Judgement
from rag.context import Context
from rag.grounding import Grounding, Verifier
from rag.model import ChatModel, LikelihoodModel
from rag.quotes import Similarity, closest_quote
from rag.retriever import Retrieval
from rag.schemas import Schema, read_json
from rag.settings import Settings
from rag.structured import cite_leaves
from rag.types import Answer, Citation, Conversation, Passage, StopReason, Timings, ToolCall, Turn, Usage

OFF_DOCUMENTS = PHRASES["cosine"]
MODEL_REFUSED = PHRASES["declined"]
DOUBTFUL = "the documents probably do not answer this question"
NOT_SUPPORTED = "no passage supports what the model said"
QUOTED = "no passage supports what the model said; this is the sentence that comes closest to the question"
LEFT_OUT = "left out, for no passage supports it: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question on its way: when it came in, what it continues, and what was found for it.

    ``schema``: of the JSON that is wanted. ``call``: the tool that it needed; ``result``: what that gave, to be cited
    like a passage.
    """

    question: str
    standalone: str
    began: float
    conversation: Conversation
    retrieval: Retrieval
    retrieve_ms: float
    schema: Schema | None = None
    call: ToolCall | None = None
    result: Passage | None = None

    def since(self) -> float:
        """Milliseconds since it came in."""
        return 1000 * (time.perf_counter() - self.began)

    def sources(self, context: Context) -> tuple[Passage, ...]:
        """What the answer can rest on: the passages, and the result of a tool."""
        return (*context.passages, self.result) if self.result else context.passages


class Replies:
    """Streams the answers to prompts, each piece as soon as it has been checked."""

    def __init__(
        self,
        model: ChatModel,
        settings: Settings,
        wording: Wording,
        verifier: Verifier,
        grounding: Grounding,
        similarity: Similarity,
        abstention: Abstention,
    ) -> None:
        self._model = model
        self._settings = settings
        self._refusal = wording.refusal
        self._verifier = verifier
        self._grounding = grounding
        self._similarity = similarity
        self._abstention = abstention

    def refuse(
        self,
        asked: Asked,
        why: str,
        context: Context | None = None,
        first_token_ms: float | None = None,
        judged: Judgement | None = None,
    ) -> Generator[str | Answer]:
        """The refusal, with the reasons of a judgement; without a ``context`` the model was not asked."""
        judged = judged or self._judge(asked)
        why = "; ".join(dict.fromkeys((why, *judged.reasons)))
        yield self._refusal
        yield self._answer(asked, context, self._refusal, (), why, "refused", first_token_ms, judged)

    def text(self, asked: Asked, context: Context) -> Generator[str | Answer]:
        """Sentence by sentence, those that a source supports.

        Whether to answer at all is decided when the first one is ready: what was shown is never taken back.
        """
        writer = AnswerWriter(asked.sources(context), self._verifier, self._grounding)
        with closing(self._text(asked, context, writer)) as parts:
            for part in parts:
                if isinstance(part, Answer):
                    said = tuple(claim for claim in writer.claims if not self._says_refusal(claim.text))
                    part = replace(part, claims=said)
                yield part

    def _text(self, asked: Asked, context: Context, writer: AnswerWriter) -> Generator[str | Answer]:
        raw = ""
        first_token_ms: float | None = None
        judged: Judgement | None = None
        sampling = replace(self._settings.sampling, rival=self._refusal)
        with closing(self._model.stream(context.prompt, sampling)) as pieces:
            for piece in chain(pieces, (None,)):
                if first_token_ms is None and piece is not None:
                    first_token_ms = asked.since()
                raw += piece or ""
                if shown := writer.finish() if piece is None else writer.feed(piece):
                    judged = judged or self._judge(asked, self._attempt(writer))
                    if self._doubts(asked, judged):
                        break
                    yield shown
                if writer.repeats or self._says_refusal(raw):
                    break
        if judged is None:
            yield from self._fall_back(asked, context, raw, first_token_ms, len(writer.unsupported))
            return
        if self._doubts(asked, judged):
            yield from self.refuse(asked, DOUBTFUL, context, first_token_ms, judged)
            return
        why = LEFT_OUT + " / ".join(writer.unsupported) if writer.unsupported else ""
        stop: StopReason = "end" if self._model.finished or writer.repeats else "length"
        yield self._answer(asked, context, writer.text, writer.citations, why, stop, first_token_ms, judged)

    def json(self, asked: Asked, context: Context, schema: Schema) -> Generator[str | Answer]:
        """JSON by the schema, shown when it is whole: until then nothing of it can be checked.

        Whether to answer at all is decided by the search alone.
        """
        judged = self._judge(asked)
        if self._doubts(asked, judged):
            yield from self.refuse(asked, DOUBTFUL, judged=judged)
            return
        sampling = replace(self._settings.sampling, schema=schema, stop=(), repeat_penalty=1.0)
        raw = ""
        first_token_ms: float | None = None
        with closing(self._model.stream(context.prompt, sampling)) as pieces:
            for piece in pieces:
                if first_token_ms is None:
                    first_token_ms = asked.since()
                raw += piece
        data = read_json(raw, schema, finished=self._model.finished)
        sources = asked.sources(context)
        checked = cite_leaves(data, schema, sources, asked.standalone, self._verifier, self._grounding)
        if checked.data is None:
            yield from self.refuse(asked, checked.why, context, first_token_ms)
            return
        text = json.dumps(checked.data, ensure_ascii=False)
        yield text
        answer = self._answer(asked, context, text, checked.citations, checked.why, "end", first_token_ms, judged)
        yield replace(answer, data=checked.data)

    def _fall_back(
        self, asked: Asked, context: Context, raw: str, first_token_ms: float | None, left_out: int
    ) -> Generator[str | Answer]:
        """The model refused, or said nothing that a source supports: quote the sources if they come close.

        ``left_out``: sentences of the model that no source supports.
        """
        refused = not raw.strip() or self._says_refusal(raw)
        quote = None
        if not refused:
            quote = closest_quote(
                asked.standalone,
                asked.sources(context),
                self._grounding,
                self._similarity,
                said="\n".join(turn.answer for turn in asked.conversation.turns),
            )
        if quote is None:
            why = MODEL_REFUSED if refused else NOT_SUPPORTED
            judged = self._judge(asked, Attempt(left_out=left_out, declined=refused))
            yield from self.refuse(asked, why, context, first_token_ms, judged)
            return
        judged = self._judge(asked, Attempt(supports=(1.0,), left_out=left_out, shown=quote.quote))
        if self._doubts(asked, judged):
            yield from self.refuse(asked, NOT_SUPPORTED, context, first_token_ms, judged)
            return
        text = f"{quote.quote} [{quote.number}]"
        yield text
        yield self._answer(asked, context, text, (quote,), QUOTED, "quoted", first_token_ms, judged)

    def _attempt(self, writer: AnswerWriter) -> Attempt:
        return Attempt(
            supports=tuple(claim.p_supported for claim in writer.claims if claim.numbers),
            left_out=len(writer.unsupported),
            shown="\n".join((writer.text, *(citation.quote for citation in writer.citations))),
        )

    def _judge(self, asked: Asked, attempt: Attempt | None = None) -> Judgement:
        """How likely the documents answer the question; without an attempt, by what was found for it alone."""
        missing = missing_words(asked.retrieval, self._grounding)
        signals = search_signals(asked.retrieval, missing, self._grounding)
        if attempt is not None:
            likelihood = self._model.likelihood if isinstance(self._model, LikelihoodModel) else None
            signals |= answer_signals(attempt, asked.retrieval.question, self._grounding) | model_signals(likelihood)
        return self._abstention.judge(signals, missing)

    def _doubts(self, asked: Asked, judged: Judgement) -> bool:
        least = self._settings.min_confidence
        return not asked.result and judged.confidence < (judged.threshold if least < 0 else least)

    def _says_refusal(self, text: str) -> bool:
        return _plain(text).startswith(_plain(self._refusal))

    def _answer(
        self,
        asked: Asked,
        context: Context | None,
        text: str,
        citations: tuple[Citation, ...],
        why: str,
        stop: StopReason,
        first_token_ms: float | None,
        judged: Judgement,
    ) -> Answer:
        passages = context.passages if context else ()
        turn = Turn(question=asked.question, standalone=asked.standalone, answer=text, passages=passages)
        return Answer(
            question=asked.question,
            standalone=asked.standalone,
            text=text,
            refused=stop == "refused",
            why="; ".join(filter(None, (_failure(asked.call), why))),
            citations=citations,
            passages=asked.sources(context) if context else (),
            usage=self._model.usage if context else Usage(),
            timings=Timings(retrieve_ms=asked.retrieve_ms, first_token_ms=first_token_ms, total_ms=asked.since()),
            stop=stop,
            prompt=context.prompt if context else None,
            conversation=replace(asked.conversation, turns=(*asked.conversation.turns, turn)),
            tool_calls=(asked.call,) if asked.call else (),
            confidence=None if asked.result else judged.confidence,
            signals={} if asked.result else judged.signals,
        )


def _failure(call: ToolCall | None) -> str:
    return f"the tool {call.name} failed: {call.result}" if call and call.failed else ""


def _plain(text: str) -> str:
    return re.sub(r"\W+", " ", text).strip().casefold()
