"""What a run was made with: ``run.json`` beside its answers, enough to make any of them again.

Its facts are everything that the answers depend on except the questions, and part of every answer's key. What else is
there is told, not compared: the machine, and where index and model lie.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eval.errors import InputError
from eval.folder import MANIFEST
from ingest.document_index import PassageIndex
from prompts.wording import Wording, load_wording
from rag.chat import RagChat
from rag.confidence import load_abstention
from rag.model import ChatModel
from rag.models import find_model, is_server
from rag.settings import Settings

FORMAT_VERSION = 1
_ELSEWHERE = ("index", "collection", "model", "tokenizer", "abstention", "sessions", "threads", "gpu_layers")
"""Settings that are told in another way, or that no answer depends on."""
_ROOMS = ("ingest", "prompts", "rag")
_NO_CODE = frozenset({"__pycache__", "cli", "demo_corpus"})
_BLOCK, _BLOCKS = 1 << 16, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """``facts``: see :func:`run_facts`. ``machine``: see :func:`machine_facts`. ``places``: ``index`` and ``model`` as
    they were given. ``wording``: the texts around questions and passages. ``cases``: how many, and the sha256 of their
    file."""

    facts: Mapping[str, Any]
    machine: Mapping[str, Any]
    places: Mapping[str, str]
    wording: Mapping[str, str]
    cases: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The content of ``run.json``."""
        return {"format": FORMAT_VERSION, **asdict(self)}


def run_facts(chat: RagChat, model: Mapping[str, object]) -> dict[str, Any]:
    """Everything that the answers of a run depend on, except the questions; ``model`` as :func:`model_facts` says.

    ``code`` is a digest of this program's own files as far as they make answers, so that an answer of an older version
    is never taken for one of this version.
    """
    return {
        "model": dict(model),
        "settings": _settings(chat.settings),
        "index": index_facts(chat.retriever.index),
        "wording": digest(asdict(load_wording())),
        "abstention": digest(load_abstention(chat.settings.abstention).as_json()),
        "versions": {name: version(name) for name in ("groundchat", "llama-cpp-python")},
        "code": _code(),
    }


def index_facts(index: PassageIndex) -> dict[str, Any]:
    """How many documents an index has, and a digest of what they are."""
    documents = sorted((document.source, document.document_id, document.chunks) for document in index.documents())
    return {"documents": len(documents), "digest": digest(documents)}


def model_facts(settings: Settings, model: ChatModel) -> dict[str, Any]:
    """What identifies the settings' model: its name, its file's size in bytes, a digest, and how much of it a GPU runs.

    Of a large file the digest covers 64 blocks of 64 KiB, the first, the last and others evenly spread between them:
    any other training or quantisation changes all of them, and gigabytes need not be read. What a server runs under a
    name may change without notice: its ``bytes`` and ``digest`` are None.
    """
    if is_server(settings.model):
        return {"name": model.name, "bytes": None, "digest": None, "gpu_layers": None}
    from rag.engine import supports_gpu

    file = find_model(settings.model)
    return {
        "name": model.name,
        "bytes": file.stat().st_size,
        "digest": _sampled(file),
        "gpu_layers": settings.gpu_layers if supports_gpu() else 0,
    }


def machine_facts(settings: Settings) -> dict[str, Any]:
    """Where a run was made; ``threads`` as the model used them, None for one on a server."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": None if is_server(settings.model) else settings.threads or os.cpu_count() or 1,
        "python": platform.python_version(),
    }


def make_manifest(facts: Mapping[str, Any], settings: Settings, *, count: int, sha256: str) -> Manifest:
    """The manifest of a run with these facts and settings of ``count`` cases, whose file has this sha256."""
    return Manifest(
        facts=facts,
        machine=machine_facts(settings),
        places={name: getattr(settings, name) for name in ("index", "collection", "model", "tokenizer", "abstention")},
        wording=asdict(load_wording()),
        cases={"count": count, "sha256": sha256},
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run's folder. Raises :class:`~eval.errors.InputError` when there is none that can be used."""
    file = folder / MANIFEST
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): pass the --out of a 'rag eval run'") from error
    except ValueError as error:
        raise InputError(f"{file} is no JSON ({error}): make the run again") from error
    names = Manifest.__dataclass_fields__
    if not isinstance(found, dict) or found.get("format") != FORMAT_VERSION:
        raise InputError(f"{file} is not of format {FORMAT_VERSION}: make the run again with this version")
    if missing := [name for name in names if not isinstance(found.get(name), dict)]:
        raise InputError(f"{file} has no {', '.join(missing)}: it was changed by hand; make the run again")
    return Manifest(**{name: found[name] for name in names})


def wording_of(manifest: Manifest) -> Wording:
    """The wording of a run. Raises :class:`~eval.errors.InputError` when this version words prompts of other parts."""
    try:
        return Wording(**manifest.wording)
    except TypeError as error:
        raise InputError(f"the run's wording has other parts than this version's ({error}): make it again") from error


def digest(value: object) -> str:
    """sha256 of a JSON value, 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _settings(settings: Settings) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(settings).items() if name not in _ELSEWHERE}
    return kept | {"tokenizer": Path(settings.tokenizer).name}


def _code() -> str:
    """A digest of the files that make answers, by their names below the room."""
    found: list[tuple[str, str]] = []
    for room in _ROOMS:
        spec = find_spec(room)
        assert spec is not None
        assert spec.submodule_search_locations
        root = Path(spec.submodule_search_locations[0])
        for file in sorted(root.rglob("*")):
            name = file.relative_to(root)
            if file.is_file() and _NO_CODE.isdisjoint(name.parts):
                found.append((f"{room}/{name.as_posix()}", hashlib.sha256(file.read_bytes()).hexdigest()))
    return digest(found)


def _sampled(file: Path) -> str:
    size = file.stat().st_size
    sampled = hashlib.sha256(str(size).encode())
    with file.open("rb") as stream:
        if size <= _BLOCK * _BLOCKS:
            sampled.update(stream.read())
        else:
            for number in range(_BLOCKS):
                stream.seek(number * (size - _BLOCK) // (_BLOCKS - 1))
                sampled.update(stream.read(_BLOCK))
    return sampled.hexdigest()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
