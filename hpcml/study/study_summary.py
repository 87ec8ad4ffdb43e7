"""summary.md: a study's answers on one page, from the lines of its tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hpcml.study.cells import NETWORK, SHUFFLED, UNTRAINED
from hpcml.study.study_tables import Line, Lines, grouped, headline, largest

_OWN_TERMS = "atomic_terms"
_SIGNIFICANT = 0.05
_NONE = "-"


def summary(name: str, tables: dict[str, Lines]) -> str:
    """Markdown: errors and scores, transfer, taught shares, the claim; networks of the largest
    training sets, mean ± standard deviation over seeds, scores by rank with elements removed."""
    seeds = tables["seeds"]
    parts = [f"# Study {name}", _intro(seeds)]
    for target, lines in _by(seeds, "target").items():
        unit = lines[0]["unit"]
        parts += [f"## {target}", f"Unit of the MAE: {unit}" if unit else ""]
        parts += [_at_home(lines), _transfer(lines)]
        controls = [one for one in tables["controls"] if one["target"] == target]
        parts += [_values(controls, lines)]
        parts += [_taught([one for one in tables["causal"] if one["target"] == target])]
    parts += ["## The claim", _claim(tables["claim"], headline(tables["grid"]))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _intro(seeds: Lines) -> str:
    most = max(one["seeds"] for one in seeds)
    return (
        f"Networks of the largest training sets, {most} seeds at most; mean ± standard deviation "
        "over seeds. Scores: rank correlation of relevance and share within molecules, elements "
        "removed. The tables beside this file hold every size, set, attribution and interval."
    )


# ------------------------------------------------------------------------------- lines, cells


def _by(lines: Iterable[Line], column: str) -> dict[str, Lines]:
    return {str(key[0]): same for key, same in grouped(lines, (column,)).items()}


def _some(lines: Lines, **wanted: object) -> Lines:
    return [one for one in lines if all(one[key] == value for key, value in wanted.items())]


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:#.3g}".rstrip(".")


def _with_spread(line: Line | None, column: str) -> str:
    if line is None or line[f"{column}_mean"] is None:
        return _NONE
    mean, spread = line[f"{column}_mean"], line[f"{column}_sd"]
    digits = {"rank": 2, "r2": 3}.get(column)
    if digits is None:
        return _number(mean) + (f" ± {spread:.2g}" if spread is not None else "")
    return f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if spread is not None else "")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ------------------------------------------------------------------------------- tables


def _at_home(lines: Lines) -> str:
    """Each network on molecules like its training molecules."""
    split = lines[0]["split"]
    home = largest(_some(lines, split=split, share_weight=0.0, role="in"), ("network", "kind"))
    sets = list(dict.fromkeys(one["set"] for one in home))
    home = _some(home, set="test" if "test" in sets else sets[0])
    chosen = headline(lines)
    rows = []
    for network, mine in _by(home, "network").items():
        trained = _some(mine, kind=NETWORK)
        if not trained:
            continue
        told = {one["attribution"]: one for one in trained}
        score = told.get(chosen)
        others = [one for one in trained if one["rank_mean"] is not None]
        best = max(others, key=lambda one: one["rank_mean"], default=None)
        word = chosen
        if score is not None and score["rule"] not in {"", chosen}:
            word = f"{score['rule']}, chosen"
        kinds = [_first(_some(mine, kind=kind, attribution=chosen)) for kind in _KINDS]
        rows.append(
            [
                network,
                str(trained[0]["train_rows"]),
                _with_spread(trained[0], "mae"),
                _with_spread(trained[0], "r2"),
                f"{_with_spread(score, 'rank')} ({word})",
                _NONE if best is None else f"{best['rank_mean']:.2f} ({best['attribution']})",
                _with_spread(told.get(_OWN_TERMS), "rank"),
                *(_with_spread(kind, "rank") for kind in kinds),
            ]
        )
    heads = ["network", "trained on", "MAE", "R2", "score", "best of all attributions",
             "own terms", "first weights", "shuffled values"]  # fmt: skip
    return f"Split {split}, {home[0]['set']} molecules:\n\n" + _table(heads, rows) if rows else ""


_KINDS = (UNTRAINED, SHUFFLED)


def _first(lines: Lines) -> Line | None:
    return lines[0] if lines else None


def _transfer(lines: Lines) -> str:
    """Each network on molecules of another kind, by split and set."""
    chosen = headline(lines)
    away = _some(lines, kind=NETWORK, share_weight=0.0, role="out")
    away = largest(away, ("network", "split"))
    away = [one for one in away if one["attribution"] in {chosen, ""} and _is_whole(one)]
    networks = list(_by(away, "network"))
    rows = []
    for (split, name), mine in grouped(away, ("split", "set")).items():
        found = {one["network"]: one for one in mine}
        told = [found.get(network) for network in networks]
        numbers = [f"{_with_spread(one, 'mae')}; {_with_spread(one, 'rank')}" for one in told]
        rows.append([f"{split}: {name}", *numbers])
    words = f"Molecules of another kind, MAE; score ({chosen}):"
    return f"{words}\n\n{_table(['split: set', *networks], rows)}" if rows else ""


def _is_whole(line: Line) -> bool:
    return "/" not in str(line["set"])


def _values(controls: Lines, lines: Lines) -> str:
    """What values without a network are worth on the first split's test molecules."""
    mine = _some(controls, split=lines[0]["split"], set="test", network="")
    told = [f"{one['control']} {one['rank']:.2f}" for one in mine if one["rank"] is not None]
    return "To be held against: " + ", ".join(told) + "." if told else ""


