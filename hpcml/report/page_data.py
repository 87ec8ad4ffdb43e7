"""What the page's script reads: charts and molecules, packed into one element of the page.

Also the scripts themselves: two libraries (vendor/), and templates/page.js.  The page's policy lets
these run and no other, by their checksums, so that no name of a molecule can become one.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.molecules import symbol
from hpcml.report.drawings import NEGATIVE, POSITIVE, compact, skeleton
from hpcml.report.facts import Computed, ReportFacts, Shown
from hpcml.report.words import decimals_of, number

WIDTH, HEIGHT = 230, 190  # pixels of a drawing
_PLOTTING, _MOLECULES = "plotly-cartesian.min.js", "3Dmol-min.js"


def scripts() -> list[str]:
    """The texts of the page's scripts, in their order."""
    room = files("hpcml.report")
    texts = [(room / "vendor" / name).read_text("utf-8") for name in (_PLOTTING, _MOLECULES)]
    texts.append((room / "templates" / "page.js").read_text("utf-8"))
    return texts


def policy(texts: list[str]) -> str:
    """The content security policy under which exactly these scripts run, and nothing is fetched."""
    sums = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    allowed = " ".join(f"'sha256-{each}'" for each in sums)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; worker-src blob:; base-uri 'none'; form-action 'none'"
    )


def packed(data: dict[str, Any]) -> str:
    """JSON, compressed, in characters that mean nothing in HTML; the same bytes each time."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def molecules(facts: ReportFacts) -> dict[str, Any]:
    """The gallery: each molecule with its drawing, geometry, numbers of its atoms, and facts."""
    unit = facts.explanation.unit if facts.explanation else ""
    if not unit and facts.predictions:
        unit = facts.predictions[0].unit
    limits = {
        "relevance": _largest([one.relevance for one in facts.gallery]),
        "own": _largest([_own(one) for one in facts.gallery]),
        "share": _largest([one.share for one in facts.gallery]),
        "above": _largest([_above(_own(one), one, facts.worth) for one in facts.gallery]),
        "shareAbove": _largest([_above(one.share, one, facts.worth) for one in facts.gallery]),
    }
    shown = [_molecule(one, facts.properties, facts.worth) for one in facts.gallery]
    return {
        "molecules": shown,
        "properties": [_label(one) for one in facts.properties],
        "groups": sorted({group for one in facts.gallery for group in one.groups}),
        "parts": list(dict.fromkeys(one.part for one in facts.gallery)),
        "unit": unit,
        "limits": limits,
        "colours": {"positive": POSITIVE, "negative": NEGATIVE},
        "size": [WIDTH, HEIGHT],
        "explained": any(len(one.relevance) for one in facts.gallery),
        "worth": {symbol(number): value for number, value in facts.worth.items()},
        "own": any(np.abs(one.own_terms).max(initial=0.0) > 0 for one in facts.gallery),
        "shares": any(len(one.share) for one in facts.gallery),
    }


def _molecule(
    one: Shown, properties: tuple[Computed, ...], worth: dict[int, float]
) -> dict[str, Any]:
    molecule = one.molecule
    try:
        drawn = skeleton(molecule, WIDTH, HEIGHT, outlines=False)
        body, spots = (
            compact(drawn),
            np.column_stack([drawn.centres, drawn.radii]).round(1).tolist(),
        )
    except InputError:  # bonds that cannot be perceived: shown without a drawing
        body, spots = "", []
    decimals = decimals_of(one.prediction if np.isfinite(one.prediction) else one.reference)
    terms = {"sum over atoms": float(one.relevance.sum()), **one.ledger} if one.ledger else {}
    if len(one.relevance) and not one.ledger:
        terms = {"sum over atoms": float(one.relevance.sum())}
    return {
        "name": molecule.name or molecule.formula,
        "formula": molecule.formula,
        "smiles": molecule.smiles,
        "part": one.part,
        "heavy": int((molecule.numbers > 1).sum()),
        "groups": list(one.groups),
        "symbols": molecule.symbols,
        "positions": np.round(molecule.positions, 3).ravel().tolist(),
        "drawing": body,
        "spots": spots,
        "relevance": _digits(one.relevance),
        "own": _digits(_own(one)),
        "share": _digits(one.share),
        "above": _digits(_above(_own(one), one, worth)),
        "shareAbove": _digits(_above(one.share, one, worth)),
        "dipole": _digits(one.dipole),
        "beta": _digits(one.beta),
        "values": _digits(np.array([p.values[one.row] if one.row >= 0 else np.nan
                                    for p in properties])),
        "error": _digits(np.array([one.prediction - one.reference]))[0],
        "cancellation": _digits(np.array([one.cancellation]))[0],
        "ledger": [[name, number(value, decimals)] for name, value in terms.items()],
        "predicted": number(one.prediction, decimals),
        "computed": number(one.reference, decimals),
    }  # fmt: skip


def _own(one: Shown) -> NDArray[np.float64]:
    return one.relevance + one.own_terms if len(one.own_terms) else one.relevance


def _above(values: NDArray[np.float64], one: Shown, worth: dict[int, float]) -> NDArray[np.float64]:
    """What is above the worth of each atom's element; empty where there are no values."""
    if not len(values) or not worth:
        return np.empty(0)
    above: NDArray[np.float64] = values - np.array(
        [worth.get(number, np.nan) for number in one.molecule.numbers.tolist()]
    )
    return above


def _label(computed: Computed) -> dict[str, str]:
    return {"quantity": computed.quantity, "unit": computed.unit}


def _largest(values: list[NDArray[np.float64]]) -> float:
    sizes = (float(np.nan_to_num(np.abs(each)).max(initial=0.0)) for each in values)
    return float(f"{max(sizes, default=0.0) or 1.0:.4g}")


def _digits(values: NDArray[np.float64]) -> list[float | None]:
    return [float(f"{v:.4g}") if np.isfinite(v) else None for v in np.asarray(values).tolist()]
