import hashlib
import html
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page

import hpcml.report
from hpcml.report import ReportFacts, build, render
from hpcml.report.drawings import NEGATIVE, POSITIVE
from hpcml.report.headlines import five_facts
from hpcml.report.page_data import packed, policy, scripts

HOSTILE = "<script>alert('x')</script> & $\\frac{1}{2}$ \"q\""  # as in conftest.py
Visit = Callable[..., Page]
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Outline(HTMLParser):
    """Checks that every element is closed where it was opened, and keeps what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(text: str) -> Outline:
    parsed = Outline()
    parsed.feed(text)
    parsed.close()
    assert parsed.open == []
    return parsed


def test_is_well_formed_with_ids_of_its_own(page: Path) -> None:
    seen = outline(page.read_text(encoding="utf-8")).seen
    ids = Counter(attributes["id"] for _, attributes in seen if attributes.get("id"))
    assert len(ids) > 20
    assert ids.most_common(1)[0][1] == 1


def test_refers_to_nothing_outside_itself_and_runs_no_script_but_its_own(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for tag, attributes in outline(text).seen:
        assert tag not in {"link", "iframe", "object", "embed", "img", "base"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "data", "action", "srcset"}:
                assert value is not None
                assert value.startswith("#")
    allowed = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert allowed
    rules = html.unescape(allowed[1])
    assert rules.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in rules
    assert rules == policy(scripts())
    assert text.count("<script>") == len(scripts()) == 3


def test_every_chart_says_in_words_what_it_shows(page: Path) -> None:
    seen = outline(page.read_text(encoding="utf-8")).seen
    charts = [attributes for _, attributes in seen if "data-chart" in attributes]
    assert len(charts) >= 12
    for each in charts:
        assert each["role"] == "img"
        assert len(each["aria-label"] or "") > 15


def test_the_same_facts_are_the_same_page(facts: ReportFacts) -> None:
    assert render(facts) == render(facts)
    assert "<" not in packed({"name": facts.title})


def test_libraries_are_those_of_their_sums() -> None:
    """The table in vendor/README.md says which version each is, and its checksum."""
    folder = Path(hpcml.report.__file__).parent / "vendor"
    told = dict(re.findall(r"^\| `([^`]+)` \|.*`([0-9a-f]{64})` \|$",
                           (folder / "README.md").read_text(), re.MULTILINE))  # fmt: skip
    assert set(told) == {path.name for path in folder.glob("*.js")}
    for name, wanted in told.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == wanted
        assert b"</script" not in (folder / name).read_bytes()


def test_says_what_the_facts_say(page: Path) -> None:
    words = " ".join(" ".join(outline(page.read_text(encoding="utf-8")).text).split())
    assert "molecules computed 40 20 of 60 failed" in words
    assert "reasons score, test 0.81 95 % interval 0.70 to 0.90" in words
    assert "2 min 07 s" in words
    assert "and 8 more in failures.jsonl" in words
    assert "Reasons score" in words
    assert "A sample: 5 of 40 molecules are here" in words


def test_without_a_reasons_score_the_ledger_is_a_fact(facts: ReportFacts) -> None:
    shown = [fact["value"] for fact in five_facts(replace(facts, reasons=None))]
    assert len(shown) == len(five_facts(facts)) == len(five_facts(ReportFacts(title="x"))) == 5
    assert shown[3] == "3.0 × 10⁻⁷"


def test_what_is_missing_is_said(tmp_path: Path, visit: Visit) -> None:
    path = build(ReportFacts(title="early"), tmp_path / "index.html")
    words = " ".join(outline(path.read_text(encoding="utf-8")).text)
    assert "No network has been trained yet" in words
    assert "No relevances have been computed yet" in words
    assert "No timings were kept" in words
    assert visit(path).locator("[data-chart]").count() == 0


def test_replaces_the_page_as_a_whole(facts: ReportFacts, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text("old")
    assert build(ReportFacts(title="new"), path) == path
    assert "new" in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


# --- in a browser ----------------------------------------------------------------------------


def test_a_molecule_called_script_is_text_wherever_it_stands(page: Path, visit: Visit) -> None:
    """Any script of a name's would open a dialog, which ``visit`` forbids."""
    shown = visit(page)
    assert shown.locator("script").count() == 4  # three of ours, and the data
    assert shown.inner_text("h1") == HOSTILE
    shown.fill("#search", "acid")
    assert shown.locator("#cards article").count() == 0
    shown.fill("#search", "<script>")
    assert shown.inner_text("#cards article h3") == HOSTILE
    shown.click("#cards article button")
    assert shown.inner_text("#facts-of-one h3") == HOSTILE
    labels = shown.locator(".js-plotly-plot text").all_text_contents()
    assert any("<script>" in text for text in labels)  # of a control, a cause, a stage


