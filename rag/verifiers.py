"""Which verifier a spec means (``--verifier``, ``--judge``).

    lexical          words, numbers, names and negations; the default
    alignment        the same, and how the embedder's token vectors of claim and text match
    nli:MODEL        a cross-encoder for natural language inference: a folder, or a name in the local cache
    judge:MODEL      a GGUF model that is asked: a file, or an alias of ``rag models list``

The first two ship what was measured of them; of the others it is known after ``rag eval verify CLAIMS --judge SPEC
--save``. Nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

from ingest.cross_encoder import model_folder, open_pair_scorer
from rag.alignment import AlignmentVerifier
from rag.errors import ModelError, SettingsError
from rag.grounding import Verifier
from rag.judge import WINDOW, JudgeVerifier
from rag.llama import LlamaModel
from rag.measured import MEASURED_FILE, identity, read_measured
from rag.models import find_model, is_server
from rag.nli import NliVerifier
from rag.settings import Settings
from rag.verifier import LexicalVerifier

KNOWN = "lexical, alignment, nli:MODEL, judge:MODEL"
SHIPPED = frozenset({"lexical", "alignment"})
"""Those whose figures are part of the program."""


def open_verifier(spec: str, settings: Settings | None = None, *, measured: Path = MEASURED_FILE) -> Verifier:
    """The verifier of a spec. ``settings``: threads and GPU layers of a judge; ``measured``: the file of measurements.

    Raises :class:`SettingsError` for an unknown spec or a model that is none for this, :class:`ModelError` or
    :class:`ingest.errors.EmbedderError` when a model is not on this machine.
    """
    kind, _, name = spec.partition(":")
    if spec == "lexical":
        return LexicalVerifier()
    if spec == "alignment":
        return AlignmentVerifier()
    if kind == "nli" and name:
        scorer = open_pair_scorer(name)
        return NliVerifier(spec, scorer, measured=read_measured(identity(kind, scorer.folder), measured))
    if kind == "judge" and name:
        file = _judge_file(name)
        settings = settings or Settings()
        model = LlamaModel(file, context_window=WINDOW, threads=settings.threads, gpu_layers=settings.gpu_layers)
        return JudgeVerifier(spec, model, measured=read_measured(identity(kind, file), measured))
    raise SettingsError(f"unknown verifier {spec!r}: choose one of {KNOWN}")


def saved_under(spec: str) -> str:
    """The key by which figures of a verifier are kept (:mod:`rag.measured`). Raises as :func:`open_verifier` does, and
    :class:`SettingsError` for one whose figures are shipped.
    """
    kind, _, name = spec.partition(":")
    if kind == "judge" and name:
        return identity(kind, _judge_file(name))
    if kind == "nli" and name:
        return identity(kind, model_folder(name))
    raise SettingsError(f"the figures of {spec!r} are part of the program: --save is for nli:MODEL and judge:MODEL")


def _judge_file(name: str) -> Path:
    if is_server(name):
        raise ModelError(f"a judge's probabilities cannot be read from the server {name}: pass judge: with a GGUF file")
    return find_model(name)
