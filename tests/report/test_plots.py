"""Figures for papers: what is in the files, at which width, with which fonts."""

import re
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import PathCollection

from hpcml.cli.main import main
from hpcml.cluster.run_folder import RunFolder
from hpcml.errors import InputError
from hpcml.molecules import molecule_from_smiles
from hpcml.report import Predictions
from hpcml.report.facts import LearningCurve, ScoreLine
from hpcml.report.paper_figures import STYLE, WIDTHS, distances, learning, parity, reasons
from hpcml.report.paper_molecule import relevance
from hpcml.report.plots import plot
from hpcml.store import Dataset


@pytest.fixture(autouse=True)
def style():
    with mpl.rc_context(STYLE):
        yield


@pytest.mark.parametrize("width", ["single", "double"])
def test_a_column_is_as_wide_as_journals_have_it(whole_run: RunFolder, width: str) -> None:
    pdf = plot("parity", whole_run, whole_run.dataset, width=width)
    box = re.search(rb"/MediaBox \[ ?([\d. ]+) ?\]", pdf)
    assert box
    points = float(box[1].split()[2])
    assert points / 72 * 25.4 == pytest.approx({"single": 85, "double": 178}[width], abs=0.1)


def test_fonts_are_embedded_as_truetype(whole_run: RunFolder) -> None:
    pdf = plot("parity", whole_run, whole_run.dataset)
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"/Subtype /CIDFontType2" in pdf or b"/Subtype /TrueType" in pdf


def test_every_molecule_is_drawn_where_its_numbers_say() -> None:
    known = Predictions("q", "u", np.array(["train", "test", "test"]), np.array([1.0, 2.0, 4.0]),
                        np.array([1.5, 2.0, 3.0]))  # fmt: skip
    (axes,) = parity(known).axes
    points = [each.get_offsets().tolist() for each in axes.collections
              if isinstance(each, PathCollection)]  # fmt: skip
    assert points == [[[1.0, 1.5]], [[2.0, 2.0], [4.0, 3.0]]]
    assert axes.get_xlabel() == "computed q / u"
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["train (1), MAE 0.5000", "test (2), MAE 0.5000"]


def test_curve_scores_and_distances_are_their_numbers() -> None:
    curve = LearningCurve("q", "u", np.array([10, 100]), np.array([2.0, 0.5]), {"mean": (50, 3.0)})
    network, mean = learning(curve).axes[0].lines
    assert network.get_xydata().tolist() == [[10, 2.0], [100, 0.5]]
    assert mean.get_xydata().tolist() == [[50, 3.0]]
    lines = (ScoreLine("the network", "network", 0.6, 0.5, 0.7),
             ScoreLine("random", "control", 0.0, -0.1, 0.1))  # fmt: skip
    axes = reasons(lines, "test").axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["the network", "control: random"]
    assert list(axes.lines[0].get_xdata()) == [0.5, 0.7]
    bins = np.array([[0.0, 1.0], [1.0, 2.0]])
    axes = distances(bins, np.array([1.0, 2.0]), np.array([3.0, 4.0]), "u").axes[0]
    assert axes.lines[1].get_xydata().tolist() == [[0.5, 3.0], [1.5, 4.0]]


def test_atoms_have_the_colours_of_their_numbers() -> None:
    molecule = molecule_from_smiles("C=O", "formaldehyde")
    values = np.array([1.0, -1.0, 0.0, 0.0])
    axes = relevance(molecule, {"one": values}, "u").axes[0]
    colours = [patch.get_facecolor()[:3] for patch in axes.patches]
    assert len(colours) == 4
    assert colours[0][0] > colours[0][2]  # vermillion
    assert colours[1][2] > colours[1][0]  # blue
    assert colours[2] == pytest.approx((1, 1, 1), abs=0.01)
    letters = [text.get_text() for text in axes.texts]
    assert letters == ["C", "O", "H", "H"]
    assert len(axes.lines) == 4  # a double bond and two single ones


@pytest.mark.parametrize("form", ["pdf", "svg", "png"])
def test_command_writes_each_form_and_the_same_bytes_each_time(
    whole_run: RunFolder, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = Dataset.open(whole_run.dataset).texts("name")[0]
    file = tmp_path / f"figure.{form}"
    words = ["plot", "relevance", str(whole_run.path), "--out", str(file), "--molecule", name]
    assert main(words) == 0
    first = file.read_bytes()
    assert first.startswith({"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}[form])
    assert main([*words, "--width", "double"]) == 0
    assert file.read_bytes() != first
    assert main(words) == 0
    assert file.read_bytes() == first
    assert capsys.readouterr().out.split() == [str(file)] * 3


def test_reasons_of_a_run(whole_run: RunFolder) -> None:
    svg = plot("reasons", whole_run, whole_run.dataset, form="svg")
    assert svg.startswith(b"<?xml")
    assert WIDTHS["single"] * 72 == pytest.approx(float(re.search(rb'width="([\d.]+)pt"', svg)[1]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["relevance", "RUN", "--out", "f.pdf"], "say which molecule: --molecule NAME"),
        (["relevance", "RUN", "--out", "f.pdf", "--molecule", "x"], "no molecule 'x' here"),
        (["learning", "RUN", "--out", "f.pdf"], "set train_sizes in [train]"),
        (["distances", "RUN", "--out", "f.pdf"], "set pairs in [explain]"),
        (["parity", "RUN", "--out", "f.gif"], "expected a name that ends in .pdf, .svg, .png"),
        (["parity", "RUN", "--out", "f.pdf", "--target", "zpve"], "it has alpha_iso"),
        (["party", "RUN", "--out", "f.pdf"], "did you mean 'parity'?"),
    ],
)
def test_what_is_missing_is_one_line(
    whole_run: RunFolder, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"RUN": whole_run.path, words[3]: whole_run.path / words[3]}
    assert main(["plot", *(str(places.get(word, word)) for word in words)]) == 2
    assert message in capsys.readouterr().err
    assert not list(whole_run.path.glob("f.*"))


def test_no_network_no_parity(run: RunFolder) -> None:
    with pytest.raises(InputError, match="no network here yet"):
        plot("parity", run, run.dataset)
