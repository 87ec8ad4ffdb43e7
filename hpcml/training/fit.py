"""The training loop: the same steps, and within rounding the same losses, on any ranks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpcml.models import Batch, Network
from hpcml.store.rows import ranges
from hpcml.training.atom_shares import AtomShares
from hpcml.training.checkpoint import Progress, State
from hpcml.training.data import TrainingData, epoch_batches, share_of_rank
from hpcml.training.optimization import (
    learning_rate,
    make_optimizer,
    masked_loss,
    update_average,
)
from hpcml.training.synchronized import synchronize_batch_norms
from hpcml.training.targets import all_told
from hpcml.training.train_settings import TrainSettings
from hpcml.training.world import World


class Stopped(Exception):  # noqa: N818  no error: the run was asked to stop, and can go on
    """The run was asked to end early; what is done is saved."""


class Fit:
    """One network on its way from first weights to best weights, which it owns; it writes no file.

    data          all rows; train and validation are numbers of rows
    model         is trained, in place
    judged        a second network of the same build, which takes the weights to be validated
    scale         (T,), in the targets' units: errors are divided by it in the loss
    progress      where to begin; kept up to date
    shares        what the atomic terms are to agree with; None where ``share_weight`` is zero

    The loss of a step is the sum over the global batch divided by its known values, on whichever
    ranks the molecules lie, so that an uneven division changes nothing.  A target that a row has
    no value of is no part of it.  The loss of the atomic terms, where there is one, is divided in
    the same way by the known shares of the global batch; the training loss that is told, and the
    validation error by which weights are kept, are the molecules' alone.
    """

    def __init__(
        self,
        settings: TrainSettings,
        world: World,
        data: TrainingData,
        *,
        model: Network,
        judged: Network,
        train: NDArray[np.int64],
        validation: NDArray[np.int64],
        scale: NDArray[np.float64],
        progress: Progress,
    ) -> None:
        self.settings = settings
        self.world = world
        self.model = model
        self.data = data
        self.train = train
        self.validation = validation
        self.scale = scale
        self.progress = progress
        self.predictor = Predictor(settings, world, judged, data)
        self._begun = time.perf_counter()

        torch.backends.cuda.matmul.allow_tf32 = settings.precision == "tf32"
        prepare(model, settings)
        if progress.model:
            model.load_state_dict(progress.model)
        self._optimizer = make_optimizer(settings, model.parameters())
        if progress.optimizer:
            self._optimizer.load_state_dict(progress.optimizer)
        if world.size > 1 and settings.batch_norm == "synchronized":
            synchronize_batch_norms(model, world)
        self._gradients = world.gradients(model.named_parameters())
        self._average: dict[str, Tensor] = {}
        if settings.average_decay:
            start = progress.average or model.state_dict()
            self._average = {n: value.clone().to(settings.device) for n, value in start.items()}
        self._values = torch.from_numpy(data.values).to(settings.device)
        self._scale = torch.from_numpy(scale).to(settings.device)
        self._known = np.isfinite(data.values)
        self.shares = AtomShares(settings, data, train) if settings.share_weight else None
        yes_or_no = [target.yes_or_no for target in data.targets]
        self._yes_or_no = torch.tensor(yes_or_no, device=settings.device)

    def run(
        self,
        save: Callable[[Progress], None],
        tell: Callable[[Progress], None],
        tick: Callable[[int], None] = lambda done: None,
        stop: Callable[[], bool] = lambda: False,
        keep: Callable[[int, State], None] = lambda epoch, weights: None,
    ) -> State:
        """Train until the epochs are done, or validation no longer improves; the best weights.

        save    called with the progress at every checkpoint, by every rank at the same step
        tell    called with the progress after every epoch
        tick    called with the number of steps done after every one of them
        stop    asked at every checkpoint whether to end early; raises Stopped if any rank's says so
        keep    called with the number and the validated weights of each epoch that is to be kept,
                before the checkpoint of its end, so that none is missed however the run ends
        """
        settings, progress = self.settings, self.progress

        def checkpoint() -> None:
            self._update_progress()
            save(progress)
            if float(self.world.sum(torch.tensor([float(stop())]))):
                raise Stopped

        while not self._finished():
            batches = self._batches()
            self.model.train()
            loss_sum = torch.zeros(1, dtype=torch.float64, device=settings.device)
            for step in range(progress.step, len(batches)):
                loss_sum += self._step(batches[step], step, len(batches))
                steps = progress.epoch * len(batches) + step + 1
                due = steps % settings.checkpoint_steps == 0
                if step + 1 == len(batches):
                    break
                tick(steps)
                if due:
                    progress.loss_sum += float(self.world.sum(loss_sum))
                    loss_sum.zero_()
                    progress.step = step + 1
                    checkpoint()
            progress.loss_sum += float(self.world.sum(loss_sum))
            self._finish_epoch()
            if progress.epoch in settings.keep_epochs:
                keep(progress.epoch, _copy(self.predictor.model.state_dict()))
            if due or self._finished():
                checkpoint()
            tell(progress)
            tick(steps)
        return progress.best

    @property
    def steps_of_epoch(self) -> int:
        """Batches between two validations."""
        return ceil(len(self.train) / self.settings.batch_size) * self.settings.passes

    def _batches(self) -> list[NDArray[np.int64]]:
        settings, epoch = self.settings, self.progress.epoch
        passes = range(epoch * settings.passes, (epoch + 1) * settings.passes)
        found = [
            epoch_batches(self.train, settings.batch_size, settings.seed, number)
            for number in passes
        ]
        return [batch for batches in found for batch in batches]

    def _finished(self) -> bool:
        progress, patience = self.progress, self.settings.patience
        enough = bool(patience) and progress.waited >= patience
        return enough or progress.epoch >= self.settings.epochs

    def _step(self, batch: NDArray[np.int64], step: int, steps: int) -> Tensor:
        """One move of the weights; this rank's part of the sum of losses, (1,)."""
        settings, world = self.settings, self.world
        torch.manual_seed(_seed(settings.seed, self.progress.epoch, step, world.rank))
        if len(batch) >= world.size:
            rows, copies = share_of_rank(batch, self.data.atoms, world.rank, world.size), 1
        else:  # too few to deal out: every rank computes all of them, each for its share
            rows, copies = batch, world.size
        if self.shares is None:
            output = self.predictor.forward(self.model, rows)
        else:
            output, terms = self.predictor.forward_terms(self.model, rows)
        loss = self._loss(output, self._values[rows]) / copies
        objective = loss / self._weight(batch)
        if self.shares is not None:
            of_atoms = self.shares.loss(terms, rows) / copies / self.shares.weight(batch)
            objective = objective + settings.share_weight * of_atoms
        self._optimizer.zero_grad(set_to_none=True)
        objective.backward()
        self._gradients.reduce()
        if settings.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate((step + 1) / steps)
        self._optimizer.step()
        self.model.constrain()
        if self._average:
            update_average(self._average, self.model.state_dict(), settings.average_decay)
        return loss.detach()

    def _loss(self, output: Tensor, values: Tensor) -> Tensor:
        return masked_loss(
            self.settings.loss, output, values, scale=self._scale, yes_or_no=self._yes_or_no
        )

    def _weight(self, rows: NDArray[np.int64]) -> float:
        """Known values of the rows for each target: their number where nothing is missing."""
        return float(self._known[rows].sum() / self._known.shape[1])

    def _rate(self, part_of_epoch: float) -> float:
        progress = self.progress
        return learning_rate(self.settings, progress.epoch + part_of_epoch, progress.reductions)

    def _finish_epoch(self) -> None:
        """Validate, enter the epoch into the curve, keep the weights if none were better."""
        progress = self.progress
        judged = self.predictor.model
        judged.load_state_dict(self._average or self.model.state_dict())
        error, absolute = self._judge(self.predictor(self.validation))
        loss = progress.loss_sum / (self._weight(self.train) * self.settings.passes)
        rate = self._rate(1.0)
        progress.epoch += 1
        progress.step = 0
        progress.loss_sum = 0.0
        of_atoms = self.share_errors(self.validation).tolist()
        progress.curve.append([float(progress.epoch), rate, loss, *absolute.tolist(), *of_atoms])
        if error < progress.best_error:
            progress.best_error = error
            progress.best = _copy(judged.state_dict())
            progress.waited = progress.since_reduction = 0
            return
        progress.waited += 1
        progress.since_reduction += 1
        if progress.since_reduction >= self.settings.decay_epochs:
            progress.reductions += 1
            progress.since_reduction = 0

    def _judge(self, output: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The error of validation by which weights are kept, and the MAE of each target, (T,).

        It is the mean over the targets with values there, of the scaled MAE or, of yes-or-no
        targets, the cross-entropy.
        """
        values = self.data.values[self.validation]
        known = np.isfinite(values)
        absolute = np.abs(all_told(self.data.targets, output) - values)
        counts = known.sum(axis=0)
        with np.errstate(invalid="ignore"):
            mae = np.where(known, absolute, 0.0).sum(axis=0) / counts
            likely = np.logaddexp(0.0, np.where(values > 0.5, -output, output))
            entropy = np.where(known, likely, 0.0).sum(axis=0) / counts
        judged = np.where(self._yes_or_no.cpu().numpy(), entropy, mae / self.scale)
        return float(judged[counts > 0].mean()), mae

    def share_errors(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The MAE of the judged network's atomic terms; every rank calls it.

        Parameters
        ----------
        rows : (n,) integer array

        Returns
        -------
        (T,) array
            In the targets' units, NaN where no atom has a share; (0,) without ``shares``.
        """
        if self.shares is None:
            return np.empty(0)
        return self.shares.errors(self.predictor.atomic_terms(rows), rows)

    def _update_progress(self) -> None:
        """Bring into ``progress`` what is held elsewhere while training."""
        progress = self.progress
        now = time.perf_counter()
        progress.seconds += now - self._begun
        self._begun = now
        progress.loading_seconds += self.predictor.loading_seconds
        self.predictor.loading_seconds = 0.0
        progress.model = _copy(self.model.state_dict())
        progress.average = _copy(self._average)
        progress.optimizer = self._optimizer.state_dict()


class Predictor:
    """Predictions of rows of the data: on one rank with gradients, or by all ranks without.

    loading_seconds    spent on making batches so far
    """

    def __init__(
        self, settings: TrainSettings, world: World, model: Network, data: TrainingData
    ) -> None:
        self.settings = settings
        self.world = world
        self.model = model
        self.data = data
        self.loading_seconds = 0.0
        self._dtype = torch.float64 if settings.precision == "float64" else torch.float32
        prepare(model, settings)

    def forward(self, model: Network, rows: NDArray[np.int64]) -> Tensor:
        """The network's word on some rows, on the settings' device and with gradients where wanted.

        Parameters
        ----------
        rows : (b,) integer array

        Returns
        -------
        (b, T) Tensor
            Float64, in the targets' units.
        """
        batch = self._batch(rows)
        with self._arithmetic():
            output: Tensor = model(batch)
        return output.double()

    def forward_terms(self, model: Network, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """As ``forward``, and what each atom adds to it; of a network that is a sum over atoms.

        Parameters
        ----------
        rows : (b,) integer array

        Returns
        -------
        (b, T) Tensor, (a, T) Tensor
            Predictions and atomic terms, float64, in the targets' units.
        """
        batch = self._batch(rows)
        with self._arithmetic():
            terms = model.atomic_terms(batch)
        terms = terms.double()
        nothing = terms.new_zeros(batch.size, terms.shape[1])
        return nothing.index_add(0, batch.molecule, terms), terms

    def _batch(self, rows: NDArray[np.int64]) -> Batch:
        begun = time.perf_counter()
        batch = self.data.examples.batch(rows, self._dtype).to(self.settings.device)
        self.loading_seconds += time.perf_counter() - begun
        return batch

    def _arithmetic(self) -> AbstractContextManager[object]:
        if self.settings.precision == "bfloat16":
            return torch.autocast(self.settings.device, torch.bfloat16)
        return nullcontext()

    def __call__(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(len(rows), T) by ``self.model``: shared among the ranks, known to all of them."""
        found = torch.zeros(len(rows), self.data.values.shape[1], dtype=torch.float64)
        self.model.eval()
        with torch.no_grad():
            for places in self._my_places(rows):
                found[torch.from_numpy(places)] = self.forward(self.model, rows[places]).cpu()
        return self.world.sum(found).numpy()

    def atomic_terms(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """What each atom of these rows adds to the prediction, by ``self.model``; on all ranks.

        Parameters
        ----------
        rows : (b,) integer array

        Returns
        -------
        (a, T) float64 array
            In the targets' units.
        """
        cuts = np.concatenate([[0], np.cumsum(self.data.atoms[rows])])
        found = torch.zeros(int(cuts[-1]), self.data.values.shape[1], dtype=torch.float64)
        self.model.eval()
        with torch.no_grad():
            for places in self._my_places(rows):
                _, terms = self.forward_terms(self.model, rows[places])
                found[torch.from_numpy(ranges(cuts, places))] = terms.cpu()
        return self.world.sum(found).numpy()

    def _my_places(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Places in ``rows`` that this rank computes, batch by batch."""
        mine = share_of_rank(
            np.arange(len(rows)), self.data.atoms[rows], self.world.rank, self.world.size
        )
        size = self.settings.batch_size
        return (mine[start : start + size] for start in range(0, len(mine), size))


def prepare(model: nn.Module, settings: TrainSettings) -> None:
    """Bring the network to its device and precision, in place."""
    model.to(settings.device)
    if settings.precision == "float64":
        model.double()


def _seed(*numbers: int) -> int:
    """A seed of its own for every step and rank, so that no generator's state need be saved."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _copy(state: dict[str, Tensor]) -> State:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
