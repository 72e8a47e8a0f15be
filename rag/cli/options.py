"""Options that commands share, and how their settings are resolved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from rag.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Index = Annotated[Optional[str], typer.Option("--index", help="Folder of the index [.rag/index].")]
Embedder = Annotated[
    Optional[str], typer.Option("--embedder", help="Embedding model: a folder, or a name in the local cache.")
]
Model = Annotated[Optional[str], typer.Option("--model", help="GGUF file or alias [the packaged small model].")]
K = Annotated[Optional[int], typer.Option("-k", help="Passages to retrieve, 1 to 100 [5].")]
Mode = Annotated[Optional[str], typer.Option("--mode", help="hybrid, dense or sparse [hybrid].")]
Filter = Annotated[
    Optional[list[str]],
    typer.Option("--filter", help="source=NAME: only that document; may be given several times."),
]
Batch = Annotated[
    Optional[Path],
    typer.Option("--batch", help='JSONL file with {"id", "question"} a line; prints one JSON object a line.'),
]
Window = Annotated[Optional[int], typer.Option("--context-window", help="Tokens of prompt and answer together [4096].")]
MaxAnswer = Annotated[Optional[int], typer.Option("--max-answer-tokens", help="Tokens kept free for the answer [256].")]
Temperature = Annotated[Optional[float], typer.Option("--temperature", help="0 always takes the likeliest token [0].")]
Seed = Annotated[Optional[int], typer.Option("--seed", help="For temperatures above 0 [0].")]
Threads = Annotated[Optional[int], typer.Option("--threads", help="CPU threads; 0 is one a core [0].")]
GpuLayers = Annotated[
    Optional[int], typer.Option("--gpu-layers", help="Layers to offload; -1 is all that the build can [-1].")
]
Format = Annotated[
    Optional[str],
    typer.Option("--prompt-format", help="auto, template, llama-2, chatml, llama-3, mistral, gemma, zephyr."),
]


def settings(**flags: Any) -> Settings:
    """Settings from flags, environment and ``rag.toml``; a flag that is None was not given."""
    from rag.settings import resolve

    return resolve(flags).settings


def sources(filters: list[str] | None) -> list[str] | None:
    """The sources of ``source=NAME`` filters; None where there is no filter."""
    from rag.errors import SettingsError

    if not filters:
        return None
    found = []
    for filter_ in filters:
        key, _, value = filter_.partition("=")
        if key != "source" or not value:
            raise SettingsError(f"--filter {filter_!r}: write source=NAME, the one filter of this version")
        found.append(value)
    return found
