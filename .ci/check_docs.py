"""Docs against code: the command reference is what the help texts say, the tables of metrics and of formats what the
code says, options named in prose exist, links resolve.

`python .ci/check_docs.py --write` renews docs/commands.md and the tables in docs/evaluation.md and docs/formats.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
REFERENCE = ROOT / "docs" / "commands.md"
EVALUATION = ROOT / "docs" / "evaluation.md"
FORMATS = ROOT / "docs" / "formats.md"
HEAD = "# Commands\n\nMade from the help texts by `.ci/check_docs.py --write`; `rag COMMAND --help` says the same.\n"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
_COMMAND = re.compile(r"`rag ([a-z][a-z-]*)(?: ([a-z]+))?")
_OTHER_PROGRAMS = {"--write", "--user", "--net"}


def commands() -> Iterator[tuple[str, Any]]:
    """(full name, command) of every command of `rag`, in the order of its help."""
    import typer

    from rag.cli.main import app

    def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        for part, sub in (inner or {}).items():
            yield from walk(f"{name} {part}", sub)

    yield from walk("rag", typer.main.get_command(app))


def reference() -> str:
    """The text of docs/commands.md."""
    parts = [HEAD]
    for name, command in commands():
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        usage = " ".join([name, *(_metavar(argument) for argument in arguments)])
        parts.append(f"\n## `{usage}`\n\n{' '.join((command.help or '').split())}\n")
        rows = [(", ".join(p.opts), p.help or "") for p in command.params if p.param_type_name == "option"]
        named = [(_metavar(p), p.help or "") for p in arguments]
        listed = [f"- `{label}`: {text}" for label, text in named + rows]
        parts.append("\n" + "\n".join(listed) + "\n" if listed else "")
    return "".join(parts)


def evaluation() -> str:
    """The text of docs/evaluation.md with its table of metrics as the code has it."""
    from eval.scores import describe

    rows = ["| metric | better | what it is |", "|---|---|---|"]
    for metric in describe():
        better = "lower" if "lower" in metric.range else "higher"
        rows.append(f"| {metric.name}{' (*)' if metric.judged else ''} | {better} | {metric.meaning} |")
    return _with_table(EVALUATION, "metrics", rows)


def formats() -> str:
    """The text of docs/formats.md with its table of formats as the code has it."""
    from ingest.readers import describe

    header, *lines = describe()
    table = [header, ["---"] * len(header), *lines]
    return _with_table(FORMATS, "formats", [f"| {' | '.join(line)} |" for line in table])


def _with_table(page: Path, name: str, rows: list[str]) -> str:
    """The page's text with those lines between the marks of that name."""
    before, mark, rest = page.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    return "".join((before, mark, "\n".join(rows), "\n", end, after))


def _metavar(argument: Any) -> str:
    label = argument.metavar or argument.name.upper()
    return str(label if argument.required else f"[{label}]")


def problems() -> Iterator[str]:
    """One line for each thing in the docs that the code does not bear out."""
    known = dict(commands())
    flags = {opt for command in known.values() for p in command.params for opt in p.opts} | {
        "--help",
        "--version",
    }
    if not REFERENCE.is_file() or REFERENCE.read_text() != reference():
        yield "docs/commands.md is not what the help texts say: run python .ci/check_docs.py --write"
    if EVALUATION.read_text() != evaluation():
        yield "docs/evaluation.md has another table of metrics than the code: run python .ci/check_docs.py --write"
    if FORMATS.read_text() != formats():
        yield "docs/formats.md has another table of formats than the code: run python .ci/check_docs.py --write"
    for page in PAGES:
        if not page.is_file():
            yield f"{page.relative_to(ROOT)} is missing"
            continue
        text = page.read_text()
        name = page.relative_to(ROOT)
        for line in (line for line in text.splitlines() if "rag" in line):
            for flag in set(_FLAG.findall(line)) - flags - _OTHER_PROGRAMS:
                yield f"{name}: no command has the option {flag}"
        for first, second in _COMMAND.findall(text):
            if f"rag {first}" not in known and not any(n.startswith(f"rag {first} ") for n in known):
                yield f"{name}: there is no command 'rag {first} {second}'".rstrip()
        for target in _LINK.findall(text):
            if not (page.parent / target).exists():
                yield f"{name}: the link to {target} leads nowhere"


if __name__ == "__main__":
    if "--write" in sys.argv:
        REFERENCE.write_text(reference())
        EVALUATION.write_text(evaluation())
        FORMATS.write_text(formats())
    found = list(problems())
    for problem in found:
        print(problem)
    print(f"docs: {len(PAGES)} pages checked, {len(found)} problems")
    sys.exit(bool(found))
