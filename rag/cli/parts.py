"""What several commands put together: the retriever, the chat, and an answer on its way to the screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import typer

from rag.cli.output import note, safe, waiting

if TYPE_CHECKING:
    from ingest.filters import Filters
    from rag.chat import RagChat
    from rag.retriever import Retriever
    from rag.schemas import Schema
    from rag.settings import Settings
    from rag.types import Answer, Conversation


@contextmanager
def open_retriever(settings: Settings) -> Iterator[Retriever]:
    """The index and the embedder that made it."""
    from ingest.embed import open_embedder
    from ingest.index import open_index
    from rag.retriever import Retriever

    embedder = open_embedder(settings.embedder)
    with open_index(settings.index, embedder, collection=settings.collection) as index:
        yield Retriever(index, embedder, rerank=settings.rerank)


@contextmanager
def open_chat(settings: Settings, *, vocabulary_only: bool = False) -> Iterator[RagChat]:
    """Everything a question needs; the model is checked before the index, the cheaper first."""
    from rag.chat import RagChat, open_model
    from rag.models import check_model

    check_model(settings.model)
    with open_retriever(settings) as retriever:
        model = open_model(settings, vocabulary_only=vocabulary_only)
        _, warns, warning = model.format.why.partition("warning: ")
        if warns:
            note(f"warning: --prompt-format {model.format.name}: {safe(warning)}")
        yield RagChat(retriever, model, settings)


def stream_answer(
    chat: RagChat,
    question: str,
    conversation: Conversation | None = None,
    *,
    schema: Schema | None = None,
    filters: Filters | None = None,
) -> Answer:
    """Print the answer as it is made, and return it. Whatever ends this early, Ctrl-C too, stops the model."""
    from rag.types import Answer

    with closing(chat.stream(question, conversation or (), schema=schema, filters=filters)) as pieces:
        with waiting("reading the passages") as say:
            chat.model.on_wait = lambda tokens, seconds: say(
                f"reading {tokens} more tokens, about {max(1, round(seconds))} s"
            )
            piece = next(pieces)
            chat.model.on_wait = None
        while not isinstance(piece, Answer):
            typer.echo(safe(piece), nl=False)
            piece = next(pieces)
    typer.echo()
    return piece