def names(shown: Page) -> list[str]:
    return shown.locator("#cards article h3").all_inner_texts()


def test_gallery_is_searched_filtered_and_sorted(page: Path, visit: Visit) -> None:
    shown = visit(page)
    assert names(shown) == ["water", HOSTILE, "ion", "hydrogen", "pyrrole"]
    for words, found in (("WATER", ["water"]), ("c2h4o2", [HOSTILE]), ("methyl", [HOSTILE]),
                         ("[H][H]", ["hydrogen"]), ("nothing", [])):  # fmt: skip
        shown.fill("#search", words)
        assert names(shown) == found
    assert shown.inner_text("#count") == "0 of 5 molecules"
    shown.fill("#search", "")
    shown.select_option("#group", "methyl")
    assert names(shown) == [HOSTILE]
    shown.select_option("#group", "")
    shown.select_option("#part", "train")
    assert names(shown) == ["hydrogen", "pyrrole"]
    shown.select_option("#part", "")
    shown.select_option("#sort", label="cancellation (largest first)")
    assert names(shown)[0] == "pyrrole"
    shown.check("#backwards")
    assert names(shown)[0] == "water"
    shown.uncheck("#backwards")
    shown.select_option("#sort", label="size (heavy atoms)")
    assert names(shown)[0] == "hydrogen"
    shown.select_option("#sort", label="error (largest first)")
    assert len(names(shown)) == 5


def disks(shown: Page, card: int, panel: int) -> list[tuple[str, float]]:
    """Colour and opacity of each atom's disk."""
    path = f"#cards article:nth-child({card}) .drawings div:nth-child({panel}) svg g:first-child"
    return [
        (str(each.get_attribute("fill")), float(each.get_attribute("fill-opacity") or "nan"))
        for each in shown.locator(f"{path} circle").all()
    ]


def test_atoms_are_coloured_by_choice_beside_their_share(
    facts: ReportFacts, page: Path, visit: Visit
) -> None:
    shown = visit(page)
    water = facts.gallery[0]
    worth = np.array([facts.worth[number] for number in water.molecule.numbers.tolist()])
    every = {"relevance": water.relevance, "own": water.relevance + 0.5,
             "above": water.relevance + 0.5 - worth}  # fmt: skip
    shown.select_option("#scale", "each")
    for kind, values in every.items():
        shown.select_option("#colour", kind)
        share = water.share - (worth if kind == "above" else 0.0)
        limit = np.abs([values, share]).max()
        for panel, expected in ((1, values), (2, share)):
            drawn = disks(shown, 1, panel)
            assert [colour for colour, _ in drawn] == [
                POSITIVE if value > 0 else NEGATIVE for value in expected
            ]
            strengths = [strength for _, strength in drawn]
            assert strengths == pytest.approx(0.85 * np.abs(expected) / limit, abs=2e-3)
    shown.select_option("#scale", "one")
    assert shown.inner_text("#ends").endswith("a₀³")
    titles = shown.locator("#cards article:nth-child(1) svg title").all_text_contents()
    assert titles[0].startswith("O1: ")


def test_resting_on_a_point_shows_its_molecule(page: Path, visit: Visit) -> None:
    shown = visit(page, viewport={"width": 1200, "height": 900})
    points = shown.locator("[data-chart=parity0] .scatterlayer .trace:nth-child(2) .points path")
    points.nth(0).scroll_into_view_if_needed()
    points.nth(0).hover(force=True)
    shown.wait_for_selector("#hover:not([hidden])")
    assert shown.inner_text("#hover h3") == "water"
    assert shown.locator("#hover svg").count() == 1
    shown.mouse.move(5, 5)
    shown.wait_for_selector("#hover", state="hidden")
    shown.locator("[data-chart=property0] .scatterlayer path.point").nth(0).hover(force=True)
    assert shown.inner_text("#hover h3") == HOSTILE


