"""Options that commands share: each setting is declared once, and a command says which ones it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Optional, get_type_hints

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Filter = Annotated[
    Optional[list[str]],
    typer.Option(
        "--filter",
        metavar="KEY=VALUE",
        help="Only documents of this source, path, type, date or own field; may be given several times.",
    ),
]
Batch = Annotated[
    Optional[Path],
    typer.Option("--batch", help='JSONL file with {"id", "question"} a line; prints one JSON object a line.'),
]

Flags = dict[str, Any]
"""Settings as they were given on the command line; None where one was not."""

_SETTINGS: dict[str, Any] = {
    "index": Annotated[
        Optional[str], typer.Option("--index", help="Folder of the index, or URL of a Qdrant server [.rag/index].")
    ],
    "collection": Annotated[
        Optional[str], typer.Option("--collection", help="Which collection of the index [default].")
    ],
    "embedder": Annotated[
        Optional[str], typer.Option("--embedder", help="Embedding model: a folder, or a name in the local cache.")
    ],
    "model": Annotated[
        Optional[str], typer.Option("--model", help="GGUF file, alias or server URL [the packaged small model].")
    ],
    "k": Annotated[Optional[int], typer.Option("-k", help="Passages to retrieve, 1 to 100 [5].")],
    "passage_tokens": Annotated[
        Optional[int], typer.Option("--passage-tokens", help="Most tokens of passages that a question adds [768].")
    ],
    "mode": Annotated[Optional[str], typer.Option("--mode", help="hybrid, dense or sparse [hybrid].")],
    "context_window": Annotated[
        Optional[int], typer.Option("--context-window", help="Tokens of prompt and answer together [4096].")
    ],
    "max_answer_tokens": Annotated[
        Optional[int], typer.Option("--max-answer-tokens", help="Tokens kept free for the answer [256].")
    ],
    "temperature": Annotated[
        Optional[float], typer.Option("--temperature", help="0 always takes the likeliest token [0].")
    ],
    "seed": Annotated[Optional[int], typer.Option("--seed", help="For temperatures above 0 [0].")],
    "threads": Annotated[Optional[int], typer.Option("--threads", help="CPU threads; 0 is one a core [0].")],
    "gpu_layers": Annotated[
        Optional[int], typer.Option("--gpu-layers", help="Layers to offload; -1 is all that the build can [-1].")
    ],
    "prompt_format": Annotated[
        Optional[str],
        typer.Option("--prompt-format", help="auto, template, llama-2, chatml, llama-3, mistral, gemma, zephyr."),
    ],
    "history": Annotated[
        Optional[str],
        typer.Option("--history", help="What a long conversation becomes: head, summary or hybrid [hybrid]."),
    ],
    "tokenizer": Annotated[
        Optional[str], typer.Option("--tokenizer", help="GGUF file with the vocabulary of a server's model.")
    ],
    "top_k": Annotated[Optional[int], typer.Option("--top-k", help="Draw from the likeliest K tokens; 0: all [40].")],
    "top_p": Annotated[
        Optional[float], typer.Option("--top-p", help="Draw from the likeliest tokens of this total [0.95].")
    ],
    "min_p": Annotated[
        Optional[float], typer.Option("--min-p", help="Draw no token below this share of the likeliest [0.05].")
    ],
    "repeat_penalty": Annotated[
        Optional[float], typer.Option("--repeat-penalty", help="Above 1 makes repetition less likely [1].")
    ],
    "stop": Annotated[Optional[str], typer.Option("--stop", help="Text at which an answer ends.")],
    "batch_tokens": Annotated[
        Optional[int], typer.Option("--batch-tokens", help="Prompt tokens read at a time; 0: 128, with a GPU 512 [0].")
    ],
    "flash_attention": Annotated[Optional[str], typer.Option("--flash-attention", help="auto, on or off [auto].")],
    "verifier": Annotated[
        Optional[str],
        typer.Option("--verifier", help="Checks sentences: lexical, alignment, nli:MODEL or judge:MODEL [lexical]."),
    ],
    "min_confidence": Annotated[
        Optional[float],
        typer.Option("--min-confidence", help="Refuse answers below it, 0 to 1; -1: as the abstention file says [-1]."),
    ],
    "abstention": Annotated[
        Optional[str],
        typer.Option("--abstention", help="Weights of the confidence, from 'rag eval calibrate' [packaged]."),
    ],
    "rerank": Annotated[
        Optional[str], typer.Option("--rerank", help="Order of hybrid hits: late, none or cross:MODEL [late].")
    ],
    "sessions": Annotated[
        Optional[str], typer.Option("--sessions", help="Folder in which conversations are kept [.rag/sessions].")
    ],
}

INDEX = ("index", "collection", "embedder")
SEARCH = (*INDEX, "k", "mode", "rerank")
PROMPT = (
    *SEARCH,
    "passage_tokens",
    "model",
    "tokenizer",
    "prompt_format",
    "context_window",
    "max_answer_tokens",
)
GENERATE = tuple(name for name in _SETTINGS if name != "sessions")


def takes_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each of these settings.

    The command's parameter ``flags`` receives what was given, by name; None where an option was not.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        own = [p for p in inspect.signature(command).parameters.values() if p.name != "flags"]
        own = [p.replace(annotation=hints[p.name]) for p in own]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_SETTINGS[name])
            for name in names
        ]

        @wraps(command)
        def run(*arguments: Any, **given: Any) -> None:
            flags = {name: given.pop(name, None) for name in names}
            command(*arguments, flags=flags, **given)

        keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        parameters = [*keyword_only, *shared]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return decorate
