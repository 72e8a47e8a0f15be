"""JSON schemas that a model can be held to, and the texts it writes under them.

A schema is brought into a normal form before it is used for anything: references put in, lists of types spelled out as
``anyOf``, objects closed. That form is what llama.cpp's converter turns into a grammar without losing or breaking
anything, and the same form validates what the model wrote. Whatever has no such form is refused. Nothing is fetched.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from prompts.encoding import clean
from rag.errors import ModelError, SettingsError

Schema = dict[str, Any]
"""A schema in its normal form; made by :func:`check_schema`."""

LONGEST = 1000
"""Most characters or items that a schema may count; llama.cpp gives up on grammars that count much further."""
_LARGEST = 500

_OWN = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems", "uniqueItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "boolean": set[str](),
    "null": set[str](),
}
_SHAPES = ("$ref", "anyOf", "oneOf", "const", "enum", "type")
_NOTES = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"} | {
    "$schema", "$id", "$comment", "$defs", "definitions"
}  # fmt: skip
_FORMATS = ("date", "time", "date-time", "uuid")
_LITERAL = re.compile(r"[^\"\\\x00-\x1f\x7f\ud800-\udfff\U00010000-\U0010ffff]*")
_PATTERN = re.compile(
    r"\^(?:[A-Za-z0-9 _:/@#%,;=~-]|\[[A-Za-z0-9 _.:/@#%,;=~+-]+\]|[()|*+?]|\{\d{1,2}(?:,\d{1,2})?\})*\$"
)

_UNLIKE = re.compile(r"\(\?|[?*+}][?*+{]|[(|][)|]|\^\$")
"""What stands for something else in a grammar than in Python, or for nothing: lazy, possessive, empty."""


def load_schema(path: Path) -> Schema:
    """The schema in a JSON file. Raises :class:`SettingsError` when there is none that can be used."""
    try:
        written = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"the schema file {path} cannot be read ({error.strerror}): give a JSON file") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"the schema file {path} is no JSON ({error}): give a JSON schema") from error
    return check_schema(written, f"the schema {path}")


def check_schema(schema: object, name: str = "the schema") -> Schema:
    """The normal form of a schema. Raises :class:`SettingsError`, with ``name`` in it, for one that cannot be used.

    It may have: types (also lists of them), ``properties`` and ``required``, ``items`` with their number, ``enum`` and
    ``const`` of single values, ``anyOf`` and ``oneOf``, ``$ref`` to its own definitions, lengths, bounds, simple
    patterns, and the formats date, time, date-time and uuid. An object has the properties that are named, no others.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(schema, Mapping):
        raise SettingsError(f"{name} is {_short(schema)}: it must be an object such as {{'type': 'object', ...}}")
    try:
        copy = json.loads(json.dumps(dict(schema), allow_nan=False))
        Draft202012Validator.check_schema(copy)
    except SchemaError as error:
        raise SettingsError(f"{name} is no JSON schema: {error.json_path}: {_short(error.message)}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise SettingsError(f"{name} cannot be written as JSON ({error}): use plain values only") from error
    return _Reader(name, copy).read()


class _Reader:
    """Brings one schema into its normal form."""

    def __init__(self, name: str, root: Schema) -> None:
        self._name = name
        self._root = root
        self._count = 0

    def read(self) -> Schema:
        return self._read(self._root, "$", ())

    def _refuse(self, where: str, why: str) -> NoReturn:
        raise SettingsError(f"{self._name} cannot be used at {where}: {why}")

    def _read(self, node: object, where: str, refs: tuple[str, ...]) -> Schema:
        self._count += 1
        if self._count > _LARGEST:
            self._refuse(where, f"it has more than {_LARGEST} parts with its references put in; use a smaller one")
        if not isinstance(node, dict):
            self._refuse(where, f"{json.dumps(node)} in place of a schema; say its type")
        found = {key: value for key, value in node.items() if key not in _NOTES}
        if unknown := sorted(set(found) - set(_SHAPES) - set().union(*_OWN.values())):
            self._refuse(where, f"{unknown[0]!r} is not supported; see docs/decisions/0008-tools-and-json.md")
        shape = next((key for key in _SHAPES if key in found), None)
        if shape is None:
            self._refuse(where, "it does not say its type")
        described = {"description": node["description"]} if "description" in node else {}
        if shape == "type":
            return self._typed(found, where, refs) | described
        if others := sorted(set(found) - {shape} - ({"type"} if shape in ("enum", "const") else set())):
            self._refuse(where, f"{others[0]!r} beside {shape!r}; move it into what {shape!r} holds")
        if shape == "$ref":
            return self._referred(found["$ref"], where, refs) | described
        if shape in ("anyOf", "oneOf"):
            branches = [self._read(branch, f"{where}.{shape}[{n}]", refs) for n, branch in enumerate(found[shape])]
            return {shape: branches} | described
        return self._listed(shape, found, where) | described

    def _referred(self, ref: str, where: str, refs: tuple[str, ...]) -> Schema:
        if not ref.startswith("#"):
            self._refuse(where, f"it refers to {_short(ref)}, and nothing is fetched; put that under $defs")
        if ref in refs:
            self._refuse(where, f"{ref} refers to itself; write out as many levels as are needed")
        target: Any = self._root
        for step in ref[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, dict) or step not in target:
                self._refuse(where, f"there is no {ref}")
            target = target[step]
        return self._read(target, where, (*refs, ref))

    def _listed(self, shape: str, found: Schema, where: str) -> Schema:
        values = found["enum"] if shape == "enum" else [found["const"]]
        if not values:
            self._refuse(where, "'enum' is empty")
        for value in values:
            if isinstance(value, dict | list):
                self._refuse(where, f"{shape!r} holds {_short(value)}; only single values are supported")
            if isinstance(value, str):
                self._literal(value, where)
        if "type" in found and validation_error(values, {"items": {"type": found["type"]}}):
            self._refuse(where, f"{shape!r} holds a value that is not of the type {found['type']}")
        return {shape: found[shape]}

    def _literal(self, text: str, where: str) -> None:
        if not _LITERAL.fullmatch(text):
            self._refuse(where, f"{_short(text)} holds a quotation mark, a backslash, a control character or an emoji")

    def _typed(self, found: Schema, where: str, refs: tuple[str, ...]) -> Schema:
        types = found["type"] if isinstance(found["type"], list) else [found["type"]]
        if stray := sorted(set(found) - {"type"} - set().union(*(_OWN[type_] for type_ in types))):
            self._refuse(where, f"{stray[0]!r} does not belong to the type {found['type']}")
        alternatives = []
        for type_ in types:
            own = {key: value for key, value in found.items() if key in _OWN[type_]} | {"type": type_}
            if type_ == "object":
                own = self._object(own, where, refs)
            elif type_ == "array":
                if "items" not in own:
                    self._refuse(where, "a list must say what its 'items' are")
                own |= {"items": self._read(own["items"], f"{where}[]", refs)}
            elif type_ == "string":
                self._string(own, where)
            self._bounds(own, where)
            alternatives.append(own)
        return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}

    def _object(self, own: Schema, where: str, refs: tuple[str, ...]) -> Schema:
        if "properties" not in own or own.get("additionalProperties", False) is not False:
            self._refuse(where, "an object must name its 'properties', and can have no others")
        for key in own["properties"]:
            if not key:
                self._refuse(where, "a property has no name")
            self._literal(key, where)
        required = own.get("required", [])
        if missing := sorted(set(required) - set(own["properties"])):
            self._refuse(where, f"{missing[0]!r} is required and not among the properties")
        properties = {key: self._read(value, f"{where}.{key}", refs) for key, value in own["properties"].items()}
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def _string(self, own: Schema, where: str) -> None:
        if len({"pattern", "format"} & set(own)) + bool({"minLength", "maxLength"} & set(own)) > 1:
            self._refuse(where, "only one of 'pattern', 'format' and a length can be kept to")
        if own.get("format", _FORMATS[0]) not in _FORMATS:
            self._refuse(where, f"format {own['format']!r} is not supported, only {', '.join(_FORMATS)}")
        if "pattern" in own and not _simple(own["pattern"]):
            self._refuse(
                where,
                f"pattern {_short(own['pattern'])}; it must be ^...$ of letters, digits, [a-z], (a|b), ?, *, + and "
                "{1,99}, without backslashes and dots",
            )

    def _bounds(self, own: Schema, where: str) -> None:
        for least, most in (("minLength", "maxLength"), ("minItems", "maxItems")):
            if max(own.get(least, 0), own.get(most, 0)) > LONGEST:
                self._refuse(where, f"it counts to more than {LONGEST}; leave the limit out, or lower it")
            if own.get(least, 0) > own.get(most, math.inf):
                self._refuse(where, f"{least!r} is more than {most!r}")