def _taught(causal: Lines) -> str:
    """What the shares as auxiliary targets change, at the largest training sets."""
    some = largest([one for one in causal if _is_whole(one)], ("network", "split"))
    tested = {one["split"] for one in some if (one["role"], one["set"]) == ("in", "test")}
    some = [one for one in some if one["set"] != "validation" or one["split"] not in tested]
    errors = [one for one in some if one["quantity"] == "mae" and one["relative"] is not None]
    own = {
        (one["network"], one["split"], one["set"]): one
        for one in some
        if (one["quantity"], one["attribution"]) == ("rank", _OWN_TERMS)
    }
    networks = list(_by(errors, "network"))
    rows = []
    for (split, name), mine in grouped(errors, ("split", "set")).items():
        found = {one["network"]: one for one in mine}
        told = [_change(found.get(one), own.get((one, split, name))) for one in networks]
        rows.append([f"{split}: {name}", *told])
    words = (
        "Taught the shares, change of the MAE (95 % over seeds); own terms' score without and "
        "with. A star: p below 0.05 after Holm."
    )
    return f"{words}\n\n{_table(['split: set', *networks], rows)}" if rows else ""


def _change(error: Line | None, score: Line | None) -> str:
    if error is None:
        return _NONE
    told = f"{100.0 * error['relative']:+.0f} %"
    if error["low"] is not None and error["high"] is not None:
        low, high = (100.0 * error[end] / error["without"] for end in ("low", "high"))
        told += f" ({low:+.0f} to {high:+.0f})"
    if error["p_holm"] is not None and error["p_holm"] < _SIGNIFICANT:
        told += " *"
    return told + (f"; {score['without']:.2f} to {score['with']:.2f}" if score else "")


def _claim(claim: Lines, chosen: str) -> str:
    """Better reasons, better transfer: the tests of the chosen rule, and how many of all hold."""
    rows = [
        [
            one["targets"],
            one["scope"],
            str(one["observations"]),
            f"{one['partial']:.2f}",
            f"{_number(one['low'])} to {_number(one['high'])}",
            _number(one["p"]),
            _number(one["p_holm"]),
        ]
        for one in claim
        if (one["attribution"], one["score"]) == (chosen, "rank") and one["partial"] is not None
    ]
    made = [one["p_holm"] for one in claim if one["p_holm"] is not None]
    held = sum(p < _SIGNIFICANT for p in made)
    words = (
        "Partial rank correlation of score and transfer error, the error at home taken off "
        f"(negative: better reasons, smaller transfer errors). Of {len(made)} tests in claim.csv "
        f"{held} {'has' if held == 1 else 'have'} p below {_SIGNIFICANT} after Holm."
    )
    heads = ["property", "scope", "observations", "partial", "95 %", "p", "p (Holm)"]
    return f"{words}\n\n" + _table(heads, rows) if rows else words
