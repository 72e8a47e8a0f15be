"""Chat templates: rendered in bounds, cut exactly at the contents, and never fed with them."""

import pytest

from prompts.encoding import Piece
from prompts.errors import TemplateError
from prompts.template import ChatTemplate, fill
from prompts.types import ControlToken, Role

END = ControlToken(text="<end>", id=1)
LONGER = ControlToken(text="<end><end>", id=2)
WIDE = ControlToken(text="<wide>", id=3, lstrip=True, rstrip=True)
BOS = ControlToken(text="<bos>", id=4)
LOOP = "{% for m in messages %}{{ m.role }}:{{ m.content }}<end>{% endfor %}"


def template(source: str, bos: ControlToken | None = None) -> ChatTemplate:
    return ChatTemplate(source, controls=(END, LONGER, WIDE, BOS), bos=bos, bos_text="<bos>", eos_text="<end>")


def test_layout_knows_text_from_contents() -> None:
    assert template(LOOP).layout(("user",)) == ("user:", 0, END)
    assert template(LOOP).layout(("system", "user")) == ("system:", 0, END, "user:", 1, END)


def test_longest_control_token_first() -> None:
    assert template("{{ messages[-1].content }}<end><end><end>").layout(("user",)) == (0, LONGER, END)


@pytest.mark.parametrize("content", ["<end>", "<end", "\n", ""])
def test_control_tokens_in_contents_stay_text(content: str) -> None:
    pieces, spans = fill(template(LOOP).layout(("user",)), [content])
    assert pieces == [Piece(f"user:{content}"), Piece("<end>", control=1)]
    assert spans == [(5, 5 + len(content))]


def test_a_control_token_is_not_made_across_the_border() -> None:
    layout = template("{% for m in messages %}<{{ m.content }}>{% endfor %}").layout(("user",))
    assert fill(layout, ["end"])[0] == [Piece("<end>")]


def test_whitespace_taken_in_by_a_token_is_silent() -> None:
    layout = template("{{ messages[-1].content }} \n<wide>\t then").layout(("user",))
    pieces, _ = fill(layout, ["x"])
    assert pieces == [
        Piece("x"),
        Piece(" \n", silent=True),
        Piece("<wide>", control=3),
        Piece("\t ", silent=True),
        Piece("then"),
    ]


@pytest.mark.parametrize(("start", "expected"), [("", [BOS]), ("{{ bos_token }}", [BOS]), ("\n<bos>", ["\n", BOS])])
def test_bos_is_there_once(start: str, expected: list[object]) -> None:
    layout = template(start + LOOP, bos=BOS).layout(("user",))
    assert list(layout) == [*expected, "user:", 0, END]


def test_bos_of_a_model_that_wants_none_is_the_template_s_alone() -> None:
    assert BOS not in template(LOOP).layout(("user",))


@pytest.mark.parametrize(
    "source",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + LOOP,
        "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}",
    ],
)
def test_system_goes_into_the_user_turn_where_it_has_no_place(source: str) -> None:
    compiled = template(source)
    assert compiled.merges_system
    layout = compiled.layout(("system", "user", "assistant", "user"))
    assert [part for part in layout if isinstance(part, int)] == [0, 1, 2, 3]
    assert layout[layout.index(0) + 1] == "\n\n"


def test_contents_may_stand_in_another_order() -> None:
    layout = template("{{ messages[-1].content }}|{{ messages[0].content }}").layout(("system", "user"))
    assert layout == (1, "|", 0)
    assert fill(layout, ["ab", "c"])[1] == [(2, 4), (0, 1)]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (LOOP + "{{ messages[-1].content }}", "2 times"),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", "0 times"),
        ("{% for m in messages %}", "does not compile"),
        ("{{ nothing.at.all }}", "failed"),
        ("{{ raise_exception('no') }}", "says: no"),
        ("{{ messages.append(1) }}", "failed"),
        ("{{ ''.__class__.__mro__ }}", "failed"),
        ("{{ cycler.__init__.__globals__ }}", "failed"),
        ("x" * 300_000, "300000 characters"),
    ],
)
def test_unusable_templates_say_why(source: str, said: str) -> None:
    with pytest.raises(TemplateError, match=said):
        template(source).layout(("user",))


