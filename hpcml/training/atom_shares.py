"""What the data set assigns to each atom, as auxiliary targets of the network's atomic terms.

The loss of a step gains ``share_weight`` times the mean, over the atoms and targets of the global
batch whose share is known, of the loss of (atomic term - share) / spread of the shares.  An atomic
term holds the reference of its element, as it does in the prediction.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpcml.errors import InputError
from hpcml.store.rows import ranges
from hpcml.training.data import TrainingData
from hpcml.training.optimization import masked_loss
from hpcml.training.train_settings import TrainSettings


class AtomShares:
    """The shares of the targets for all atoms of the training data.

    values    (A, T) in the targets' units; NaN where an atom has no share of a target
    scale     (T,) standard deviation of the shares over the training set's atoms
    """

    def __init__(
        self, settings: TrainSettings, data: TrainingData, train: NDArray[np.int64]
    ) -> None:
        """InputError where the training rows have no share of a target."""
        self._kind, self._cuts = settings.loss, data.rows.atom_offsets
        columns = [data.rows.column(target.share_name) for target in data.targets]
        self.values = np.stack(columns, axis=1)
        self._known = np.isfinite(self.values)
        learned = self.of(train)
        for target, known in zip(data.targets, np.isfinite(learned).T, strict=True):
            if not known.any():
                raise InputError(
                    f"no training row has a value of {target.share_name}: "
                    "leave train.share_weight out"
                )
        spread = np.nanstd(learned, axis=0)
        flat = spread <= 1e-12 * (1.0 + np.abs(np.nanmean(learned, axis=0)))
        self.scale = np.where(flat, 1.0, spread)
        self._scale = torch.from_numpy(self.scale).to(settings.device)
        self._numbers = torch.zeros(len(spread), dtype=torch.bool, device=settings.device)

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The shares of the atoms of some rows, end to end.

        Parameters
        ----------
        rows : (b,) integer array

        Returns
        -------
        (a, T) float64 array
        """
        return np.asarray(self.values[ranges(self._cuts, rows)])

    def weight(self, rows: NDArray[np.int64]) -> float:
        """Known shares of some rows, a target; one where there are none, whose loss is zero.

        Parameters
        ----------
        rows : (b,) integer array
        """
        known = self._known[ranges(self._cuts, rows)]
        return float(known.sum() / known.shape[1]) or 1.0

    def loss(self, terms: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Sum over the atoms of some rows of the mean over targets; no loss without a share.

        Parameters
        ----------
        terms : (a, T) Tensor
            The network's atomic terms in the targets' units.
        rows : (b,) integer array

        Returns
        -------
        () Tensor
        """
        shares = torch.from_numpy(self.of(rows)).to(terms.device)
        return masked_loss(self._kind, terms, shares, scale=self._scale, yes_or_no=self._numbers)

    def errors(self, terms: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The mean absolute error over the atoms that have a share; NaN where none has.

        Parameters
        ----------
        terms : (a, T) array
            Atomic terms of these rows.
        rows : (b,) integer array

        Returns
        -------
        (T,) array
            In the targets' units.
        """
        shares = self.of(rows)
        known = np.isfinite(shares)
        absolute = np.where(known, np.abs(terms - shares), 0.0).sum(axis=0)
        with np.errstate(invalid="ignore"):
            return np.asarray(absolute / known.sum(axis=0))
