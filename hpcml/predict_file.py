"""A trained network's word on molecules from outside, with a warning where it reaches too far."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from hpcml.errors import InputError
from hpcml.files import storage_error, text_of_cell
from hpcml.models import Batch, collate, example
from hpcml.molecules import Defect, Molecule, read
from hpcml.progress import Advance, progress, silent, tell
from hpcml.relevance import LEDGER, ExplainSettings
from hpcml.relevance.of_ensemble import mean_relevance
from hpcml.relevance.rule_choice import with_rule
from hpcml.store import Dataset
from hpcml.training import Ensemble, applicability, levels, load_ensemble
from hpcml.training.model_folder import ModelFolder

_MOST_MOLECULES = 64
_MOST_PAIRS = 100_000
"""Of one batch: what fits the memory of a small machine with an ensemble's relevances."""
_SUFFIXES_WITHOUT_GEOMETRY = (".smi", ".csv", ".tsv")


@dataclass(frozen=True)
class _Record:
    """A molecule, and the level of the values it came with, where it came with any."""

    molecule: Molecule
    level: str = ""

    @property
    def name(self) -> str:
        return self.molecule.name or self.molecule.formula


def predict_file(
    model_folder: Path,
    source: Path,
    destination: Path | None = None,
    *,
    explain: ExplainSettings | None = None,
) -> list[str]:
    """Write predictions for the molecules of a file or a data set as CSV, batch by batch.

    Columns: name, key, one of each target headed by "label [unit]", for an ensemble (whose mean
    it is) also one of each headed by "uncertainty label [unit]" (one standard deviation,
    calibrated), the level of theory that was learned, and warnings (applicability).  With
    ``explain`` also the rule and, for the first target and in its unit, what the ledger holds
    beside the atoms, and the relevance of each atom as "C:1.25 H:0.31 ..." in the molecule's own
    order: alone, and with what its own biases, steps and reference say.  The rule "auto" is the
    one that was found for this network (``hpcml calibrate``), and gamma where nobody has looked.

    model_folder    of a run, or of a published ANI in NeuroChem's files
    destination     a file, opened before anything is computed; None: the screen

    Returns one line for each molecule that has no prediction.
    """
    if explain is not None:
        explain = with_rule(explain, ModelFolder(model_folder))
    ensemble = load_ensemble(model_folder)
    records, total = _records(source)
    predictor = _Predictor(ensemble, source, explain)
    warned, written, tried = 0, 0, 0
    with _opened(destination) as out, ExitStack() as stack:
        advance: Advance = silent
        if destination is not None:  # on the screen the rows themselves show how far it is
            advance = stack.enter_context(progress("predict", total))
        table = csv.writer(out, lineterminator="\n")
        table.writerow(predictor.heading)
        for batch in _batches(predictor.without_defects(records)):
            for row in predictor.rows(batch):
                warned += bool(row[predictor.heading.index("warnings")])
                table.writerow(row)
                written += 1
            out.flush()
            tried += len(batch)
            advance(tried)
    if warned and destination is not None:
        print(
            f"{warned} of {written} predictions reach beyond what the network has seen: the column "
            f"warnings of {destination} says how",
            file=sys.stderr,
        )
    failed = f", {len(predictor.failed)} failed" if predictor.failed else ""
    beyond = f", {warned} beyond what was learned" if warned else ""
    where = f"; in {destination}" if destination is not None else ""
    tell(f"predict: {written} molecules by {model_folder}{failed}{beyond}{where}")
    return predictor.failed


