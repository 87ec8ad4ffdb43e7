"""The page's section on representations, from tables written by hand."""

import re

from hpcml.report.facts import ReportFacts
from hpcml.report.page import render
from hpcml.report.representation_figure import direction_figure
from hpcml.report.representation_section import MOST_LABELS, carried, inside

DIRECTIONS = """level,vectors,direction,variance
atoms,1234,1,0.75
atoms,1234,2,0.25
"""
LABELS = """level,direction,label,r2,r2_within,within
atoms,1,element,0.9,0.0,element
atoms,2,element,-0.01,0.0,element
atoms,1,<ring>,0.05,0.2,element
atoms,2,<ring>,0.45,0.2,element
atoms,2,faint,0.05,0.0,element
"""
PROBES = """level,vectors,width,label,measure,score,std_over_folds,shuffled,shuffled_within
atoms,network,8,<ring>,ROC AUC,0.95,0.02,0.51,0.62
atoms,untrained network,8,<ring>,ROC AUC,0.71,0.02,0.49,0.61
atoms,PCA of width 2,2,<ring>,ROC AUC,0.81,0.02,0.49,0.61
"""
LOST = """level,method,width,fitted_molecules,held_out_molecules,fitted,held_out
atoms,PCA,2,50,50,0.2,0.25
atoms,autoencoder,2,50,50,0.1,0.125
"""


def written(folder):
    for name, text in (("directions", DIRECTIONS), ("labels", LABELS), ("probes", PROBES),
                       ("reconstruction", LOST)):  # fmt: skip
        (folder / f"representation_{name}.csv").write_text(text)
    return folder


def test_what_the_tables_say_stands_on_the_page(tmp_path):
    found = inside(written(tmp_path))
    assert found is not None
    (atoms,) = found.carried
    assert (atoms.vectors, atoms.shares) == (1234, (0.75, 0.25))
    assert atoms.labels == (("element", (0.9, 0.0)), ("<ring>", (0.05, 0.45)))
    page = render(ReportFacts(title="run", inside=found))
    rows = re.findall(r"<tr><th>(.*?)</th>(.*?)</tr>", page[page.index('id="inside"') :])
    cells = [[name, *re.findall("<td>(.*?)</td>", rest)] for name, rest in rows]
    assert ["&lt;ring&gt;", "atoms", "ROC AUC", "0.95 ± 0.02", "0.71", "0.62", "0.51"] in cells
    assert ["autoencoder", "atoms", "2", "0.100", "0.125"] in cells
    assert "&lt;ring&gt;" in page and "<ring>" not in page


def test_figure_has_each_label_and_value(tmp_path):
    text = direction_figure(carried(written(tmp_path)))
    shown = re.findall(r">([^<>]+)</text>", text)
    assert {"element", "&lt;ring&gt;", ".90", ".45"} <= set(shown)
    assert "faint" not in shown and ".05" not in shown
    assert "<image" not in text  # a page that fetches nothing shows no embedded pixels


def test_of_many_labels_those_that_explain_most_are_shown(tmp_path):
    lines = [f"atoms,1,label {k},{0.1 + 0.01 * k},0,element" for k in range(40)]
    heading = LABELS.splitlines()[0]
    (written(tmp_path) / "representation_labels.csv").write_text("\n".join([heading, *lines]))
    (atoms,) = carried(tmp_path)
    names = [name for name, _ in atoms.labels]
    assert names == [f"label {k}" for k in range(40 - MOST_LABELS, 40)]


def test_without_tables_there_is_no_section(tmp_path):
    assert inside(tmp_path) is None
    assert 'id="inside"' not in render(ReportFacts(title="run"))
