"""JSON answers: which schemas can be used, what the model wrote, and what of it stands in the passages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_cpp.llama_grammar import json_schema_to_gbnf
from prompts_support import HOSTILE

from prompts.tool_wording import load_tool_wording
from prompts.types import Prompt
from prompts.wording import load_wording
from rag.candidates import Arrangement
from rag.context import Instruction, build_context
from rag.errors import ModelError, SettingsError
from rag.grounding import Grounding
from rag.llama import LlamaModel
from rag.lookup import EvenedText
from rag.model import ScriptedModel
from rag.models import find_model
from rag.packing import Candidate
from rag.schemas import check_schema, load_schema, outline, read_json, validation_error
from rag.structured import NOTHING_FOUND, check_answer_schema, cite_leaves
from rag.types import Conversation, Passage, Sampling
from rag.verifier import LexicalVerifier

TEXT = {"type": "string"}
CREW = {
    "type": "object",
    "properties": {
        "engineer": {"type": ["string", "null"], "description": "full name of the chief engineer"},
        "joined": {"$ref": "#/$defs/year"},
        "boats": {
            "type": "array",
            "maxItems": 4,
            "items": {
                "type": "object",
                "properties": {
                    "name": TEXT,
                    "passengers": {"type": "integer"},
                    "kind": {"enum": ["ferry", "tug"]},
                    "active": {"type": "boolean"},
                },
                "required": ["name", "passengers"],
            },
        },
    },
    "required": ["engineer", "joined"],
    "$defs": {"year": {"type": ["integer", "null"], "minimum": 1900}},
}
QUESTION = "Who is the chief engineer, and how many passengers does the MV Orrin carry?"
GROUNDING = Grounding()


def passage(number: int, text: str, *headings: str) -> Passage:
    return Passage(
        number=number, text=text, source=f"{number}.md", start=100, end=100 + len(text), pages=(), headings=headings,
        score=1.0,
    )  # fmt: skip


PASSAGES = (
    passage(1, "The chief engineer is Marit\n  Solheim. She joined the company in 2004.", "Crew"),
    passage(2, "The MV Orrin carries 1,214 passengers. She was launched in 1987. The lounge has 61 seats.", "Boats"),
    passage(3, "In winter the harbour is at −5.5 °C. Twelve buoys, type HM-7, mark the way."),
)


@pytest.fixture(scope="module")
def verifier() -> LexicalVerifier:
    return LexicalVerifier()


# --- which schemas can be used


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (3, "must be an object"),
        ({}, "does not say its type"),
        ({"type": "strin"}, "no JSON schema"),
        ({"type": "object"}, "must name its 'properties'"),
        ({"type": "object", "properties": {}, "additionalProperties": TEXT}, "can have no others"),
        ({"type": "object", "properties": {"": TEXT}}, "has no name"),
        ({"type": "object", "properties": {"a": True}}, r"\$\.a: true in place of a schema"),
        ({"type": "object", "properties": {"a": TEXT}, "required": ["b"]}, "'b' is required"),
        ({"type": "array"}, "what its 'items' are"),
        ({"type": "string", "minimum": 3}, "'minimum' does not belong"),
        ({"type": "string", "requried": 3}, "'requried' is not supported"),
        ({"allOf": [TEXT]}, "'allOf' is not supported"),
        ({"anyOf": [TEXT], "type": "string"}, "'type' beside 'anyOf'"),
        ({"$ref": "https://example.org/a.json"}, "nothing is fetched"),
        ({"$ref": "other.json#/a"}, "nothing is fetched"),
        ({"$ref": "#/$defs/none"}, "there is no"),
        ({"type": "array", "items": {"$ref": "#"}}, "refers to itself"),
        ({"enum": []}, "empty"),
        ({"enum": [["a"]]}, "only single values"),
        ({"enum": ['say "no"']}, "quotation mark"),
        ({"const": "\U0001f600"}, "emoji"),
        ({"type": "string", "enum": [1]}, "not of the type"),
        ({"type": "string", "maxLength": 2000}, "counts to more than 1000"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "is more than"),
        ({"type": "string", "format": "email"}, "format 'email' is not supported"),
        ({"type": "string", "format": "date", "minLength": 3}, "only one of"),
        ({"type": "string", "pattern": "[a-z]"}, "pattern"),
        ({"type": "string", "pattern": r"^\d$"}, "pattern"),
        ({"type": "string", "pattern": "^a|b$"}, "pattern"),
        ({"type": "string", "pattern": "^a+?$"}, "pattern"),
        ({"type": "string", "pattern": "^(|a)$"}, "pattern"),
        ({"type": {"a"}}, "plain values"),
    ],
)
def test_schemas_that_cannot_be_used_are_refused_in_one_line(schema: object, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        check_schema(schema)
    assert "\n" not in str(caught.value)


def test_a_schema_that_explodes_is_refused() -> None:
    levels = {f"l{n}": {"type": "array", "items": {"anyOf": [{"$ref": f"#/$defs/l{n + 1}"}] * 4}} for n in range(20)}
    with pytest.raises(SettingsError, match="more than 500 parts"):
        check_schema({"$ref": "#/$defs/l0", "$defs": levels | {"l20": TEXT}})


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    normal = check_schema(CREW | {"$schema": "https://example.org/own-dialect", "$id": "https://example.org/crew"})
    assert "example.org" not in json.dumps(normal)
    assert validation_error({"engineer": None, "joined": None}, normal) == ""


def test_the_normal_form_says_the_same() -> None:
    normal = check_schema(CREW)
    for data, fits in [
        ({"engineer": None, "joined": 2004}, True),
        ({"engineer": "M", "joined": None, "boats": [{"name": "a", "passengers": 1, "kind": "tug"}]}, True),
        ({"engineer": "M", "joined": 1850}, False),
        ({"engineer": "M"}, False),
        ({"engineer": "M", "joined": None, "more": 1}, False),
        ({"engineer": "M", "joined": None, "boats": [{"name": "a", "passengers": 1.5}]}, False),
    ]:
        assert (validation_error(data, normal) == "") is fits, data


def test_the_outline_shows_names_types_choices_and_descriptions() -> None:
    shape = outline(check_schema(CREW))
    assert '"engineer": string | null  // full name of the chief engineer' in shape
    assert '"kind"?: "ferry" | "tug"' in shape
    assert '"boats"?: [{' in shape
    assert len(shape) < len(json.dumps(CREW)) / 1.5


PATTERNS = ("^[A-Z]{2}-[0-9]{2,4}$", "^(ab|cd)+ x?$", "^HM/[0-9]$", "^[a-z-]{0,9}(@[a-z]+)?$")
SCALARS = st.one_of(
    st.sampled_from(["string", "number", "integer", "boolean", "null"]).map(lambda name: {"type": name}),
    st.fixed_dictionaries({"type": st.just("string"), "maxLength": st.integers(1, 1000)}),
    st.fixed_dictionaries({"type": st.just("string"), "minLength": st.integers(1, 500)}),
    st.sampled_from(["date", "time", "date-time", "uuid"]).map(lambda name: {"type": "string", "format": name}),
    st.sampled_from(PATTERNS).map(lambda pattern: {"type": "string", "pattern": pattern}),
    st.lists(st.text("aé <[|]>#-\u2028'", max_size=4) | st.integers() | st.booleans(), min_size=1, max_size=3).map(
        lambda values: {"enum": values}
    ),
)
NAMES = st.sampled_from(
    ["root", "space", "string", "char", "value", "item", "a", "a-kv", "a b", "é", "date", "part", "decimal", "[1]", "-"]
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.dictionaries(NAMES, inner, max_size=4).flatmap(
            lambda named: st.fixed_dictionaries(
                {
                    "type": st.just("object"),
                    "properties": st.just(named),
                    "required": st.sets(st.sampled_from(sorted(named))).map(sorted) if named else st.just([]),
                }
            )
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner, "maxItems": st.integers(1, 100)}),
        st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
    )


@pytest.fixture(scope="module")
def vocabulary() -> Any:
    llama = llama_cpp.Llama(str(find_model("")), vocab_only=True, verbose=False)
    yield llama_cpp.llama_model_get_vocab(llama._model.model)
    llama.close()


@settings(max_examples=300, deadline=None)
@given(st.recursive(SCALARS, nested, max_leaves=8))
def test_llama_cpp_takes_every_schema_that_is_accepted(vocabulary: Any, schema: dict[str, Any]) -> None:
    grammar = json_schema_to_gbnf(json.dumps(check_schema(schema)))
    sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, grammar.encode(), b"root")
    assert sampler
    llama_cpp.llama_sampler_free(sampler)


@pytest.mark.parametrize(
    ("written", "said"), [(None, "cannot be read"), ("{", "is no JSON"), ("[1]", "must be an object")]
)
def test_a_schema_file_that_cannot_be_used(written: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    if written is not None:
        path.write_text(written, encoding="utf-8")
    with pytest.raises(SettingsError, match=said):
        load_schema(path)


def test_a_schema_file(tmp_path: Path) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(CREW), encoding="utf-8")
    assert load_schema(path) == check_schema(CREW)


def test_a_schema_without_anything_to_quote_is_no_answers_schema() -> None:
    only = {"type": "object", "properties": {"open": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}}}
    assert check_schema(only)
    with pytest.raises(SettingsError, match="no text and no number"):
        check_answer_schema(only)


# --- what the model wrote


def test_reading_json() -> None:
    schema = check_schema(CREW)
    data = read_json(' {"engineer": "A\nB\\ud800", "joined": null}\n', schema)
    assert data == {"engineer": "A\nB\ufffd", "joined": None}
    with pytest.raises(ModelError, match=r"cut off .*raise --max-answer-tokens"):
        read_json('{"engineer": "Ma', schema, finished=False)
    with pytest.raises(ModelError, match="wrote no JSON"):
        read_json("I cannot", schema)
    with pytest.raises(ModelError, match=r"does not fit the schema at \$\.joined"):
        read_json('{"engineer": null, "joined": 1066}', schema)
    with pytest.raises(ModelError, match="2024-02-31"):
        read_json('"2024-02-31"', check_schema({"type": "string", "format": "date"}))


@pytest.mark.parametrize("text", ["1e999", "NaN", "-Infinity", "9" * 400, "9" * 5000, "[" * 100_000, "", "\ud800"])
def test_hostile_output_is_a_clear_error(text: str) -> None:
    with pytest.raises(ModelError):
        read_json(text, check_schema({"type": "number"}))


# --- what stands in the passages


@pytest.mark.parametrize(
    ("value", "text", "found"),
    [
        ("marit solheim", "MARIT\n  Solheim.", "MARIT\n  Solheim"),
        ("“Marit’s” boat.", 'It is "Marit\'s" boat', "Marit's\" boat"),
        ("mar", "Marit", None),
        ("Straße 5", "STRASSE 5", "STRASSE 5"),
        ("1200 kg", "up to 1,200 kg.", "1,200 kg"),
        ("1,200 kg", "up to 1\u202f200 kg", "1\u202f200 kg"),
        ("5", "1.5 or 5.2 or 15", None),
        ("...", "...", None),
        ("co-operate", "they co\u2011operate", "co\u2011operate"),
        ("soft", "so\u00adft", "so\u00adft"),
        (14, "14 months", "14"),
        (14, "fourteen months", "fourteen"),
        (1, "one of them", None),
        (14, "14.5 or 2.14 or 1.14.2 or B14 or HM-14", None),
        (1214, "1,214 passengers", "1,214"),
        (1214.0, "1 214; 1214kg", "1214"),
        (5, "3-5 days", "5"),
        (5, "at −5 degrees", None),
        (-5.5, "at −5.5 degrees", "−5.5"),
        (0.1, "0.10 l", "0.10"),
        (1, "1,5 and 1, 2", "1"),
        (214, "214² passengers", "214"),
        (2142, "214² passengers", None),
        ("CO2 of 10 m2", "CO₂ of 10 m²", "CO₂ of 10 m²"),
        (2, "½ tonne or 1½", None),
        (31, "3½ tonnes", None),
        (3, "3½ tonnes", None),
        ("½ tonne", "½ tonne", "½ tonne"),
    ],
)
def test_where_a_value_stands(value: str | float, text: str, found: str | None) -> None:
    spans = list(EvenedText(text).find(value))
    assert [text[start:end] for start, end in spans][:1] == ([found] if found else [])


@settings(max_examples=200, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE)
def test_a_text_finds_itself_and_offsets_hold(before: str, text: str, after: str) -> None:
    whole = f"{before} {text} {after}"
    for start, end in EvenedText(whole).find(text):
        assert EvenedText(whole[start:end]).text.strip()
    if text.strip(" .,;:!?\"'()[]").isalnum():
        assert list(EvenedText(whole).find(text))


def test_every_value_is_cited_and_what_is_invented_goes(verifier: LexicalVerifier) -> None:
    written = {
        "engineer": "marit solheim",
        "joined": 2004,
        "boats": [
            {"name": "MV Orrin", "passengers": 1214, "kind": "ferry", "active": True},
            {"name": "MV Pip", "passengers": 60},
            {"name": "MV Orrin", "passengers": 77},
        ],
    }
    checked = cite_leaves(written, check_schema(CREW), PASSAGES, QUESTION, verifier, GROUNDING)
    assert checked.data == {"engineer": "marit solheim", "joined": 2004, "boats": written["boats"][:1]}  # type: ignore[index]
    assert [citation.quote for citation in checked.citations] == [
        "The chief engineer is Marit\n  Solheim.",
        "She joined the company in 2004.",
        "The MV Orrin carries 1,214 passengers.",
    ]
    for citation in checked.citations:
        source = PASSAGES[citation.number - 1]
        assert source.text[citation.start - source.start : citation.end - source.start] == citation.quote
    assert checked.unsupported == ("$.boats[1].name", "$.boats[1].passengers", "$.boats[2].passengers")
    assert checked.unchecked == ("$.boats[0].kind", "$.boats[0].active")
    assert all(path in checked.why for path in checked.unsupported + checked.unchecked)
    assert not validation_error(checked.data, check_schema(CREW))


def test_what_may_be_null_becomes_null_and_what_may_not_ends_the_answer(verifier: LexicalVerifier) -> None:
    loose = check_schema(CREW)
    checked = cite_leaves({"engineer": "Marit Solheim", "joined": 1999}, loose, PASSAGES, QUESTION, verifier, GROUNDING)
    assert checked.data == {"engineer": "Marit Solheim", "joined": None}
    strict = check_schema(
        {"type": "object", "properties": {"engineer": TEXT, "joined": {"type": "integer"}}, "required": ["joined"]}
    )
    refused = cite_leaves(
        {"engineer": "Marit Solheim", "joined": 1999}, strict, PASSAGES, QUESTION, verifier, GROUNDING
    )
    assert (refused.data, refused.citations) == (None, ())
    assert "$.joined" in refused.why
    optional = cite_leaves({"engineer": "Bob Tree", "joined": 2004}, strict, PASSAGES, QUESTION, verifier, GROUNDING)
    assert optional.data == {"joined": 2004}


@pytest.mark.parametrize(
    "written",
    [{"engineer": "Bob Tree", "joined": 1999}, {"engineer": None, "joined": None}, {"engineer": "", "joined": None}],
)
def test_an_answer_without_any_value_of_the_passages_is_none(
    written: dict[str, Any], verifier: LexicalVerifier
) -> None:
    checked = cite_leaves(written, check_schema(CREW), PASSAGES, QUESTION, verifier, GROUNDING)
    assert (checked.data, checked.citations, checked.why) == (None, (), NOTHING_FOUND)


def test_a_number_that_stands_somewhere_else_is_not_found(verifier: LexicalVerifier) -> None:
    schema = check_schema({"type": "object", "properties": {"captains": {"type": "integer"}}, "required": ["captains"]})
    assert (
        cite_leaves({"captains": 12}, schema, PASSAGES, "How many captains are there?", verifier, GROUNDING).data
        is None
    )
    found = cite_leaves({"captains": 12}, schema, PASSAGES, "How many buoys mark the way?", verifier, GROUNDING)
    assert found.citations[0].quote == "Twelve buoys, type HM-7, mark the way."


def test_the_occurrence_nearest_to_the_question_is_cited(verifier: LexicalVerifier) -> None:
    texts = ("The lounge has 60 seats.", "The tea costs 60 cents.", "The MV Pip carries 60 passengers.")
    passages = [passage(number, text) for number, text in enumerate(texts, start=1)]
    schema = check_schema({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})
    (citation,) = cite_leaves(
        {"n": 60}, schema, passages, "How many passengers fit on the Pip?", verifier, GROUNDING
    ).citations
    assert citation.number == 3


def test_sentences_are_judged_like_an_answer_in_prose(verifier: LexicalVerifier) -> None:
    schema = check_schema({"type": "object", "properties": {"answer": TEXT}, "required": ["answer"]})
    for said, stands in [
        ("The chief engineer of the company is Marit Solheim.", True),
        ("Dogs must pay the full fare on every boat.", False),
        ("The chief engineer is Marit Solheim. Dogs must pay the full fare on every boat.", False),
    ]:
        checked = cite_leaves({"answer": said}, schema, PASSAGES, "Who is the chief engineer?", verifier, GROUNDING)
        assert (checked.data is not None) is stands, said


# --- with a model


def ask_json(model: Any, question: str, schema: dict[str, Any], max_tokens: int = 200) -> tuple[Prompt, str]:
    shown = load_tool_wording().json(question, outline(schema))
    context = build_context(
        Instruction(question=shown),
        Arrangement(candidates=tuple(Candidate(passage=one, rank=one.number, whole=len(one.text)) for one in PASSAGES)),
        Conversation(),
        format_=model.format,
        wording=load_wording(),
        window=model.context_window,
        reserved=max_tokens,
    )
    return context.prompt, "".join(model.stream(context.prompt, Sampling(max_tokens=max_tokens, schema=schema)))


def test_tags_in_a_schema_are_defused() -> None:
    schema = check_schema({"type": "object", "properties": {"<|im_end|>": {"type": "string", "description": "</s>"}}})
    prompt, _ = ask_json(ScriptedModel(["{}"]), "Who?", schema)
    assert prompt.text.count("<|im_end|>") == 2
    assert "<\\|im_end|>" in prompt.text
    assert "<\\/s>" in prompt.text


@pytest.fixture(scope="module")
def model() -> Any:
    model = LlamaModel(find_model(""), context_window=2048, threads=1)
    yield model
    model.close()


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "properties": {
                "engineer": {"type": ["string", "null"], "maxLength": 40},
                "joined": {"type": ["integer", "null"]},
            },
            "required": ["engineer", "joined"],
        },
        {
            "type": "object",
            "properties": {
                "boats": {
                    "type": "array",
                    "maxItems": 2,
                    "items": {
                        "type": "object",
                        "properties": {"name": {"type": "string", "maxLength": 20}, "kind": {"enum": ["ferry", "tüg"]}},
                        "required": ["name", "kind"],
                    },
                }
            },
            "required": ["boats"],
        },
        {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}, "required": ["day"]},
        {"type": "object", "properties": {"id": {"type": "string", "pattern": PATTERNS[0]}}, "required": ["id"]},
    ],
)
def test_the_packaged_model_keeps_to_the_schema(
    model: LlamaModel, schema: dict[str, Any], verifier: LexicalVerifier
) -> None:
    normal = check_schema(schema)
    _, text = ask_json(model, QUESTION, normal)
    data = read_json(text, normal, finished=model.finished)
    checked = cite_leaves(data, normal, PASSAGES, QUESTION, verifier, GROUNDING)
    assert checked.data is None or not validation_error(checked.data, normal)


def test_an_answer_that_is_cut_off_says_how_to_mend_it(model: LlamaModel) -> None:
    schema = check_schema({"type": "object", "properties": {"a": TEXT, "b": TEXT}, "required": ["a", "b"]})
    _, text = ask_json(model, QUESTION, schema, max_tokens=8)
    with pytest.raises(ModelError, match="raise --max-answer-tokens"):
        read_json(text, schema, finished=model.finished)
