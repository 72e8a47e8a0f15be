"""`RagChat`: a retriever and a model, and the rules between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from ingest.embed import open_embedder
from ingest.filters import Filters
from ingest.index import open_index
from prompts.tool_wording import load_tool_wording
from prompts.wording import Wording, load_wording
from rag.candidates import Arrangement, arrange
from rag.confidence import Abstention, load_abstention
from rag.context import Context, Instruction, build_context
from rag.errors import QuestionTooLongError
from rag.followup import joined, leans
from rag.grounding import Grounding, Verifier
from rag.llama import LlamaModel
from rag.matching import matches_of
from rag.memory import LONGEST_SUMMARY, fold, folds
from rag.model import ChatModel
from rag.models import check_model, find_model, is_server
from rag.packing import Budget, Pack, pack
from rag.reply import OFF_DOCUMENTS, Asked, Replies
from rag.retriever import Retrieval, Retriever
from rag.schemas import outline
from rag.server import ServerModel
from rag.settings import Settings
from rag.structured import check_answer_schema
from rag.tools import Toolbox, put_back, result_passage
from rag.types import Answer, Conversation, History, Sampling
from rag.verifiers import open_verifier

ONLY = "looked at were only documents with"


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
        verifier: Verifier | None = None,
        abstention: Abstention | None = None,
    ) -> None:
        """``verifier`` and ``abstention``: without one, the one that the settings name."""
        self.retriever = retriever
        self.model = model
        self.settings = settings or Settings()
        self._wording = wording or load_wording()
        self._grounding = Grounding()
        judge = verifier or open_verifier(self.settings.verifier, self.settings)
        self._tool_wording = load_tool_wording()
        self._tools = Toolbox()
        doubts = abstention or load_abstention(self.settings.abstention)
        self._replies = Replies(
            model, self.settings, self._wording, judge, self._grounding, retriever.similarity, doubts
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> RagChat:
        """Open the index and load the model that the settings name; see :data:`rag.errors.USER_ERRORS`."""
        check_model(settings.model)
        verifier = open_verifier(settings.verifier, settings)
        embedder = open_embedder(settings.embedder)
        index = open_index(settings.index, embedder, collection=settings.collection)
        retriever = Retriever(index, embedder, rerank=settings.rerank)
        return cls(retriever, open_model(settings), settings, verifier=verifier)

    def register(
        self,
        function: Callable[..., Any],
        *,
        parameters: Mapping[str, Any],
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        """Let the model call a function of yours; see :meth:`rag.tools.Toolbox.register`."""
        self._tools.register(function, parameters=parameters, name=name, description=description)

    def ask(
        self,
        question: str,
        history: History | Conversation = (),
        *,
        schema: Mapping[str, Any] | None = None,
        filters: Filters | None = None,
    ) -> Answer:
        """The answer to a question.

        ``history``: what was said before, as messages that alternate user and assistant, oldest first; or, better, the
        ``conversation`` of the last answer, which also knows its passages: they then stay where they are in the prompt.
        ``schema``: a JSON schema that the answer is to follow; its ``data`` then holds values that sources have.
        ``filters``: the documents that the answer may rest on (:func:`ingest.filters.parse_filters`).
        """
        *_, answer = self.stream(question, history, schema=schema, filters=filters)
        assert isinstance(answer, Answer)
        return answer

    def prepare(
        self,
        question: str,
        history: History | Conversation = (),
        *,
        schema: Mapping[str, Any] | None = None,
        filters: Filters | None = None,
    ) -> tuple[Retrieval, Context]:
        """What :meth:`ask` would put before the model, without asking it for anything."""
        conversation = self._within(filters, _conversation(history))
        asked = self._look_up(question, conversation, time.perf_counter(), filters)
        if schema is not None:
            asked = replace(asked, schema=check_answer_schema(schema))
        arranged = self._arranged(asked)
        instruction = self._instruction(asked, len(arranged.candidates) + 1)
        return asked.retrieval, self._build(instruction, arranged, asked.conversation)

    def stream(
        self,
        question: str,
        history: History | Conversation = (),
        *,
        schema: Mapping[str, Any] | None = None,
        filters: Filters | None = None,
    ) -> Generator[str | Answer]:
        """Pieces of the answer as they are made, then the :class:`Answer`, whose ``text`` they add up to."""
        began = time.perf_counter()
        wanted = None if schema is None else check_answer_schema(schema)
        conversation = self._within(filters, _conversation(history))
        call = self._tools.call(self.model, self._tool_wording, question, conversation)
        asked = replace(self._look_up(question, conversation, began, filters), schema=wanted, call=call)
        filtered_out = filters is not None and not asked.retrieval.hits
        if filtered_out or asked.retrieval.relevance < self.settings.min_relevance:
            if call is None or call.failed:
                why = OFF_DOCUMENTS if filters is None else f"{OFF_DOCUMENTS} ({ONLY} {filters})"
                yield from self._replies.refuse(asked, why)
                return
            asked = replace(asked, retrieval=replace(asked.retrieval, hits=()))
        asked, context = self._remembering(asked)
        if wanted is None:
            yield from self._replies.text(asked, context)
        else:
            yield from self._replies.json(asked, context, wanted)

    def _within(self, filters: Filters | None, conversation: Conversation) -> Conversation:
        """Without the passages of earlier turns that do not pass the filters: no answer may rest on them now."""
        if filters is None or not any(turn.passages for turn in conversation.turns):
            return conversation
        sources = {document.source for document in self.retriever.index.documents(filters)}
        turns = (
            replace(turn, passages=tuple(passage for passage in turn.passages if passage.source in sources))
            for turn in conversation.turns
        )
        return replace(conversation, turns=tuple(turns))

    def _look_up(self, question: str, conversation: Conversation, began: float, filters: Filters | None) -> Asked:
        """Search for the question, together with what it follows if it leans on that."""
        searching = time.perf_counter()
        standalone = question
        if conversation.turns and leans(question, self._grounding):
            standalone = joined(question, conversation, self._wording.refusal)
        retrieval = self.retriever.search(standalone, k=self.settings.k, mode=self.settings.mode, filters=filters)
        return Asked(
            question=question,
            standalone=standalone,
            began=began,
            conversation=conversation,
            retrieval=retrieval,
            retrieve_ms=1000 * (time.perf_counter() - searching),
        )

    def _arranged(self, asked: Asked) -> Arrangement:
        follow_up = asked.standalone != asked.question
        return arrange(
            asked.conversation, asked.retrieval.hits, follow_up=follow_up, pack=self._packing(asked.retrieval)
        )

    def _packing(self, retrieval: Retrieval) -> Pack:
        """How the hits become passages: within the budget, counted by the model that will read them."""
        budget = Budget(
            tokens=self.settings.passage_tokens,
            count=self.model.count_tokens,
            frame=lambda chunk: self._wording.passage(1, chunk.text, chunk.source, chunk.headings),
        )
        return partial(
            pack,
            matches=matches_of(retrieval.question, retrieval.late, self.retriever.token_spans, self._grounding),
            budget=budget,
            text_of=self.retriever.index.text,
        )

    def _remembering(self, asked: Asked) -> tuple[Asked, Context]:
        """The prompt; when turns no longer fit, they are folded first, as the settings say."""
        arranged = self._arranged(asked)
        number = len(arranged.candidates) + 1
        if asked.call:
            asked = replace(asked, result=result_passage(asked.call, number))
        instruction = self._instruction(asked, number)
        context = self._build(instruction, arranged, asked.conversation)
        before = asked.conversation
        if context.turns == len(before.turns) - before.folded:
            return asked, context
        count = folds(before, self.settings.history, context.turns)
        summary = "" if self.settings.history == "head" else self._summary(before)
        asked = replace(asked, conversation=fold(before, count, summary))
        return asked, self._build(instruction, arranged, asked.conversation)

    def _instruction(self, asked: Asked, number: int) -> Instruction:
        """``number``: the one that a tool's result is cited by."""
        request = self._tool_wording.json(asked.question, outline(asked.schema)) if asked.schema else asked.question
        if asked.call:
            return put_back(asked.call, self._tool_wording, asked.question, number, request=request)
        return Instruction(question=request)

    def _summary(self, conversation: Conversation) -> str:
        """The model's own summary of the conversation, asked for as one more turn of it, so that what the model has
        read need not be read again; the passages make room if they must. Empty when it does not fit even so.
        """
        instruction = Instruction(question=self._wording.summarise, plain=True)
        whole = len(conversation.turns) - conversation.folded
        try:
            context = self._build(instruction, arrange(conversation, (), follow_up=True), conversation, LONGEST_SUMMARY)
            if context.turns < whole:
                context = self._build(instruction, Arrangement(), conversation, LONGEST_SUMMARY)
        except QuestionTooLongError:
            return ""
        with closing(self.model.stream(context.prompt, Sampling(max_tokens=LONGEST_SUMMARY))) as pieces:
            return "".join(pieces)

    def _build(
        self,
        instruction: Instruction,
        arranged: Arrangement,
        conversation: Conversation,
        reserved: int | None = None,
    ) -> Context:
        return build_context(
            instruction,
            arranged,
            conversation,
            format_=self.model.format,
            wording=self._wording,
            window=self.model.context_window,
            reserved=reserved or self.settings.max_answer_tokens,
        )


def _conversation(history: History | Conversation) -> Conversation:
    return history if isinstance(history, Conversation) else Conversation.of(history)


def open_model(settings: Settings, *, vocabulary_only: bool = False) -> LlamaModel | ServerModel:
    """The model that the settings name; with ``vocabulary_only`` it can build and count prompts, no more.

    Only a server's address makes it use the network.
    """
    if is_server(settings.model):
        return ServerModel(
            settings.model,
            context_window=settings.context_window,
            tokenizer=find_model(settings.tokenizer) if settings.tokenizer else None,
            prompt_format=settings.prompt_format,
        )
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
