"""``rag config`` and ``rag doctor``: what is set, what is wrong."""

from __future__ import annotations

from dataclasses import asdict

import typer

from rag.cli import options
from rag.cli.output import emit, safe


@options.takes_settings(*options.GENERATE)
def config(json: options.Json = False, *, flags: options.Flags) -> None:
    """Print every setting, and whether it comes from a flag, the environment, rag.toml or the default."""
    from rag.settings import resolve

    resolved = resolve(flags)
    values = asdict(resolved.settings)
    if json:
        emit({name: {"value": value, "from": resolved.origin[name]} for name, value in values.items()})
        return
    for name, value in values.items():
        typer.echo(f"{name} = {value!r}  ({resolved.origin[name]})")


@options.takes_settings(*options.GENERATE)
def doctor(json: options.Json = False, *, flags: options.Flags) -> None:
    """Check this machine: libraries, models, prompt format, index. Exit 1 if something must be mended."""
    from rag.doctor import examine
    from rag.settings import resolve

    findings = examine(resolve(flags).settings)
    healthy = not any(finding.status == "problem" for finding in findings)
    if json:
        emit({"ok": healthy, "checks": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            typer.echo(f"{finding.status:8s} {finding.name}: {safe(finding.detail)}")
    if not healthy:
        raise typer.Exit(1)
