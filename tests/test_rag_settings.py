from pathlib import Path

import pytest

from rag.errors import SettingsError
from rag.settings import Settings, resolve


def test_each_place_overrides_the_next_and_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rag.toml"
    file.write_text("k = 7\nseed = 3\nindex = 'from-file'\n")
    found = resolve({"k": 9, "seed": None}, {"RAG_SEED": "5", "RAG_K": "8"}, file)
    assert (found.settings.k, found.settings.seed, found.settings.index) == (9, 5, "from-file")
    assert (found.origin["k"], found.origin["seed"]) == ("flag", "environment")
    assert found.origin["index"] == str(file)
    assert found.origin["threads"] == "default"


def test_without_anything_the_defaults_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve({}, {}).settings == Settings()


@pytest.mark.parametrize(
    ("flags", "environment", "file", "named"),
    [
        ({"k": 0}, {}, "", "k is 0"),
        ({"k": 101}, {}, "", "from 1 to 100"),
        ({"mode": "fast"}, {}, "", "hybrid, dense, sparse"),
        ({"prompt_format": "x"}, {}, "", "auto"),
        ({"max_answer_tokens": 4096}, {}, "", "max_answer_tokens"),
        ({}, {"RAG_K": "many"}, "", "a whole number"),
        ({}, {"RAG_TEMPERATURE": "-1"}, "", "temperature"),
        ({}, {}, "kk = 3", "unknown keys kk"),
        ({}, {}, "k = true", "a whole number"),
        ({}, {}, "k = [1]", "a whole number"),
        ({}, {}, "model = 3", "a text"),
        ({}, {}, "[[[", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    flags: dict[str, object], environment: dict[str, str], file: str, named: str, tmp_path: Path
) -> None:
    path = tmp_path / "rag.toml"
    path.write_text(file)
    with pytest.raises(SettingsError, match=named.replace("[", r"\[")):
        resolve(flags, environment, path)
