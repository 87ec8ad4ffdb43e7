"""The comment line of an xyz frame: what it says of name, charge and multiplicity.

Programs and people write them in many ways: ``key=value`` (extended xyz), ``charge: -1``,
``q=-1``, ``-1 1``, ``charge/mult = -1 1``, ``spin=2``.  What is understood is taken; two
statements that disagree, or a charge that is no integer, are an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hpcml.errors import InputError
from hpcml.molecules.records import printable, shown

_PAIR = re.compile(
    r"""([A-Za-z_][\w\-]*)["']?\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'"""
    r"""|(\{[^}]*\}|[^\s"']+?(?=[,;|]\s*[A-Za-z_][\w\-]*\s*[=:]|[,;|]?(?:[\s"']|$))))[,;|]?"""
)
_ESCAPED = re.compile(r"\\(.)")
_SIGNED = r"[+-]?\d{1,9}(?:\.0*)?|\d{1,9}[+-]"
_BOTH = re.compile(
    rf"\b(?:charge|chrg|chg|q)\s*(?:[/,&]|\band\b|\s)\s*(?:spin[\s_-]*)?mult\w*\s*[:=]?\s*"
    rf"\(?({_SIGNED})[\s,/;]+({_SIGNED})\)?(?!\S)",
    re.IGNORECASE,
)
_CHARGE_NAMES = (
    *("charge", "total_charge", "net_charge", "molecular_charge", "formal_charge"),
    *("mol_charge", "molecule_charge", "system_charge", "chrg", "chg", "q"),
)
_MULTIPLICITY_NAMES = "multiplicity", "spin_multiplicity", "mult", "spinmult"
_UNPAIRED_NAMES = "unpaired", "unpaired_electrons", "uhf", "nunpaired"
_SPIN_NAMES = ("spin",)
_STATE_NAMES = {*_CHARGE_NAMES, *_MULTIPLICITY_NAMES, *_UNPAIRED_NAMES, *_SPIN_NAMES}
_WORD = re.compile(
    r"""(?<![\w.=-])["']?(?:(?:total|net|molecular|formal|spin|number\ of)[\s_-]+)?"""
    r"""(charge|chrg|chg|q(?=["']?\s*:)|multiplicity|mult|spinmult|spin"""
    r"""|uhf|unpaired(?:[\s_]electrons)?)"""
    rf"""(?![\w-])["']?(?:\s*:\s*["']?([^\s,;"'}})\]]+)["']?|\s+({_SIGNED})(?![\w./]))[,;|]?""",
    re.IGNORECASE,
)
_TWO_NUMBERS = re.compile(r"\s*[(\[]?([+-]?\d{1,3}|\d[+-])[\s,;/]+(\d{1,2})[)\]]?\s*$", re.ASCII)
_ONE_SIGNED = re.compile(r"\s*([+-]\d{1,3}|\d[+-])\s*$", re.ASCII)
_NUMBERS_FIRST = re.compile(r"\s*([+-]\d{1,2}|0)[\s,/]+(\d{1,2})[\s,:]+([^\d\s].*)$", re.ASCII)
_NUMBERS_LAST = re.compile(r"(.*[^\d\s].*)\s([+-]\d{1,2})\s+(\d{1,2})\s*$", re.ASCII)
_SPIN_WORDS = {"singlet": 1, "doublet": 2, "triplet": 3, "quartet": 4, "quintet": 5, "sextet": 6}
_ION = re.compile(r"\b\w*(?:an|cat)ion\b", re.IGNORECASE)
_BOHR = re.compile(r"\bbohrs?\b|\batomic units\b|\ba\.u\.", re.IGNORECASE)
_BOHR_UNIT = re.compile(r"\bau\b|\batomic\b", re.IGNORECASE)
_QM9 = re.compile(r"gdb\s+(\d{1,6})((?:\s+\S+){15})\s*$")


@dataclass
class Comment:
    """What a comment line says.

    keys           the ``key=value`` pairs, keys in lower case, quotes taken off
    name           what is left for a name
    charge         None where none is said
    multiplicities of 2S + 1, each said once
    spins          numbers of which one does not know whether 2S or 2S + 1 is meant
    guesses        a charge and a multiplicity that may be meant, where they fit the electrons
    doubtful       whether charge and multiplicity are two bare numbers, such as ``1 2``
    doubts         what stands there and is not followed
    qm9            whether it is the second line of one of QM9's own files
    """

    keys: dict[str, str]
    name: str = ""
    charge: int | None = None
    multiplicities: set[int] = field(default_factory=set)
    spins: set[int] = field(default_factory=set)
    guesses: tuple[int, int, str] | None = None
    doubtful: bool = False
    doubts: list[str] = field(default_factory=list)
    qm9: bool = False

    def multiplicity(self, electrons: int) -> int | None:
        """The multiplicity that is said, None if none; InputError where two are.

        A number under ``spin`` is 2S + 1 (as in OMol25) or 2S (as in PySCF): only one of them
        fits the number of electrons.
        """
        said = self.multiplicities | {
            spin if (spin + electrons) % 2 else spin + 1 for spin in self.spins
        }
        if len(said) > 1:
            raise InputError(f"multiplicity is given as {' and as '.join(map(str, sorted(said)))}")
        return next(iter(said), None)


