"""How verifiers did on labelled claims, kept on this machine: which one may gate is known by its measurement.

A JSON file: by verifier (its kind and a digest of its weights) and by set of claims (a digest) the figures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from rag.errors import SettingsError

MEASURED_FILE = Path(".rag/verifiers.json")
_END = 1 << 20


def identity(kind: str, weights: Path) -> str:
    """A verifier's key: its kind, and a digest of the size and the ends of its file, or of each file of its folder."""
    digest = hashlib.sha256()
    for file in sorted(weights.rglob("*")) if weights.is_dir() else [weights]:
        if file.is_file():
            digest.update(f"{file.name} {file.stat().st_size}\n".encode("utf-8", "replace"))
            with file.open("rb") as stream:
                digest.update(stream.read(_END))
                stream.seek(max(0, file.stat().st_size - _END))
                digest.update(stream.read())
    return f"{kind}@{digest.hexdigest()[:16]}"


def read_measured(key: str, file: Path = MEASURED_FILE) -> Mapping[str, float] | None:
    """The figures of the verifier that were saved last; None when there are none.

    Raises :class:`SettingsError` when the file is damaged.
    """
    *_, last = (None, *_read(file).get(key, {}).values())
    return last


def save_measured(key: str, claims: str, figures: Mapping[str, float], file: Path = MEASURED_FILE) -> None:
    """Keep the figures of a verifier on the claims of a digest. Raises :class:`SettingsError` as :func:`read_measured`
    does, or when the file cannot be written.
    """
    kept = _read(file)
    others = {digest: values for digest, values in kept.get(key, {}).items() if digest != claims}
    text = json.dumps({**kept, key: {**others, claims: dict(figures)}}, indent=1, ensure_ascii=False) + "\n"
    new = file.with_name(file.name + ".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(text.encode("utf-8", "backslashreplace"))
        new.replace(file)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written ({error.strerror}): check the folder's permissions") from error


def _read(file: Path) -> dict[str, dict[str, dict[str, float]]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{file} cannot be read ({error}): remove it and measure the verifiers again") from error
    if not all(_is_figures(figures) for figures in _leaves(found)):
        raise SettingsError(f"{file} holds no measurements: remove it and measure the verifiers again")
    return dict(found)


def _leaves(found: object) -> Iterator[object]:
    """What stands two levels down; None for anything that does not reach so far."""
    for by_claims in found.values() if isinstance(found, dict) else [None]:
        yield from by_claims.values() if isinstance(by_claims, dict) else [None]


def _is_figures(found: object) -> bool:
    return (
        isinstance(found, dict)
        and {"balanced_accuracy", "auc"} <= set(found)
        and all(isinstance(value, (int, float)) and value >= 0 for value in found.values())
    )
