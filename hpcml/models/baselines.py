"""What a network must beat: the mean, atom counts, and kernel ridge on published representations.

The estimators are scikit-learn's.  Representations:

coulomb     Coulomb matrix with rows sorted by norm; M. Rupp, A. Tkatchenko, K.-R. Mueller,
            O. A. von Lilienfeld, Phys. Rev. Lett. 108, 058301 (2012); K. Hansen et al.,
            J. Chem. Theory Comput. 9, 3404 (2013)
bonds       bag of bonds; K. Hansen et al., J. Phys. Chem. Lett. 6, 2326 (2015)

Both with a Laplacian kernel, width and regularization by cross-validation.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist
from sklearn.dummy import DummyRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, KFold

from hpcml.errors import InputError, SettingsError
from hpcml.models.readout import element_counts
from hpcml.molecules.molecule import Molecule

Features = NDArray[np.float64]


class Representation(Protocol):
    """Molecules as rows of one length, laid out for the training molecules."""

    def __call__(self, molecules: Sequence[Molecule]) -> Features: ...


def coulomb_matrix(molecule: Molecule) -> Features:
    """(n, n): 1/2 Z_i^2.4 on the diagonal, Z_i Z_j / |R_i - R_j| off it; hartree and bohr."""
    charges = molecule.numbers.astype(float)
    bohr = molecule.positions / 0.529177210903
    distances = np.linalg.norm(bohr[:, None] - bohr[None], axis=2)
    np.fill_diagonal(distances, 1.0)
    matrix: Features = np.outer(charges, charges) / distances
    np.fill_diagonal(matrix, 0.5 * charges**2.4)
    return matrix


class _Counts:
    """(M, elements): atoms of each element of the training molecules."""

    def __init__(self, training: Sequence[Molecule]) -> None:
        self.elements = sorted({int(z) for molecule in training for z in molecule.numbers})

    def __call__(self, molecules: Sequence[Molecule]) -> Features:
        for molecule in molecules:
            if not set(molecule.numbers.tolist()) <= set(self.elements):
                raise InputError(f"{molecule!r} has an element that no training molecule has")
        return element_counts([molecule.numbers for molecule in molecules], self.elements)


class _SortedCoulomb:
    """(M, n (n + 1) / 2): lower triangles of the Coulomb matrices, rows by falling norm."""

    def __init__(self, training: Sequence[Molecule]) -> None:
        self.atoms = max(len(molecule) for molecule in training)

    def __call__(self, molecules: Sequence[Molecule]) -> Features:
        rows = []
        for molecule in molecules:
            n = len(molecule)
            if n > self.atoms:
                raise InputError(f"{molecule!r} is larger than any training molecule")
            matrix = coulomb_matrix(molecule)
            order = np.argsort(-np.linalg.norm(matrix, axis=1), kind="stable")
            padded = np.zeros((self.atoms, self.atoms))
            padded[:n, :n] = matrix[np.ix_(order, order)]
            rows.append(padded[np.tril_indices(self.atoms)])
        return np.array(rows)


def _bags(molecule: Molecule) -> dict[tuple[int, ...], list[float]]:
    """Entries of the Coulomb matrix by element or pair of elements, falling."""
    matrix = coulomb_matrix(molecule)
    bags: dict[tuple[int, ...], list[float]] = defaultdict(list)
    numbers = molecule.numbers.tolist()
    for i, z in enumerate(numbers):
        bags[(z,)].append(matrix[i, i])
        for j in range(i):
            bags[tuple(sorted((z, numbers[j])))].append(matrix[i, j])
    return {kind: sorted(bag, reverse=True) for kind, bag in bags.items()}


class _BagOfBonds:
    """(M, sum of the largest bags): bags side by side, each filled up with zeros."""

    def __init__(self, training: Sequence[Molecule]) -> None:
        sizes: Counter[tuple[int, ...]] = Counter()
        for molecule in training:
            sizes |= Counter({kind: len(bag) for kind, bag in _bags(molecule).items()})
        self.kinds = sorted(sizes)
        ends = np.cumsum([sizes[kind] for kind in self.kinds])
        self.place = {
            kind: slice(end - sizes[kind], end) for kind, end in zip(self.kinds, ends, strict=True)
        }
        self.size = int(ends[-1])

    def __call__(self, molecules: Sequence[Molecule]) -> Features:
        rows = np.zeros((len(molecules), self.size))
        for row, molecule in zip(rows, molecules, strict=True):
            for kind, bag in _bags(molecule).items():
                place = self.place.get(kind, slice(0, 0))
                if len(bag) > place.stop - place.start:
                    raise InputError(f"{molecule!r} has larger bags than the training molecules")
                row[place.start : place.start + len(bag)] = bag
        return rows


def _mean(_: Features) -> Any:
    return DummyRegressor(strategy="mean")


def _least_squares(_: Features) -> Any:
    return LinearRegression(fit_intercept=False)


def _kernel_ridge(features: Features) -> Any:
    """Laplacian kernel exp(-|x - y|_1 / width), five-fold search around the median distance."""
    sample = features[:: max(1, len(features) // 500)]
    distances = pdist(sample, "cityblock")
    width = float(np.median(distances[distances > 0])) if (distances > 0).any() else 1.0
    grid = {
        "gamma": (1.0 / (width * 2.0 ** np.arange(-1, 6))).tolist(),
        "alpha": [1e-10, 1e-7, 1e-4, 1e-2],
    }
    folds = KFold(n_splits=5, shuffle=True, random_state=0)
    return GridSearchCV(
        KernelRidge(kernel="laplacian"), grid, scoring="neg_mean_absolute_error", cv=folds
    )


BASELINES: dict[
    str,
    tuple[Callable[[Sequence[Molecule]], Representation], Callable[[Features], Any]],
] = {
    "mean": (_Counts, _mean),
    "atom counts": (_Counts, _least_squares),
    "kernel ridge, coulomb": (_SortedCoulomb, _kernel_ridge),
    "kernel ridge, bonds": (_BagOfBonds, _kernel_ridge),
}


class Baseline:
    """A baseline fitted to training molecules and their targets (M,) or (M, T).

    ``estimator`` is the fitted scikit-learn one.

    Raises SettingsError for a name that does not exist, InputError for fewer than five
    molecules or a target that is not finite.
    """

    def __init__(
        self, name: str, molecules: Sequence[Molecule], targets: NDArray[np.float64]
    ) -> None:
        if name not in BASELINES:
            raise SettingsError(f"no baseline {name!r}; there are {', '.join(BASELINES)}")
        if len(molecules) < 5:
            raise InputError(f"a baseline needs at least five molecules, got {len(molecules)}")
        if not np.isfinite(targets).all():
            raise InputError("a target of the baseline is not a finite number: leave its row out")
        self.name = name
        represent, estimator = BASELINES[name]
        self._represent = represent(molecules)
        features = self._represent(molecules)
        # kernels give back the mean far from all data, so it is taken off
        self._offset = targets.mean(axis=0) if "kernel" in name else np.zeros_like(targets[0])
        self.estimator = estimator(features).fit(features, targets - self._offset)

    def predict(self, molecules: Sequence[Molecule]) -> NDArray[np.float64]:
        """(M,) or (M, T); InputError for a molecule beyond the training molecules' layout.

        Returns
        -------
        (M,) or (M, T) array
            In the targets' units.
        """
        predicted = self.estimator.predict(self._represent(molecules)) + self._offset
        return np.asarray(predicted, dtype=np.float64)