def drawn_in_space(shown: Page) -> float:
    """Part of the viewer's pixels that something is drawn on."""
    return float(
        shown.evaluate("""() => {
        const from = document.querySelector('#viewer canvas');
        const to = document.createElement('canvas');
        [to.width, to.height] = [from.width, from.height];
        const context = to.getContext('2d');
        context.drawImage(from, 0, 0);
        const pixels = context.getImageData(0, 0, to.width, to.height).data;
        let seen = 0;
        for (let at = 3; at < pixels.length; at += 4) seen += pixels[at] > 0;
        return seen / (pixels.length / 4);
    }""")
    )


def test_one_molecule_in_space_and_every_control_of_it(page: Path, visit: Visit) -> None:
    shown = visit(page)
    with_arrows = drawn_in_space(shown)
    assert with_arrows > 0.005
    shown.uncheck("#dipole")
    without_dipole = drawn_in_space(shown)
    shown.uncheck("#beta")
    assert with_arrows != without_dipole != drawn_in_space(shown)
    assert "0.3, 0.4" in shown.inner_text("#facts-of-one")
    for kind in ("element", "relevance", "own", "above", "share"):
        shown.select_option("#paint", kind)
    shown.select_option("#one", label="pyrrole")
    assert shown.inner_text("#facts-of-one h3") == "pyrrole"
    shown.click("#front")
    assert drawn_in_space(shown) > 0.005
    shown.click("#turn")
    assert shown.inner_text("#turn") == "Stop"
    shown.click("#turn")
    assert shown.inner_text("#turn") == "Turn"


def test_more_than_a_screenful_comes_by_the_button(
    facts: ReportFacts, tmp_path: Path, visit: Visit
) -> None:
    many = replace(facts, gallery=facts.gallery * 6)
    shown = visit(build(many, tmp_path / "index.html"))
    assert shown.locator("#cards article").count() == 24
    shown.click("#more")
    assert shown.locator("#cards article").count() == 30
    assert not shown.is_visible("#more")


LOOKS = {
    "light": {"viewport": {"width": 1200, "height": 900}},
    "dark": {"viewport": {"width": 1200, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 375, "height": 800}, "is_mobile": True, "has_touch": True},
}


@pytest.mark.parametrize("look", LOOKS)
def test_is_readable_and_overflows_nowhere(page: Path, visit: Visit, look: str) -> None:
    shown = visit(page, **LOOKS[look])
    over = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert shown.evaluate(over) == 0
    charts = shown.locator("[data-chart] .main-svg").count()
    assert charts >= 12
    ink, paper = (
        shown.evaluate(f"getComputedStyle({where}).{what}")
        for where, what in (("document.querySelector('.js-plotly-plot .xtitle')", "fill"),
                            ("document.body", "backgroundColor"))
    )  # fmt: skip
    dark = [sum(map(int, re.findall(r"\d+", colour)[:3])) < 384 for colour in (ink, paper)]
    assert dark == [look != "dark", look == "dark"]


def test_is_printed_within_its_columns_in_dark_ink(page: Path, visit: Visit) -> None:
    shown = visit(page, viewport={"width": 1200, "height": 900}, color_scheme="dark")
    shown.emulate_media(media="print")
    shown.set_viewport_size({"width": 720, "height": 900})
    outside = shown.evaluate("""() => [...document.querySelectorAll('.main-svg')].filter((svg) => {
        const [drawn, column] = [svg, svg.closest('.chart')].map((e) => e.getBoundingClientRect());
        return drawn.width > column.width + 1 || drawn.height < 40;
    }).length""")
    assert outside == 0
    assert shown.evaluate("getComputedStyle(document.querySelector('h1')).color") == "rgb(0, 0, 0)"
    assert not shown.is_visible("#search")
    assert len(shown.pdf(format="A4")) > 50_000
