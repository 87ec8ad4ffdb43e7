"""Directions and what they carry, beside scikit-learn and least squares on all rows at once."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from hpcml.analysis.chemical_labels import Label, Labelled
from hpcml.analysis.directions import Association, Ends, associations, principal_directions
from hpcml.errors import InputError

ROWS, FEATURES = 900, 7


@pytest.fixture(scope="module")
def vectors():
    """Three hidden causes, one feature that never varies, and one far from zero."""
    random = np.random.default_rng(0)
    made = random.normal(size=(ROWS, 3)) @ random.normal(size=(3, FEATURES))
    made += 0.3 * random.normal(size=made.shape)
    made[:, 2] = 4.0
    made[:, 5] += 1e5
    return made


def blocks(vectors, size=128):
    for start in range(0, len(vectors), size):
        places = np.arange(start, min(start + size, len(vectors)))
        yield places, vectors[places]


def test_directions_are_those_of_a_pca_of_everything_at_once(vectors):
    found = principal_directions(blocks(vectors))
    varied = np.delete(np.arange(FEATURES), 2)
    standard = StandardScaler().fit_transform(vectors[:, varied])
    reference = PCA().fit(standard)
    assert found.rows == ROWS
    np.testing.assert_allclose(found.share[:6], reference.explained_variance_ratio_, atol=1e-7)
    turned = np.sign((found.axes[:6][:, varied] * reference.components_).sum(axis=1))
    np.testing.assert_allclose(
        found.axes[:6][:, varied], reference.components_ * turned[:, None], atol=1e-5
    )
    np.testing.assert_allclose(
        found.scores(vectors, 3), reference.transform(standard)[:, :3] * turned[:3], atol=1e-4
    )


def test_nothing_that_varies_is_an_error():
    with pytest.raises(InputError, match="all 5 vectors are the same"):
        principal_directions(blocks(np.ones((5, 3))))
    with pytest.raises(InputError, match="at least two"):
        principal_directions(blocks(np.ones((1, 3))))


def residual(z, *groups):
    """Squares left by least squares on indicators and numbers, and how many parameters fit."""
    columns = []
    for group in groups:
        if group.dtype.kind in "iu":
            columns.append((group[:, None] == np.unique(group)).astype(float))
        else:
            columns.append(group[:, None])
    design = np.concatenate([np.ones((len(z), 1)), *columns], axis=1)
    fitted = design @ np.linalg.lstsq(design, z, rcond=None)[0]
    return np.square(z - fitted).sum(), np.linalg.matrix_rank(design)


def adjusted(z, base, more):
    n = len(z)
    (before, p0), (after, p1) = residual(z, *base), residual(z, *base, *more)
    return 1.0 - (after / (n - p1)) / (before / (n - p0))


def test_explained_variance_is_that_of_least_squares():
    random = np.random.default_rng(1)
    stratum, kind = random.integers(0, 3, ROWS), random.integers(0, 4, ROWS)
    number = random.normal(size=ROWS) + stratum
    scores = np.stack([stratum + 0.5 * kind, number, random.normal(size=ROWS)], axis=1)
    scores = scores + 0.4 * random.normal(size=scores.shape)
    unknown = random.random(ROWS) < 0.2
    labels = (
        Label("kind", ("a", "b", "c", "d"), np.where(unknown, -1, kind).astype(np.int8)),
        Label("number", (), np.where(unknown, np.nan, number)),
    )
    known = ~unknown
    for label in labels:
        one = Association(label, stratum, 3)
        for start in range(0, ROWS, 100):
            one.add(np.arange(start, start + 100), scores[start : start + 100])
        alone, within = one.explained()
        values = (kind if label.kinds else number)[known]
        cells = stratum[known] * 4 + values if label.kinds else values
        for direction in range(3):
            z = scores[known, direction]
            assert alone[direction] == pytest.approx(adjusted(z, [], [values]))
            assert within[direction] == pytest.approx(adjusted(z, [stratum[known]], [cells]))
    assert abs(alone[2]) < 0.02 and alone[1] > 0.8


def test_the_stratum_itself_explains_nothing_within_strata(vectors):
    stratum = np.arange(ROWS) % 3
    one = Association(Label("element", ("H", "C", "O"), stratum.astype(np.int8)), stratum, FEATURES)
    one.add(np.arange(ROWS), vectors)
    np.testing.assert_allclose(one.explained()[1][[0, 1, 3, 4]], 0.0, atol=1e-9)


def test_ends_are_the_outermost_of_different_molecules(vectors):
    molecule = np.arange(ROWS) // 9
    usable = np.ones(ROWS // 9, dtype=bool)
    directions = principal_directions(blocks(vectors))
    scores = directions.scores(vectors, 2)
    usable[molecule[scores[:, 0].argmax()]] = False
    ends = Ends(2, molecule, usable)
    labelled = Labelled((), molecule, "nothing", np.zeros(ROWS, dtype=np.int64))
    associations(blocks(vectors), directions, labelled, 2, ends)
    values = np.where(usable[molecule], scores[:, 0], -np.inf)
    best = np.maximum.reduceat(values, np.arange(0, ROWS, 9))
    expected = np.sort(best)[::-1][:3]
    found = ends.of(0, 1, 3)
    np.testing.assert_allclose([score for _, score in found], expected)
    assert len({molecule[place] for place, _ in found}) == 3
    assert ends.of(1, 0, 1)[0][0] == np.where(usable[molecule], scores[:, 1], np.inf).argmin()
