"""A bounded Jinja environment for chat templates, which come with a model file and are not trusted.

Only `prompts.template` imports this, and only when a template is used. The bounds are counts, not
clocks, so the same template gives the same result on every machine: loop rounds and macro calls,
characters printed, and the size of every string or list that an operator, filter or method builds.
"""

import datetime
import json
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.filters import do_indent
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from prompts.errors import TemplateError

MAX_SOURCE = 200_000
MAX_STEPS = 50_000
MAX_TEXT = 500_000
_REMEDY = "choose a built-in format with --prompt-format"
_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs", "translate"})
_FILTERS = frozenset(
    {
        *(
            "abs",
            "capitalize",
            "count",
            "d",
            "default",
            "dictsort",
            "first",
            "float",
            "groupby",
            "int",
            "items",
        ),
        *("last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "round"),
        *("safe", "select", "selectattr", "sort", "string", "sum", "title", "trim", "unique", "upper"),
    }
)


def _bounded(size: int) -> None:
    if size > MAX_TEXT:
        raise TemplateError(f"the chat template builds {size} characters or items, over {MAX_TEXT}; {_REMEDY}")


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(f"the chat template says: {message}")


def _strftime_now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)


def _replace(text: object, old: str, new: str, count: int = -1) -> str:
    shown = str(text)
    _bounded(len(shown) + shown.count(old) * len(new))
    return shown.replace(old, new, count)


def _join(values: Iterable[object], separator: str = "", attribute: str | None = None) -> str:
    if attribute is not None:
        raise TemplateError(f"the chat template joins by attribute; {_REMEDY}")
    texts = [str(value) for value in values]
    _bounded(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def _indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    _bounded(len(text) + (text.count("\n") + 1) * (width if isinstance(width, int) else len(width)))
    return do_indent(text, width, first, blank)


def _tojson(value: object, ensure_ascii: bool = False, indent: int | None = None) -> str:
    _bounded(indent or 0)
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
    _bounded(len(text))
    return text


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}`, which marks answers for training: just its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The statements between the two tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja with the settings of transformers' `apply_chat_template`, and with bounds."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        self._steps = 0
        self._printed = 0
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", _Generation],
            finalize=self._print,
        )
        self.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
        self.filters = {name: function for name, function in self.filters.items() if name in _FILTERS}
        self.filters.update(replace=_replace, join=_join, indent=_indent, tojson=_tojson)

    def compile_bounded(self, source: str) -> jinja2.Template:
        """The template with a counted step at the head of every loop and macro body."""
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"the chat template has {len(source)} characters, over {MAX_SOURCE}; {_REMEDY}")
        tree = self.parse(source)
        bodies = [block.body for block in tree.find_all(nodes.For)]
        bodies += [block.body for block in tree.find_all(nodes.Macro)]
        bodies += [block.body for block in tree.find_all(nodes.CallBlock)]
        for body in bodies:
            body.insert(0, nodes.Output([self._call("step", [])]))
        _rewrite_concats(tree, self._call)
        tree.set_environment(self).set_lineno(1)
        return self.from_string(tree)

    @staticmethod
    def _call(method: str, arguments: list[nodes.Expr]) -> nodes.Call:
        return nodes.Call(nodes.EnvironmentAttribute(method), arguments, [], None, None)

    def render_bounded(self, template: jinja2.Template, variables: dict[str, object]) -> str:
        """Render from fresh counts."""
        self._steps = self._printed = 0
        return template.render(variables)

    def step(self) -> str:
        """Count one round of a loop or one call of a macro; called from the compiled template."""
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise TemplateError(f"the chat template runs more than {MAX_STEPS} steps; {_REMEDY}")
        return ""

    def concat_bounded(self, *values: object) -> str:
        """Jinja's `~`; called from the compiled template."""
        return _join(values)

    def _print(self, value: object) -> object:
        self._printed += len(value) if isinstance(value, str) else 1
        _bounded(self._printed)
        return value

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Padding methods make a string of any size from a short template; none needs them."""
        return not (isinstance(obj, str) and attr in _PADDING) and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Refuse `str.format`, which Jinja lets through ahead of `is_safe_attribute`."""
        if super().wrap_str_format(value) is not None:
            raise TemplateError(f"the chat template calls str.format; {_REMEDY}")
        return None

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Operators, refused before they build something large."""
        sizes = [len(side) if isinstance(side, str | list | tuple) else None for side in (left, right)]
        if operator == "%" and sizes[0] is not None:
            raise TemplateError(f"the chat template formats text with %; {_REMEDY}")
        if operator == "+" and None not in sizes:
            _bounded(len(left) + len(right))
        elif operator == "*" and sizes != [None, None]:
            _bounded((sizes[0] or int(left)) * (sizes[1] or int(right)))
        elif operator in ("*", "**"):
            _bounded(max(abs(left), abs(right)))
            if operator == "**":
                _bounded(abs(right) * 1000)
        return super().call_binop(context, operator, left, right)

    # Jinja's own signature keeps these names free for keyword arguments of the called function.
    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Calls; the methods of text that can multiply it go through the bounded filters."""
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            return _replace(owner, *args)
        if isinstance(owner, str) and name == "join":
            return _join(args[0], owner)
        return super().call(__context, __obj, *args, **kwargs)


def _rewrite_concats(node: nodes.Node, call: Callable[[str, list[nodes.Expr]], nodes.Call]) -> None:
    """Replace every `a ~ b` below `node`, innermost first, by a call that knows the bound."""
    for field, value in node.iter_fields():
        children = value if isinstance(value, list) else [value]
        for position, child in enumerate(children):
            if not isinstance(child, nodes.Node):
                continue
            _rewrite_concats(child, call)
            if not isinstance(child, nodes.Concat):
                continue
            bounded = call("concat_bounded", child.nodes)
            if isinstance(value, list):
                value[position] = bounded
            else:
                setattr(node, field, bounded)
