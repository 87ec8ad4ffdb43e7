"""What the tries at one molecule have come to: which rung is next, and the answer in the end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from hpcml.generation.protocol.messages import Answer, Question, Try, TryEnded
from hpcml.generation.protocol.task import TRIED_AGAIN


class MoleculeTries:
    """A question, and what its tries have come to.

    answer   once there is one
    """

    def __init__(self, question: Question, tries: int) -> None:
        self.question = question
        self.answer: Answer | None = None
        self._most = 1 if question.member is not None else tries
        self._rung = question.rung
        self._tries = 0
        self._start = self._busy = 0.0
        self._repeated = False

    def to_be_tried_with(self, others: Sequence[MoleculeTries]) -> list[MoleculeTries]:
        """The first of these, which are this one and those after it, to be tried together.

        What has failed is tried alone.
        """
        if self._tries:
            return [self]
        return list(takewhile(lambda one: not one._tries, others))

    def next_try(self) -> Try:
        question = self.question
        return Try(question.molecule, self._rung, question.member, question.whole)

    def tried(self, ended: TryEnded) -> None:
        """Take note of how a try ended."""
        self._tries += 1
        self._busy += ended.end - ended.start
        self._start = self._start or ended.start
        error = ended.error
        if error is None or error.cause not in TRIED_AGAIN or self._tries == self._most:
            self.answer = Answer(
                error, ended.values, self._tries, self._start, ended.end, self._busy
            )
            return
        self._repeated = error.by_signal and not self._repeated
        self._rung += not self._repeated
