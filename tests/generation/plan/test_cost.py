"""The cost model against basis sets counted by hand and against power laws."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcml.generation.plan import cost
from hpcml.response import Level, Request
from hpcml.response.basis import resolve

HF, DFT = Level(method="HF", basis="STO-3G"), Level(method="B3LYP", basis="STO-3G")


@pytest.mark.parametrize(
    ("basis", "hydrogen", "carbon"),
    [  # counted from the shells: Szabo and Ostlund, table 3.8, and the sets' papers
        ("STO-3G", 1, 5),
        ("6-31G", 2, 9),
        ("6-31+G(d)", 2, 19),  # 6 d functions: the set is Cartesian
        ("cc-pVDZ", 5, 14),
        ("aug-cc-pVDZ", 9, 23),
        ("cc-pVTZ", 14, 30),
    ],
)
def test_basis_functions_are_counted_from_the_shells(basis, hydrogen, carbon):
    assert cost.functions_of(basis, 1) == hydrogen
    assert cost.functions_of(basis, 6) == carbon


def test_an_unknown_set_still_tells_light_from_heavy():
    sizes = [cost.functions_of("mine.gbs", number) for number in (1, 6, 17, 35)]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


def test_a_set_is_counted_from_its_file():
    path = Path(__file__).parents[3] / "jobs/6-31G_2df_p.gbs"
    # 3s 2p 2d 1f, spherical, and 2s 1p
    assert cost.functions_of(str(path), 6) == 3 + 6 + 10 + 7
    assert cost.functions_of(str(path), 1) == 2 + 3


HEADS = ("C 0", "-C 0", "C N 0", "c    0")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("kind", "d"), [("spherical", 5), ("cartesian", 6)])
def test_every_head_of_an_element_is_known_to_the_one_reader(head, kind, d, tmp_path):
    path = tmp_path / "own.gbs"
    shells = "SP 1 1.00\n 0.8 1.0 1.0\nD 1 1.0 0.0\n 0.8D+00 1.0\n****\n"
    path.write_text(f"{kind}\n****\n{head}\n{shells}")
    assert cost.functions_of(str(path), 6) == 4 + d
    assert ("D 1 1.00" in (resolve(str(path), [6], tmp_path).text or "")) is True


@given(st.floats(0.1, 1e3), st.floats(1.0, 3.0))
def test_a_power_law_is_found_again(scale, exponent):
    sizes = np.geomspace(10, 500, 200)
    model = cost.fit(HF, Request(), sizes, scale * (sizes / 100) ** exponent)
    for size in (20, 100, 400):
        assert model.expected(size) == pytest.approx(scale * (size / 100) ** exponent, rel=0.15)
    assert model.fitted


def test_without_calculations_the_prior_knows_what_is_dearer():
    def seconds(level, **request):
        return cost.fit(level, Request(**request), [], []).expected(100)

    assert seconds(DFT) > seconds(HF)
    assert seconds(HF, processes=("shg",), frequencies=(0.05,)) > seconds(HF)
    assert seconds(HF, properties=("zpve",)) > seconds(HF)
    model = cost.fit(HF, Request(), [], [])
    assert model.expected(200) > model.expected(100)
    assert not model.fitted
    assert model.limit(100, 3600.0) == 3600.0


def test_the_limit_leaves_room_and_never_exceeds_the_sites():
    sizes = np.geomspace(10, 500, 50)
    model = cost.fit(HF, Request(), sizes, 10.0 * (sizes / 100) ** 2)
    assert model.limit(100, 1e6) == pytest.approx(300.0, rel=0.2)
    assert model.limit(10, 1e6) == 60.0
    assert model.limit(500, 1000.0) == 1000.0


def test_timings_are_read_up_to_a_line_cut_short(tmp_path):
    path = tmp_path / "timings.csv"
    path.write_text(
        "key,rank,start,end,busy,size,outcome\n"
        "a,0,1.0,2.0,1.0,7,done\nb,0,1.0,2.0,9.0,7,crash\nc,1,2.0,4.0,2.0,14,done\nd,0,4.0,5"
    )
    assert cost.read_timings([path]) == ([7.0, 14.0], [1.0, 2.0])
