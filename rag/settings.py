"""Settings, and where each came from: flag > environment (``RAG_*``) > ``rag.toml`` > default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from ingest.collections import DEFAULT_COLLECTION, check_collection, collection_folder, is_url
from ingest.embed import DEFAULT_EMBEDDER
from ingest.errors import IndexProblem
from ingest.types import SearchMode
from prompts.formats import FORMAT_NAMES
from rag.errors import SettingsError
from rag.types import Sampling

CONFIG_FILE = "rag.toml"
HistoryStrategy = Literal["head", "summary", "hybrid"]
"""When the conversation outgrows its room: forget its oldest turns; summarise all of it; all but its last turns."""
FlashAttention = Literal["auto", "on", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set; each field is also ``RAG_<NAME>``, a key of ``rag.toml``, and a flag.

    ``index``: a folder, or the URL of a Qdrant server. ``collection``: one of those in the index, by name. ``model``: a
    GGUF file, an alias or a server's URL; empty means the packaged one. ``tokenizer``: a GGUF file whose vocabulary
    counts and builds the prompts for a server.
    ``k``: passages to retrieve, 1 to 100.
    ``passage_tokens``: the most tokens, about, of the passages that a question adds to the prompt.
    ``min_relevance``: a question whose retrieval is below it is refused without asking the model (0 to 1).
    ``min_confidence``: an answer whose confidence is below it is refused before anything of it is shown (0 to 1; 0
    never; -1: as the abstention file says). ``abstention``: the file of weights that confidence comes from
    (``rag eval calibrate``); empty means the packaged one.
    ``threads``: 0 means one a core. ``gpu_layers``: -1 means all that the build can offload. ``batch_tokens``: prompt
    tokens that are read at a time, 0 for what suits the processor. ``stop``: a text at which an answer ends; empty for
    none. ``sessions``: the folder in which conversations are kept. ``verifier``: who says whether a passage supports a
    sentence, as :func:`rag.verifiers.open_verifier` reads it. ``rerank``: what puts the candidates of a hybrid search
    into order, as :func:`rag.rerank.open_reranker` reads it. The samplers from ``top_k`` on are described at
    :class:`rag.types.Sampling`.
    """

    index: str = ".rag/index"
    collection: str = DEFAULT_COLLECTION
    embedder: str = DEFAULT_EMBEDDER
    model: str = ""
    k: int = 5
    passage_tokens: int = 768
    mode: SearchMode = "hybrid"
    min_relevance: float = 0.37
    context_window: int = 4096
    max_answer_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    threads: int = 0
    gpu_layers: int = -1
    prompt_format: str = "auto"
    history: HistoryStrategy = "hybrid"
    sessions: str = ".rag/sessions"
    tokenizer: str = ""
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    stop: str = ""
    batch_tokens: int = 0
    flash_attention: FlashAttention = "auto"
    verifier: str = "lexical"
    rerank: str = "late"
    min_confidence: float = -1.0
    abstention: str = ""

    def __post_init__(self) -> None:
        _range("k", self.k, 1, 100)
        _range("passage_tokens", self.passage_tokens, 64, 1_048_576)
        _range("min_relevance", self.min_relevance, 0.0, 1.0)
        if self.min_confidence != -1:
            _range("min_confidence", self.min_confidence, 0.0, 1.0)
        _range("context_window", self.context_window, 256, 1_048_576)
        _range("max_answer_tokens", self.max_answer_tokens, 1, self.context_window - 128)
        _range("temperature", self.temperature, 0.0, 5.0)
        _range("seed", self.seed, 0, 2**32 - 2)
        _range("threads", self.threads, 0, 1024)
        _range("gpu_layers", self.gpu_layers, -1, 10_000)
        _range("top_k", self.top_k, 0, 100_000)
        _range("top_p", self.top_p, 0.0, 1.0)
        _range("min_p", self.min_p, 0.0, 1.0)
        _range("repeat_penalty", self.repeat_penalty, 0.1, 10.0)
        _range("batch_tokens", self.batch_tokens, 0, 65_536)
        _choice("mode", self.mode, get_args(SearchMode))
        _choice("history", self.history, get_args(HistoryStrategy))
        _choice("flash_attention", self.flash_attention, get_args(FlashAttention))
        _choice("prompt_format", self.prompt_format, FORMAT_NAMES)
        try:
            check_collection(self.collection)
        except IndexProblem as error:
            raise SettingsError(str(error)) from error

    @property
    def location(self) -> str:
        """The folder of the index's collection, or the server and the collection, to be shown to people."""
        if self.collection == DEFAULT_COLLECTION:
            return self.index
        if is_url(self.index):
            return f"{self.index} (collection {self.collection})"
        return str(collection_folder(Path(self.index), self.collection))

    @property
    def sampling(self) -> Sampling:
        """How the tokens of an answer are drawn."""
        return Sampling(
            max_tokens=self.max_answer_tokens,
            temperature=self.temperature,
            seed=self.seed,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            stop=(self.stop,) if self.stop else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """Settings with their origins: ``origin[name]`` is "flag", "environment", the config file, or "default"."""

    settings: Settings
    origin: Mapping[str, str]


def _range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingsError(f"{name} is {value}: it must be from {low} to {high}")


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise SettingsError(f"{name} is {value!r}: choose one of {', '.join(known)}")


def resolve(
    flags: Mapping[str, Any],
    environment: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Resolved:
    """Merge the four places. A flag of None was not given; ``file`` defaults to ``rag.toml`` here if it exists.

    Raises :class:`SettingsError` for an unknown key of the file, a wrong type or a value out of range.
    """
    known = {field.name: type(field.default) for field in fields(Settings)}
    values: dict[str, Any] = {}
    origin = dict.fromkeys(known, "default")
    for place, found in (
        (str(file or CONFIG_FILE), _from_file(file, known)),
        ("environment", {n: environment[key] for n in known if (key := f"RAG_{n.upper()}") in environment}),
        ("flag", {name: value for name, value in flags.items() if value is not None}),
    ):
        for name, value in found.items():
            values[name] = _typed(name, value, known[name], place)
            origin[name] = place
    return Resolved(settings=Settings(**values), origin=origin)


def _from_file(file: Path | None, known: Mapping[str, type]) -> dict[str, Any]:
    path = file or Path(CONFIG_FILE)
    if file is None and not path.is_file():
        return {}
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read ({error}): mend it or remove it") from error
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise SettingsError(f"{path} has unknown keys {', '.join(unknown)}: known are {', '.join(known)}")
    return found


def _typed(name: str, value: Any, type_: type, place: str) -> Any:
    wrong = SettingsError(f"{name} is {value!r} ({place}): it must be {_TYPE_NAMES[type_]}")
    if isinstance(value, bool):
        raise wrong
    if isinstance(value, type_):
        return value
    if isinstance(value, (str, int)) and type_ is not str:
        try:
            return type_(value)
        except ValueError:
            raise wrong from None
    raise wrong


_TYPE_NAMES = {str: "a text", int: "a whole number", float: "a number"}
