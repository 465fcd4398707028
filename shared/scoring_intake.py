"""Takes in the scoring log: every batch of messages is kept word for word, and its calls are added to their minutes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from shared import scoring_log
from shared.ports import ScoringArchive, ScoringLog
from shared.scoring_log import Call, Entry


@dataclasses.dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch: where it is kept, how many calls it tells of, and why messages are none, by number."""

    name: str
    calls: int
    rejected: dict[int, str]


class ScoringIntake:
    """The way of a batch.  Received again, whole or in part, it changes nothing that is there."""

    def __init__(self, hub: str, archive: ScoringArchive, log: ScoringLog) -> None:
        self._hub, self._archive, self._log = hub, archive, log

    def take(self, entries: Sequence[Entry]) -> Taken:
        """Take in a batch of one partition, in the order of its sequence numbers.

        Raises Unavailable when it is not known to be kept and counted: the same batch must come again.  What is no
        call is kept with the reason and raises nothing: it would be none the next time too.
        """
        calls: list[tuple[int, Call]] = []
        rejected: dict[int, str] = {}
        for entry in entries:
            try:
                calls.append((entry.sequence, scoring_log.read(entry.body)))
            except ValueError as error:
                rejected[entry.sequence] = str(error)
        name = scoring_log.blob_name(self._hub, entries[0])
        self._archive.keep(name, entries[-1].sequence, scoring_log.blob(entries, rejected))
        self._log.fold(entries[0].partition, calls)
        return Taken(name, len(calls), rejected)
