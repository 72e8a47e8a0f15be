"""``rag search``, ``ask``, ``prompt`` and ``demo``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rag.cli import options
from rag.cli.output import emit, note, print_sources, progress, read_batch, safe
from rag.cli.parts import open_chat, open_retriever, stream_answer

if TYPE_CHECKING:
    from ingest.filters import Filters
    from prompts.types import Prompt
    from rag.chat import RagChat
    from rag.context import Context
    from rag.retriever import Retrieval
    from rag.schemas import Schema

DEMO_INDEX = ".rag/demo"


@options.takes_settings(*options.SEARCH)
def search(
    query: Annotated[Optional[str], typer.Argument(help="What to look for.")] = None,
    filter_: options.Filter = None,
    batch: options.Batch = None,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Show the passages that match best, without asking a model."""
    from ingest.filters import parse_filters
    from rag.settings import resolve

    settings = resolve(flags).settings
    filters = parse_filters(filter_ or ())
    queries = _questions(query, batch)
    with open_retriever(settings) as retriever:
        found = retriever.search_many(
            [question for _, question in queries], k=settings.k, mode=settings.mode, filters=filters
        )
    for (id_, _), retrieval in zip(queries, found, strict=True):
        if json or batch:
            emit(({"id": id_} if batch else {}) | _search_json(retrieval))
        else:
            _print_hits(retrieval)
    if filters and not any(retrieval.hits for retrieval in found):
        note(
            f"nothing was found in documents with {safe(str(filters))}; 'rag docs list --filter' shows which those are"
        )


@options.takes_settings(*options.GENERATE)
def ask(
    question: Annotated[Optional[str], typer.Argument(help="The question.")] = None,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print the exact prompt on stderr before the answer.")
    ] = False,
    schema: Annotated[
        Optional[Path], typer.Option("--schema", help="File with a JSON schema that the answer is to follow.")
    ] = None,
    filter_: options.Filter = None,
    batch: options.Batch = None,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Answer a question from the documents, with sources, or say that they don't answer it."""
    from ingest.filters import parse_filters
    from rag.schemas import load_schema
    from rag.settings import resolve

    settings = resolve(flags).settings
    filters = parse_filters(filter_ or ())
    questions = _questions(question, batch)
    wanted = load_schema(schema) if schema else None
    with open_chat(settings) as chat_:
        if batch:
            _ask_batch(chat_, questions, wanted, filters)
            return
        text = questions[0][1]
        if json:
            answer = chat_.ask(text, schema=wanted, filters=filters)
            shown = answer.prompt.text if show_prompt and answer.prompt else None
            emit(answer.as_json() | ({"prompt": shown} if show_prompt else {}))
            return
        if show_prompt:
            note(safe(chat_.prepare(text, schema=wanted, filters=filters)[1].prompt.text))
        print_sources(stream_answer(chat_, text, schema=wanted, filters=filters))


