"""``rag``: the commands, and what their errors look like."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Optional

import typer

from rag.cli import ask, chat, docs, evaluate, ingest, models, sessions, show

app = typer.Typer(
    name="rag",
    help="Chat with your own documents, on your own machine, with citations that are checked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("ingest")(ingest.ingest)
app.command("search")(ask.search)
app.command("ask")(ask.ask)
app.command("chat")(chat.chat)
app.add_typer(sessions.app, name="sessions")
app.command("prompt")(ask.prompt)
app.add_typer(docs.app, name="docs")
app.command("why-not")(docs.why_not)
app.add_typer(evaluate.app, name="eval")
app.add_typer(models.app, name="models")
app.command("doctor")(show.doctor)
app.command("config")(show.config)
app.command("demo")(ask.demo)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"groundchat {version('groundchat')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        Optional[bool], typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    del version


def main() -> None:
    """Exit codes: 0 done, 1 the answer is no, 2 bad use or input, 130 Ctrl-C."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        from rag.errors import USER_ERRORS

        if not isinstance(error, USER_ERRORS):
            raise
        typer.echo(f"rag: error: {' '.join(str(error).split())}", err=True)
        sys.exit(2)