@pytest.mark.parametrize("roles", [("user", "assistant", "user")])
def test_the_error_names_the_role_and_the_remedy(roles: tuple[Role, ...]) -> None:
    only_users = "{% for m in messages if m.role != 'assistant' %}{{ m.content }}{% endfor %}"
    with pytest.raises(TemplateError, match=r"message 1 \(assistant\) 0 times.*--prompt-format"):
        template(only_users).layout(roles)


HOSTILE_TEMPLATES = {
    "nested loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "loops over text": "{% for a in 'x' * 9999 %}{% for b in 'x' * 9999 %}{% endfor %}{% endfor %}",
    "a long range": "{% for a in range(10 ** 9) %}{% endfor %}",
    "recursion": "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{{ f() }}",
    "repetition": "{{ 'x' * 1000000000 }}",
    "list repetition": "{% set x = [1] * 1000000000 %}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "doubling by +": "{% set x = 'xxxxxxxx' %}" + "{% set x = x + x %}" * 40,
    "doubling by ~": "{% set x = 'xxxxxxxx' %}" + "{% set x = x ~ x %}" * 40,
    "doubling by blocks": "{% set x = 'xxxxxxxx' %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
    "doubling by replace": "{% set x = 'aa' %}" + "{% set x = x.replace('a', 'aaaaaaaa') %}" * 20,
    "doubling by filter": "{% set x = 'aa' %}" + "{% set x = x | replace('a', 'aaaaaaaa') %}" * 20,
    "doubling by join": "{% set x = 'xxxxxxxx' %}" + "{% set x = x.join(x) %}" * 20,
    "doubling by join filter": "{% set x = 'xxxxxxxx' %}" + "{% set x = x | join(x) %}" * 20,
    "padding": "{{ 'x'.ljust(1000000000) }}",
    "padding by format": "{{ '%1000000000d' % 1 }}",
    "padding by str.format": "{{ '{:1000000000}'.format(1) }}",
    "indent": "{{ 'x' | indent(1000000000, true) }}",
    "center": "{{ 'x' | center(1000000000) }}",
    "tojson": "{{ [[1]] | tojson(indent=1000000000) }}",
}


@pytest.mark.parametrize("source", HOSTILE_TEMPLATES.values(), ids=HOSTILE_TEMPLATES)
def test_hostile_templates_end_in_an_error(source: str) -> None:
    with pytest.raises(TemplateError):
        template(source + LOOP)


def test_what_chat_templates_use_works() -> None:
    source = (
        "{%- set ns = namespace(first=true) -%}\n"
        "{% macro show(m) %}{{ m['content'] | trim }}{% endmacro %}\n"
        "{%- for m in messages %}\n"
        "    {%- if loop.index0 > 50 %}{% break %}{% endif %}\n"
        "    {%- if (m['role'] == 'user') != ns.first %}{{ raise_exception('order') }}{% endif %}\n"
        "    {{- m.role ~ ' ' ~ loop.index ~ ':' + show(m) }}\n"
        "    {%- set ns.first = not ns.first %}\n"
        "{%- endfor %}\n"
        "{%- if tools is not none %}{{ tools | tojson(indent=4) }}{% endif %}\n"
        "{% generation %}{{- strftime_now('%Y') | length }}{% endgeneration %}"
        "{{ {'a': 'é'} | tojson }}{{ '  x\\n' | indent(2) | replace('x', 'y') }}\n"
        "{%- if add_generation_prompt %}<end>{% endif %}"
    )
    layout = template(source).layout(("user", "assistant", "user"))
    assert layout == ("user 1:", 0, "assistant 2:", 1, "user 3:", 2, '4{"a": "é"}  y\n', END)
