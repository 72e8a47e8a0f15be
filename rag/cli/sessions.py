"""``rag sessions``: the conversations that were kept."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rag.cli import options
from rag.cli.output import emit, note, safe

if TYPE_CHECKING:
    from rag.sessions import Session

app = typer.Typer(help="List, show and delete the conversations that were kept.", no_args_is_help=True)


def _folder(flags: options.Flags) -> Path:
    from rag.settings import resolve

    return Path(resolve(flags).settings.sessions)


@app.command("list")
@options.takes_settings("sessions")
def list_(json: options.Json = False, *, flags: options.Flags) -> None:
    """Every session, the one used last first."""
    from rag.errors import SessionError
    from rag.sessions import list_sessions

    folder = _folder(flags)
    found = list_sessions(folder)
    damaged = [str(item) for item in found if isinstance(item, SessionError)]
    rows = [_row(item) for item in found if not isinstance(item, SessionError)]
    if json:
        emit({"folder": str(folder), "sessions": rows, "damaged": damaged})
        return
    for row in rows:
        times = safe(f"{row['started'][:16]} to {row['last_used'][:16]}")
        about = safe(" ".join(row["first_question"].split()))[:80]
        typer.echo(f"{row['name']}  {row['turns']} turns, {times}  {about}")
    for error in damaged:
        note(f"error: {safe(error)}")
    typer.echo(f"{len(rows)} sessions in {safe(str(folder))}")


@app.command("show")
@options.takes_settings("sessions")
def show(
    name: Annotated[str, typer.Argument(help="The name of a session.")],
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """What was asked and answered, with the sources that were cited."""
    from rag.sessions import load, turn_json

    session = load(_folder(flags), name)
    if session.torn:
        note("the last line was cut off when the program was killed; it is left out")
    if json:
        turns = [
            turn_json(logged) | {"conversation": _conversation(session, n)} for n, logged in enumerate(session.turns)
        ]
        emit(_row(session) | {"index": session.index, "model": session.model, "turns": turns})
        return
    for number, logged in enumerate(session.turns):
        if number and number in session.starts:
            typer.echo("\n--- /new ---")
        typer.echo(f"\n> {safe(logged.turn.question)}\n\n{safe(logged.turn.answer)}")
        if logged.why:
            typer.echo(f"  ({safe(logged.why)})")
        for citation in logged.citations:
            page = f", page {', '.join(map(str, citation.pages))}" if citation.pages else ""
            where = f"characters {citation.start} to {citation.end}"
            typer.echo(f"  [{citation.number}] {safe(citation.source)}{page}, {where}")
            typer.echo(f'      "{safe(" ".join(citation.quote.split()))}"')


@app.command("delete")
@options.takes_settings("sessions")
def delete(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="The names of sessions.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; needed where there is no terminal to ask at.")
    ] = False,
    json: options.Json = False,
    *,
    flags: options.Flags,
) -> None:
    """Delete sessions for good; exit 1 if you then say no."""
    from rag.errors import SessionError
    from rag.sessions import delete as delete_session
    from rag.sessions import require

    folder = _folder(flags)
    files = [require(folder, name) for name in dict.fromkeys(names)]
    named = ", ".join(file.stem for file in files)
    if not yes:
        if not sys.stdin.isatty():
            raise SessionError(f"there is no terminal to ask whether to delete {named}: add --yes")
        if not typer.confirm(f"Delete {named} for good?", err=True):
            raise typer.Exit(1)
    for file in files:
        delete_session(folder, file.stem)
    if json:
        emit({"deleted": [file.stem for file in files]})
    else:
        typer.echo(f"deleted {named}")


def _row(session: Session) -> dict[str, Any]:
    return {
        "name": session.name,
        "turns": len(session.turns),
        "started": session.created,
        "last_used": session.turns[-1].time if session.turns else session.created,
        "first_question": session.turns[0].turn.question if session.turns else "",
    }


def _conversation(session: Session, turn: int) -> int:
    """Counting from 1, which conversation of a session a turn belongs to."""
    return sum(start <= turn for start in session.starts)
