"""What each setting is for, read from where the settings are declared.

A struct of settings says in its docstring what its fields are, in a table of two columns::

    epochs           how often the network is validated
    ranks, threads   processes, and threads of each

``described`` puts that together with each field's type, bounds and default, for whatever tells
of settings: the reference in docs/ and a campaign file with comments in it.  A field without a
line, or a line without a field, is an error, so that neither can go stale.
"""

from __future__ import annotations

import inspect as python_inspect
import re
from typing import Any

import msgspec
import tomli_w
from msgspec import inspect

_ROW = re.compile(r"(\w+(?:, \w+)*)(?: {2,}(\S.*)|)$")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a struct of settings.

    name       its key in the TOML file
    kind       what may stand there, in words: ``whole number, at least 1``
    default    what it is where it is not given, as TOML writes it; None: it is left out then
    required   whether it must be given
    text       what it is for, one line
    tables     structs that may stand there as tables
    """

    name: str
    kind: str
    default: str | None
    required: bool
    text: str
    tables: tuple[type[msgspec.Struct], ...] = ()


def described(struct: type[msgspec.Struct]) -> list[Setting]:
    """The fields of a struct, each with what its docstring says of it.

    Raises LookupError for a field that has no line in the table of the docstring, or a line whose
    name is no field's.
    """
    texts = _texts(struct)
    information = inspect.type_info(struct)
    assert isinstance(information, inspect.StructType)
    settings = []
    for field in information.fields:
        if field.name not in texts:
            raise LookupError(f"{struct.__name__}: its docstring has no line for {field.name!r}")
        default = None if field.default is msgspec.NODEFAULT else field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        settings.append(
            Setting(
                name=field.name,
                kind=words(field.type),
                default=in_toml(default),
                required=field.required,
                text=" ".join(texts[field.name].split()),
                tables=tuple(dict.fromkeys(_structs(field.type))),
            )
        )
    return settings


def summary(struct: type[msgspec.Struct]) -> str:
    """What a struct's docstring says before and after its table, in paragraphs."""
    names = {field.name for field in msgspec.structs.fields(struct)}
    kept: list[str] = []
    in_row = False
    for line in python_inspect.cleandoc(struct.__doc__ or "").splitlines():
        in_row = (line.startswith(" ") and in_row) or _names(line, names) is not None
        if not in_row:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def in_toml(value: Any) -> str | None:
    """A value as TOML writes it; None for what TOML has no word for, and for empty tables."""
    plain = None if value is msgspec.UNSET else msgspec.to_builtins(value)
    if plain is None or isinstance(plain, dict):
        return None
    return _number(tomli_w.dumps({"x": plain}, multiline_strings=False).removeprefix("x = "))


def words(kind: inspect.Type) -> str:
    """What may stand in a TOML file for a type: ``"adam" or "adamw"``, ``number, above 0``."""
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(f'"{value}"' for value in kind.values)
    if isinstance(kind, inspect.UnionType):
        parts = [words(one) for one in kind.types if not _is_nothing(one)]
        return ", or ".join(dict.fromkeys(parts))
    if isinstance(kind, inspect.StructType):
        return f"table ({kind.cls.__name__})"
    return _words_of_several(kind) or _words_of_one(kind)


def _words_of_several(kind: inspect.Type) -> str:
    """A list or a table of names; empty for what is neither."""
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        return f"list of: {words(kind.item_type)}"
    if isinstance(kind, inspect.TupleType):
        return f"list of {len(kind.item_types)}: {words(kind.item_types[0])}"
    if isinstance(kind, inspect.DictType):
        value = "" if isinstance(kind.value_type, inspect.AnyType) else words(kind.value_type)
        return f"table of names{' to: ' + value if value else ''}"
    return ""


def _words_of_one(kind: inspect.Type) -> str:
    plain = {inspect.BoolType: "true or false", inspect.IntType: "whole number"}
    plain |= {inspect.FloatType: "number", inspect.StrType: "text"}
    return ", ".join([plain.get(type(kind), "anything"), *_bounds(kind)])


def _bounds(kind: inspect.Type) -> list[str]:
    signs = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    found = [(word, getattr(kind, sign, None)) for sign, word in signs.items()]
    return [f"{word} {bound:g}" for word, bound in found if bound is not None]


def _structs(kind: inspect.Type) -> list[type[msgspec.Struct]]:
    """All structs that a type speaks of, without those within them."""
    if isinstance(kind, inspect.StructType):
        return [kind.cls]
    inner: list[inspect.Type] = []
    for name in ("types", "item_types"):
        inner += getattr(kind, name, ())
    for name in ("item_type", "value_type"):
        inner += [each] if (each := getattr(kind, name, None)) is not None else []
    return [struct for each in inner for struct in _structs(each)]


def _is_nothing(kind: inspect.Type) -> bool:
    """None, or a field left out: TOML has a word for neither."""
    name = type(kind).__name__
    return isinstance(kind, inspect.NoneType) or "Unset" in name


def _number(text: str) -> str:
    """``[75, 302]`` on one line, as people write it."""
    return re.sub(r",?\s*\]", "]", re.sub(r"\[\s+", "[", re.sub(r"\n\s*", " ", text.strip())))


def _names(line: str, fields: set[str]) -> list[str] | None:
    """The names in a table's first column, where a line is one of its rows and no prose."""
    row = _ROW.match(line)
    if row is None:
        return None
    names = row[1].split(", ")
    return names if row[2] or fields.issuperset(names) else None


def _texts(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Field -> its line, from the docstrings of a struct and of those it is made from."""
    texts: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        if not (issubclass(base, msgspec.Struct) and base is not msgspec.Struct):
            continue
        fields = {field.name for field in msgspec.structs.fields(base)}
        current: list[str] = []
        for line in python_inspect.cleandoc(base.__doc__ or "").splitlines():
            names = _names(line, fields)
            if names is not None:
                if unknown := set(names) - fields:
                    raise LookupError(f"{base.__name__}: no field {min(unknown)!r}: {line!r}")
                current = names
                text = _ROW.match(line)
                texts |= dict.fromkeys(names, (text[2] or "") if text else "")
            elif line.startswith(" "):
                texts |= {name: f"{texts[name]} {line.strip()}".strip() for name in current}
            else:
                current = []
    return texts
