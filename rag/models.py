"""Which GGUF file a ``--model`` means, and which model files are on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from stat import S_ISREG

from rag.catalogue import KnownModel, amount, catalogue, closest, expanded, models_folder
from rag.errors import ModelError

GGUF_MAGIC = b"GGUF"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """A known model with its file on this machine, if any, and the bytes that an unfinished pull has left."""

    model: KnownModel
    file: Path | None
    partial_bytes: int


def file_of(model: KnownModel) -> Path | None:
    """Where the file of a known model is on this machine, or None. A package is located, never imported."""
    if model.package is None:
        pulled = models_folder() / model.filename
        return pulled if _is_file(pulled) else None
    spec = find_spec(model.package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)


def found_models() -> tuple[FoundModel, ...]:
    """Every known model and what is there of it."""
    folder = models_folder()
    return tuple(
        FoundModel(
            model=model,
            file=file_of(model),
            partial_bytes=max((part.stat().st_size for part in folder.glob(f"{model.filename}.*.part")), default=0),
        )
        for model in catalogue()
    )


def other_files() -> tuple[Path, ...]:
    """GGUF files in the models folder that no alias stands for, by name."""
    known = {model.filename for model in catalogue()}
    return tuple(sorted(file for file in models_folder().glob("*.gguf") if file.name not in known and _is_file(file)))


def machine_memory() -> int | None:
    """Bytes of memory in this machine, or None where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def is_server(name: str) -> bool:
    """Whether a ``--model`` is the address of a server."""
    return name.startswith(("http://", "https://"))


def check_model(name: str) -> None:
    """Raise what :func:`find_model` raises, before dearer things are done; a server is asked only when it is needed."""
    if not is_server(name):
        find_model(name)


def find_model(name: str) -> Path:
    """The file of a path or an alias; of the first packaged model when ``name`` is empty.

    Raises :class:`ModelError` with the remedy when there is none, or when the file is no GGUF.
    """
    if not name:
        for model in catalogue():
            if model.package is not None and (file := file_of(model)) is not None:
                return file
        raise ModelError("no model: pass --model FILE.gguf, or pip install 'groundchat[demo]' for a small one")
    if "://" in name:
        raise ModelError(
            f"{name.split('://')[0]}:// is no way to reach a model: pass http://..., https://... or a GGUF file"
        )
    for model in catalogue():
        if name == model.alias:
            return _file_or_remedy(model)
    return _checked(expanded(name))


def _file_or_remedy(model: KnownModel) -> Path:
    file = file_of(model)
    if file is not None:
        return _checked(file)
    if model.package is not None:
        raise ModelError(f"the model {model.alias!r} is not installed: pip install 'groundchat[demo]'")
    raise ModelError(
        f"the model {model.alias!r} is not on this machine: rag models pull {model.alias} "
        f"({amount(model.size_bytes)}, needs about {model.memory() / 1e9:.0f} GB of memory)"
    )


def _checked(file: Path) -> Path:
    try:
        magic = _magic(file)
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror}): check the path and its permissions") from error
    if magic is None:
        near = closest(str(file))
        remedy = f"did you mean {near}?" if near else "pass the path of a GGUF file, or an alias of rag models list"
        raise ModelError(f"no model file {file}: {remedy}")
    if magic != GGUF_MAGIC:
        raise ModelError(f"{file} is not a GGUF file: convert it with llama.cpp, or pass another")
    return file


def _magic(file: Path) -> bytes | None:
    """The first bytes of a file; None where there is none. Raises OSError when it cannot be read."""
    with suppress(FileNotFoundError, NotADirectoryError, ValueError):
        if S_ISREG(file.stat().st_mode):
            with file.open("rb") as stream:
                return stream.read(len(GGUF_MAGIC))
    return None


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113  Path.is_file raises for a folder that must not be looked into
