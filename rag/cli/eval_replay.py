"""``rag eval replay``: make an answer of an earlier run again."""

from __future__ import annotations

import json as json_
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.cli import options
from rag.cli.output import emit, note, safe

if TYPE_CHECKING:
    from eval.replay import Recorded, Replay
    from ingest.types import Embedder
    from rag.settings import Settings


@options.takes_settings("index", "collection", "model", "tokenizer", "threads", "gpu_layers")
def replay(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of the case.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")] = Path(".rag/eval"),
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print the prompt as the model is given it.")
    ] = False,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Make the answer to a case of an earlier run again, from the passages it was made from; exit 1 if it differs."""
    from eval.replay import read_recorded, recorded_settings
    from eval.replay import replay as make_again
    from ingest.embed import open_embedder
    from rag.chat import open_model
    from rag.models import check_model

    recorded = read_recorded(out, id_)
    settings = recorded_settings(recorded.manifest, flags)
    check_model(settings.model)
    embedder = open_embedder(settings.embedder)
    made = make_again(recorded, open_model(settings), embedder, settings)
    index = _index_today(recorded, settings, embedder)
    if json:
        emit(_as_json(id_, made, index, show_prompt=show_prompt))
    else:
        _show(id_, made, index, show_prompt=show_prompt)
    if not made.identical:
        raise typer.Exit(1)


def _index_today(recorded: Recorded, settings: Settings, embedder: Embedder) -> str:
    """What the index says today: "unchanged", "changed, ..." or "not looked at: ..."."""
    from eval.manifest import index_facts
    from eval.replay import finds_the_same
    from ingest.errors import IngestError
    from ingest.index import open_index
    from rag.retriever import Retriever

    try:
        with closing(open_index(settings.index, embedder, collection=settings.collection)) as index:
            if index_facts(index) == recorded.manifest.facts.get("index"):
                return "unchanged"
            same = finds_the_same(recorded, Retriever(index, embedder, rerank=settings.rerank), settings)
    except IngestError as error:
        return f"not looked at: {error}"
    return "changed, but a search finds the same passages" if same else "changed, and a search finds other passages"


def _as_json(id_: str, made: Replay, index: str, *, show_prompt: bool) -> dict[str, Any]:
    prompt = made.answer.prompt
    return {
        "id": id_,
        "identical": made.identical,
        "differences": [
            {"part": difference.part, "before": difference.before, "after": difference.after}
            for difference in made.differences
        ],
        "changed": list(made.changed),
        "index": index,
        "answer": made.answer.as_json(),
        **({"prompt": prompt.text if prompt else None} if show_prompt else {}),
    }


def _show(id_: str, made: Replay, index: str, *, show_prompt: bool) -> None:
    if show_prompt:
        prompt = made.answer.prompt
        typer.echo(safe(prompt.text) if prompt else "(the model was not asked)")
        typer.echo()
    typer.echo(safe(made.answer.text))
    typer.echo()
    for difference in made.differences:
        typer.echo(f"{difference.part} differs")
        typer.echo(f"  was {_shown(difference.before)}")
        typer.echo(f"  is  {_shown(difference.after)}")
    if made.identical:
        typer.echo(f"identical: {id_} has the same prompt, answer and citations again")
    elif not made.changed:
        typer.echo("nothing that a run records has changed: the machine computes otherwise, or draws at random")
    for change in made.changed:
        note(f"changed since the run: {safe(change)}")
    note(f"index: {safe(index)}")


def _shown(value: Any) -> str:
    return safe(json_.dumps(value, ensure_ascii=False))