def _simple(pattern: str) -> bool:
    """Whether the converter and Python read the pattern the same; a bare ``|`` would break the grammar."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    outside = re.sub(r"\[[^\]]*\]", "", pattern)
    while (inner := re.sub(r"\([^()]*\)", "", outside)) != outside:
        outside = inner
    return bool(_PATTERN.fullmatch(pattern)) and "|" not in outside and not _UNLIKE.search(pattern)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=repr)
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def validation_error(data: Any, schema: Mapping[str, Any]) -> str:
    """Where and why the data do not fit a schema in its normal form, in one line; empty when they do."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    error = best_match(validator.iter_errors(data))
    return f"{error.json_path}: {_short(error.message)}" if error else ""


def read_json(text: str, schema: Mapping[str, Any], *, finished: bool = True) -> Any:
    """What the model wrote, parsed and validated. ``finished``: the model ended its answer by itself.

    Raises :class:`ModelError` when it was cut off, is no JSON, or does not fit the schema.
    """
    try:
        # Not strict: the converter's grammar lets a line break stand in a string as it is.
        data = json.loads(clean(text), strict=False, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError) as error:
        if not finished:
            raise ModelError(
                f"the JSON was cut off by the token limit after {len(text)} characters: raise --max-answer-tokens"
            ) from error
        raise ModelError(
            f"the model wrote no JSON ({_short(text)!r}): ask another way, or take another model"
        ) from error
    data = _cleaned(data)
    if wrong := validation_error(data, schema):
        raise ModelError(f"the model's JSON does not fit the schema at {wrong}: loosen it there, or ask another way")
    return data


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _no_number(digits)