class _Predictor:
    """Rows of the table for batches of molecules.

    failed    one line for each molecule that has no row
    """

    def __init__(self, ensemble: Ensemble, source: Path, explain: ExplainSettings | None) -> None:
        self.failed: list[str] = []
        self._ensemble = ensemble
        self._source = source
        self._explain = explain
        self._geometry_made = source.suffix.lower() in _SUFFIXES_WITHOUT_GEOMETRY
        self._dtype = next(ensemble.models[0].parameters()).dtype

    @property
    def heading(self) -> list[str]:
        """Names of the columns."""
        info = self._ensemble.info
        targets = [f"{label} [{unit}]" for label, unit in zip(info.labels, info.units, strict=True)]
        calibrated = self._ensemble.factors is not None
        return [
            *("name", "key", *targets),
            *(f"uncertainty {target}" for target in targets if calibrated),
            *("level", *(["rule"] if self._explain else []), "warnings"),
            *([*LEDGER, "relevance", "with_own_terms"] if self._explain else []),
        ]

    def without_defects(self, records: Iterable[_Record | Defect]) -> Iterator[_Record]:
        """The records that are molecules; of the others it is noted that they failed."""
        for record in records:
            if isinstance(record, Defect):
                self.failed.append(str(record))
            else:
                yield record

    def rows(self, records: list[_Record]) -> list[list[str]]:
        """A row for each molecule that the networks can take, in order."""
        ensemble, molecules = self._ensemble, [record.molecule for record in records]
        try:
            inputs = ensemble.models[0].inputs
            batch = collate([example(one, inputs) for one in molecules], self._dtype)
            values = [each for each in ensemble.of_batch(batch) if each is not None]
            reasons = self._reasons(batch, molecules)
        except InputError as error:
            if len(records) == 1:
                self.failed.append(f"{self._source}: {records[0].name}: {error}")
                return []
            half = len(records) // 2
            return [*self.rows(records[:half]), *self.rows(records[half:])]
        rows = []
        for place, record in enumerate(records):
            numbers = [f"{value:.8g}" for each in values for value in each[place]]
            warnings = applicability(
                ensemble.info, record.molecule, record.level, geometry_made=self._geometry_made
            )
            row = [text_of_cell(record.name), record.molecule.key, *numbers, ensemble.info.level]
            row += [self._explain.rule] if self._explain else []
            rows.append([*row, "; ".join(warnings), *reasons[place]])
        return rows

    def _reasons(self, batch: Batch, molecules: list[Molecule]) -> list[list[str]]:
        """The ledger's terms, and each atom's relevance in words; of an ensemble the members'
        mean."""
        if self._explain is None:
            return [[] for _ in molecules]
        found = mean_relevance(self._ensemble.models, batch, self._explain)
        ends = np.cumsum([len(molecule) for molecule in molecules])[:-1]
        atoms, booked = np.split(found.atoms, ends), np.split(found.booked, ends)
        lines = zip(molecules, found.ledger, atoms, booked, strict=True)
        return [
            [*(f"{term:.8g}" for term in terms), _by_atom(one, alone), _by_atom(one, with_own)]
            for one, terms, alone, with_own in lines
        ]


def _by_atom(molecule: Molecule, values: NDArray[np.float64]) -> str:
    """ "C:1.25 H:0.31 ...", in the molecule's own order."""
    pairs = zip(molecule.symbols, values, strict=True)
    return " ".join(f"{symbol}:{value:.6g}" for symbol, value in pairs)


def _records(source: Path) -> tuple[Iterator[_Record | Defect], int | None]:
    """Molecules of a file or a data set, and how many there are, where that is known."""
    if source.is_dir():
        dataset = Dataset.open(source, verified=True)
        pairs = zip(dataset.molecules, levels(dataset), strict=True)
        return (_Record(molecule, level) for molecule, level in pairs), len(dataset)
    found = read(source)
    return (one if isinstance(one, Defect) else _Record(one) for one in found), None


def _batches(records: Iterable[_Record]) -> Iterator[list[_Record]]:
    """Molecules that are computed together, in their order."""
    batch: list[_Record] = []
    pairs = 0
    for record in records:
        size = len(record.molecule) ** 2
        if batch and (len(batch) == _MOST_MOLECULES or pairs + size > _MOST_PAIRS):
            yield batch
            batch, pairs = [], 0
        batch.append(record)
        pairs += size
    if batch:
        yield batch


@contextmanager
def _opened(destination: Path | None) -> Iterator[TextIO]:
    """The file to write into, or the screen; what the disk refuses becomes a clear line."""
    if destination is None:
        yield sys.stdout
        return
    try:
        with destination.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise storage_error(error, f"cannot write {destination}") from error