def read_comment(text: str) -> Comment:
    """What a comment line says; InputError for statements that are wrong or disagree."""
    text = text.replace("\N{MINUS SIGN}", "-").replace("\N{EN DASH}", "-")
    if qm9 := _QM9.match(text):
        return Comment({}, f"gdb_{qm9[1]}", charge=0, qm9=True)
    if bare := _bare_numbers(text):
        return bare
    statements: list[tuple[str, str]] = []
    rest = text
    if both := _BOTH.search(rest):
        statements += [("charge", both[1]), ("multiplicity", both[2])]
        rest = _cut(rest, both)
    keys: dict[str, str] = {}
    between = [0]
    for pair in _PAIR.finditer(rest):
        key, double, single, plain = pair.groups()
        quoted = double or single
        keys[key.lower()] = _ESCAPED.sub(r"\1", quoted) if quoted else plain or ""
        between += pair.span()
    cuts = iter([*between, len(rest)])
    pieces = [rest[start:end] for start, end in zip(cuts, cuts, strict=True)]
    leading, others = pieces[0], " ".join(pieces)
    statements += [(word[1], word[2] or word[3]) for word in _WORD.finditer(others)]
    said = [(key, value) for key, value in keys.items() if _plain(key) in _STATE_NAMES]
    statements += said
    name = leading if len(said) < len(keys) else others
    comment = Comment(keys, keys["name"] if "name" in keys else _without_statements(name))
    for key, value in statements:
        _take(comment, _plain(key), value)
    if not statements:
        _guess(comment)
    if comment.charge is None and (ion := _ION.search(others)):
        comment.doubts.append(f"no charge said, but {shown(ion[0])}: read as neutral")
    units = " ".join(value for key, value in keys.items() if "unit" in key and "energy" not in key)
    if bohr := _BOHR.search(others) or _BOHR.search(units) or _BOHR_UNIT.search(units):
        comment.doubts.append(f"says {shown(bohr[0])}: coordinates are read in angstrom")
    return comment


def _plain(key: str) -> str:
    return key.lower().replace("-", "_").replace(" ", "_")


def _cut(text: str, found: re.Match[str]) -> str:
    return f"{text[: found.start()]} {text[found.end() :]}"


def _without_statements(text: str) -> str:
    left = re.sub(r"\(\s*\)|\[\s*\]", " ", _WORD.sub(" ", text))
    return printable(left).strip(" ,;:|{}#").removesuffix(" -")


def _bare_numbers(text: str) -> Comment | None:
    """A comment of nothing but a charge, or a charge and a multiplicity."""
    if two := _TWO_NUMBERS.match(text):
        charge = _integer("charge", two[1])
        return Comment(
            {}, charge=charge, multiplicities={int(two[2])}, doubtful=charge > 0 and "+" not in text
        )
    if one := _ONE_SIGNED.match(text):
        return Comment({}, charge=_integer("charge", one[1]))
    return None


def _guess(comment: Comment) -> None:
    """``0 1 water`` and ``hydroxide -1 1``, which may be a name as well."""
    if first := _NUMBERS_FIRST.match(comment.name):
        comment.guesses = int(first[1]), int(first[2]), first[3].strip()
    elif last := _NUMBERS_LAST.match(comment.name):
        comment.guesses = int(last[2]), int(last[3]), last[1].strip()


def _take(comment: Comment, key: str, value: str) -> None:
    if key in _CHARGE_NAMES:
        charge = 0 if value.lower() == "neutral" else _integer(key, value)
        if comment.charge not in (None, charge):
            raise InputError(f"charge is given as {comment.charge} and as {charge}")
        comment.charge = charge
    elif key in _MULTIPLICITY_NAMES:
        comment.multiplicities.add(_SPIN_WORDS.get(value.lower()) or _integer(key, value))
    elif key in _UNPAIRED_NAMES:
        comment.multiplicities.add(1 + _integer(key, value))
    elif value.lower() in _SPIN_WORDS:
        comment.multiplicities.add(_SPIN_WORDS[value.lower()])
    else:
        comment.spins.add(_integer(key, value))


def _integer(name: str, value: str) -> int:
    """An integer such as -1, +1, 1.0, or 2-, which chemists write."""
    if not re.fullmatch(_SIGNED, value, re.ASCII):
        raise InputError(f"{name}: expected an integer, found {shown(value)}")
    if value[-1] in "+-":
        return int(value[-1] + value[:-1])
    return int(value.split(".", maxsplit=1)[0])
