"""The site of the documentation builds without a warning, and what it makes is all there is."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import msgspec
import pytest

from hpcml.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    options = ["-q", "-W", "--keep-going", "-d", str(folder / "read")]
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(DOCS), str(folder / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-5000:]
    return folder / "html"


class _Links(HTMLParser):
    """What a page refers to, and the places in it that can be referred to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.to: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words = dict(attrs)
        self.ids.add(words.get("id") or "")
        if tag == "a" and words.get("href"):
            self.to.append(words["href"] or "")
        if tag in ("img", "script", "link") and words.get("rel") not in ("canonical",):
            self.loaded.append(words.get("src") or words.get("href") or "")


def test_every_link_within_the_site_leads_somewhere(site: Path) -> None:
    pages = {page: _Links(page) for page in sorted(site.rglob("*.html"))}
    assert len(pages) > 20
    broken = []
    for page, links in pages.items():
        for link in links.to:
            path, _, anchor = unquote(link).partition("#")
            if re.match(r"\w+:", link):
                continue
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in pages[target].ids):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert not broken


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for address in _Links(page).loaded:
            assert not re.match(r"(https?:)?//", address), f"{page.name}: {address}"


def _text(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def test_every_command_has_its_section(site: Path) -> None:
    text = _text(site / "made/commands.html")
    names = [command.name for command in main._commands()]
    assert len(names) > 15
    for name in names:
        assert f"hpcml {name}\n" in text or f"hpcml {name}¶" in text, name
    assert "--memory" in text and "--dry-run" in text


def test_every_setting_has_its_row(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS / "site")
    import site_pages

    text = _text(site / "made/settings.html")
    for table in (site_pages.CAMPAIGN, site_pages.STUDY, site_pages.NETWORKS):
        for heading, struct in table.items():
            assert heading in text.replace("&quot;", '"').replace("“", '"').replace("”", '"')
            for field in msgspec.structs.fields(struct):
                assert f"\n{field.name}\n" in text, f"{heading}: {field.name}"


def test_no_struct_of_settings_is_missing_in_the_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(DOCS / "site")
    import site_pages

    from hpcml.setting_docs import described

    told = {
        *site_pages.CAMPAIGN.values(),
        *site_pages.STUDY.values(),
        *site_pages.NETWORKS.values(),
    }
    reached = {inner for struct in told for each in described(struct) for inner in each.tables}
    assert reached <= told


@pytest.mark.slow
def test_the_tutorial_runs_to_its_end(tmp_path: Path) -> None:
    """Its cells hold their own checks; numbers are of the order that the pages show."""
    target = tmp_path / "run.ipynb"
    run = subprocess.run(
        [sys.executable, str(DOCS / "site/run_tutorial.py"), "--to", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    cells = json.loads(target.read_text(encoding="utf-8"))["cells"]
    printed = "".join(
        "".join(output.get("text", ""))
        for cell in cells
        for output in cell.get("outputs", ())
        if output["output_type"] == "stream"
    )
    (test_error,) = re.findall(r"off by ([\d.]+) a0\^3", printed)
    assert float(test_error) < 1.5
    (pooled,) = re.findall(r"in the colours: r = (\S+)", printed)
    assert float(pooled) > 0.5


def test_the_tutorial_shows_what_it_printed() -> None:
    cells = json.loads((DOCS / "tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] for cell in code[1:])
    told = [output["output_type"] for cell in code for output in cell["outputs"]]
    assert "error" not in told