def _whole(digits: str) -> int:
    _finite(digits)
    return int(digits)


def _cleaned(data: Any) -> Any:
    """The same without lone surrogates, which escapes can make and UTF-8 cannot write."""
    if isinstance(data, str):
        return clean(data)
    if isinstance(data, list):
        return [_cleaned(item) for item in data]
    return {clean(key): _cleaned(value) for key, value in data.items()} if isinstance(data, dict) else data


def outline(schema: Mapping[str, Any], indent: str = "") -> str:
    """The schema as a model reads it best: the shape of the JSON, types in place of values, descriptions behind."""
    for shape in ("anyOf", "oneOf"):
        if shape in schema:
            return " | ".join(outline(branch, indent) for branch in schema[shape])
    if "enum" in schema or "const" in schema:
        values: Sequence[Any] = schema.get("enum", [schema.get("const")])
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in values)
    if schema["type"] == "array":
        return f"[{outline(schema['items'], indent)}, ...]"
    if schema["type"] != "object":
        return str(schema.get("format", schema["type"]))
    deeper = indent + "  "
    lines = []
    for key, value in schema["properties"].items():
        optional = "" if key in schema["required"] else "?"
        note = " ".join(value.get("description", "").split())
        shown = f"{deeper}{json.dumps(key, ensure_ascii=False)}{optional}: {outline(value, deeper)}"
        lines.append(f"{shown}  // {note}" if note else shown)
    return "\n".join(["{", *lines, f"{indent}}}"]) if lines else "{}"
