import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from hpcml.report import ReportFacts, build, render
from hpcml.report.page import five_facts

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
    assert len(ids) > 50
    assert ids.most_common(1)[0][1] == 1


def test_refers_to_nothing_outside_itself(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for tag, attributes in outline(text).seen:
        assert tag not in {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "data", "action", "srcset"}:
                assert value is not None
                assert value.startswith("#")
    assert "@import" not in text
    assert all(target.startswith("#") for target in re.findall(r"url\(['\"]?([^)]*)\)", text))
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", text))
    assert addresses <= {  # names of XML vocabularies, which nothing fetches
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
        "http://www.rdkit.org/xml",
    }


def test_texts_are_escaped(facts: ReportFacts, page: Path) -> None:
    parsed = outline(page.read_text(encoding="utf-8"))
    assert not any(tag in {"script", "b>"} for tag, _ in parsed.seen)
    shown = " ".join(parsed.text)
    assert facts.title in shown
    assert shown.count("alert('x')") > 10


def test_says_what_the_facts_say(page: Path) -> None:
    words = " ".join(" ".join(outline(page.read_text(encoding="utf-8")).text).split())
    assert "molecules computed 40 20 of 60 failed" in words
    assert "reasons score, test 0.81 95 % interval 0.70 to 0.90" in words
    assert "2 min 07 s" in words
    assert "and 8 more in failures.jsonl" in words
    assert "Reasons score" in words
    assert "sum over atoms" in words


def test_without_a_reasons_score_the_ledger_is_a_fact(facts: ReportFacts) -> None:
    shown = [fact["value"] for fact in five_facts(replace(facts, reasons=None))]
    assert len(shown) == len(five_facts(facts)) == len(five_facts(ReportFacts(title="x"))) == 5
    assert shown[3] == "3.0 × 10⁻⁷"


def test_what_is_missing_is_said() -> None:
    parsed = outline(render(ReportFacts(title="early")))
    words = " ".join(parsed.text)
    assert "No network has been trained yet" in words
    assert "No relevances have been computed yet" in words
    assert "No timings were kept" in words
    assert not any(tag == "svg" for tag, _ in parsed.seen)


def test_replaces_the_page_as_a_whole(facts: ReportFacts, tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    path.write_text("old")
    assert build(ReportFacts(title="new"), path) == path
    assert "new" in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["index.html"]


def colours(path: Path) -> np.ndarray:
    return np.asarray(matplotlib.image.imread(path))[..., :3]


@pytest.mark.parametrize(("width", "height"), [(1200, 3600), (420, 9000)])
def test_a_browser_draws_it(
    page: Path, chromium: Callable[..., str], tmp_path: Path, width: int, height: int
) -> None:
    picture = tmp_path / "page.png"
    chromium(f"--screenshot={picture}", f"--window-size={width},{height}", page.as_uri())
    seen = colours(picture)
    assert seen.shape == (height, width, 3)
    flat = (seen * 255).round().astype(int).reshape(-1, 3)
    assert (flat == [255, 255, 255]).all(axis=1).mean() > 0.4  # paper
    for colour in ([213, 94, 0], [0, 114, 178]):  # points and lines of the figures
        assert (np.abs(flat - colour).max(axis=1) < 12).sum() > 50
    rows = (seen < 0.5).all(axis=2).any(axis=1)
    assert rows[:2500].mean() > 0.25  # writing and drawings, not a blank page


def test_a_browser_finds_no_fault_and_no_overflow(
    facts: ReportFacts, chromium: Callable[..., str], tmp_path: Path
) -> None:
    """The page's policy forbids scripts, so a copy without it is measured by one."""
    text = render(facts)
    policy = re.search(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", text)
    assert policy
    assert "default-src 'none'" in policy[0]
    probe = (
        "<script>const out = document.documentElement;"
        "out.dataset.over = out.scrollWidth - out.clientWidth;"
        "out.dataset.broken = [...document.querySelectorAll('svg')]"
        ".filter(s => s.getBoundingClientRect().height < 20).length;"
        "out.dataset.svgs = document.querySelectorAll('svg').length;</script></body>"
    )
    copy = tmp_path / "probe.html"
    copy.write_text(text.replace(policy[0], "").replace("</body>", probe), encoding="utf-8")
    dumped = chromium("--dump-dom", "--window-size=1000,900", copy.as_uri())
    found = dict(re.findall(r'data-(over|broken|svgs)="(\d+)"', dumped))
    assert found == {"over": "0", "broken": "0", "svgs": "11"}
