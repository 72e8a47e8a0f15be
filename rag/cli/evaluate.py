import typer

app = typer.Typer(help="Score answers.", no_args_is_help=True)


@app.callback()
def _root() -> None: ...