@options.takes_settings(*options.GENERATE)
def prompt(
    question: Annotated[str, typer.Argument(help="The question.")],
    filter_: options.Filter = None,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Show the exact prompt of a question, what it costs and what was left out, without generating."""
    from ingest.filters import parse_filters
    from rag.settings import resolve

    settings = resolve(flags).settings
    filters = parse_filters(filter_ or ())
    with open_chat(settings, vocabulary_only=True) as chat_:
        _, context = chat_.prepare(question, filters=filters)
        if json:
            emit(_prompt_json(context.prompt, chat_))
        else:
            _print_prompt(context, chat_)


@options.takes_settings("model")
def demo(
    index: Annotated[
        str,
        typer.Option(
            "--index", help="Folder of the index. In the demo's own, one that another version made is replaced."
        ),
    ] = DEMO_INDEX,
    *,
    flags: options.Flags,
) -> None:
    """Ingest the sample handbook and ask it three questions: two that it answers, one that it does not."""
    from ingest.collections import DEFAULT_COLLECTION, collection_names
    from ingest.edge_index import delete_index
    from ingest.embed import open_embedder
    from ingest.errors import IndexMismatchError
    from rag.cli.ingest import print_report, run
    from rag.demo import QUESTIONS, corpus_folder
    from rag.settings import resolve

    settings = resolve({"index": index, "collection": DEFAULT_COLLECTION} | flags).settings
    embedder = open_embedder(settings.embedder)
    try:
        report = run([corpus_folder()], settings, embedder)
    except IndexMismatchError:
        if index != DEMO_INDEX or DEFAULT_COLLECTION not in collection_names(Path(index)):
            raise
        note(f"the index in {index} was made by another version or with another embedder: it is made again")
        delete_index(Path(index))
        report = run([corpus_folder()], settings, embedder)
    print_report(report, settings.index)
    if report.stopped:
        raise typer.Exit(130)
    with open_chat(settings) as chat_:
        for question in QUESTIONS:
            typer.echo(f"\n> {question}\n")
            print_sources(stream_answer(chat_, question))
    typer.echo(f'\nTry your own:  rag ask "Who answers the hotline at night?" --index {settings.index}')
    typer.echo("Your documents:  rag ingest FOLDER, then  rag ask QUESTION")


def _ask_batch(
    chat_: RagChat, questions: list[tuple[Any, str]], schema: Schema | None, filters: Filters | None
) -> None:
    """One line an answer; a question that cannot be asked gets a line with its error, and the rest goes on."""
    from rag.errors import USER_ERRORS

    failed = False
    with progress("ask", "questions") as told:
        for done, (id_, text) in enumerate(questions, start=1):
            try:
                emit({"id": id_} | chat_.ask(text, schema=schema, filters=filters).as_json())
            except USER_ERRORS as error:
                failed = True
                emit({"id": id_, "question": text, "error": str(error)})
            told(done, len(questions), text)
    if failed:
        raise typer.Exit(1)


def _questions(question: str | None, batch: Path | None) -> list[tuple[Any, str]]:
    from rag.errors import SettingsError

    if (question is None) == (batch is None):
        raise SettingsError("give either a question or --batch FILE.jsonl")
    pairs = [(None, question)] if question is not None else [(r["id"], r["question"]) for r in _rows(batch)]
    for _, text in pairs:
        if not text or not text.strip():
            raise SettingsError("the question is empty: write what you want to know")
    return [(id_, str(text)) for id_, text in pairs]


def _rows(batch: Path | None) -> Iterator[dict[str, Any]]:
    return read_batch(batch) if batch is not None else iter(())


def _search_json(retrieval: Retrieval) -> dict[str, Any]:
    return {
        "query": retrieval.question,
        "hits": [
            {
                "rank": rank,
                "score": hit.score,
                "text": hit.chunk.text,
                "source": hit.chunk.source,
                "document_id": hit.chunk.document_id,
                "chunk_id": hit.chunk.id,
                "start": hit.chunk.start,
                "end": hit.chunk.end,
                "pages": list(hit.chunk.pages),
                "headings": list(hit.chunk.headings),
            }
            for rank, hit in enumerate(retrieval.hits, start=1)
        ],
        "relevance": round(retrieval.relevance, 4),
        "timings": {
            "embed_ms": round(retrieval.embed_ms, 2),
            "search_ms": round(retrieval.search_ms, 2),
            "rerank_ms": round(retrieval.rerank_ms, 2),
        },
    }


def _print_hits(retrieval: Retrieval) -> None:
    if not retrieval.hits:
        typer.echo("nothing found")
    for rank, hit in enumerate(retrieval.hits, start=1):
        chunk = hit.chunk
        page = f", page {', '.join(map(str, chunk.pages))}" if chunk.pages else ""
        typer.echo(f"{rank}. {safe(chunk.source)}{page}  {safe(' > '.join(chunk.headings))}  ({hit.score:.4f})")
        typer.echo(f"   {safe(' '.join(chunk.text.split())[:300])}\n")


def _prompt_json(prompt: Prompt, chat_: RagChat) -> dict[str, Any]:
    return {
        "format": chat_.model.format.name,
        "format_why": chat_.model.format.why,
        "text": prompt.text,
        "token_ids": list(prompt.token_ids),
        "ledger": [
            {"part": entry.part, "tokens": entry.tokens, "action": entry.action, "why": entry.why}
            for entry in prompt.ledger
        ],
        "context_window": chat_.model.context_window,
        "reserved_tokens": chat_.settings.max_answer_tokens,
    }


def _print_prompt(context: Context, chat_: RagChat) -> None:
    prompt = context.prompt
    typer.echo(safe(prompt.text))
    note(f"\nformat {chat_.model.format.name}: {chat_.model.format.why}")
    note(
        f"{prompt.tokens} tokens + {chat_.settings.max_answer_tokens} kept for the answer, "
        f"of a window of {chat_.model.context_window}"
    )
    for entry in prompt.ledger:
        note(f"{entry.tokens:6d}  {entry.action:9s} {safe(entry.part)} ({entry.why})")
