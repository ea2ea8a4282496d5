"""Latency of a 5 s request that arrives during one of 60 s, against each of them alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks import models
from benchmarks.measure import Figure, summarised
from contract import SamplingOptions
from models.base import Row, Text
from runners.scheduler import Scheduler, Ticket

ARRIVAL_TURN = 3  # scheduler turns after the long request began


def measure(rounds: int) -> Iterator[Figure]:
    model = models.ace_step()
    long, short = Row(Text("long"), 60.0, SamplingOptions(seed=1)), Row(Text("short"), 5.0, SamplingOptions(seed=2))

    def served(first: Row, then: Row | None = None) -> dict[int, float]:
        """CPU time from arrival to answer, by the id of the row."""
        scheduler = Scheduler(model)
        begun: dict[Ticket, float] = {scheduler.add(first): time.process_time()}
        answered: dict[int, float] = {}
        turns = 0
        while scheduler.tickets:
            for ticket, track in scheduler.run_slice():
                assert not isinstance(track, Exception), track
                answered[id(ticket.row)] = time.process_time() - begun[ticket]
            turns += 1
            if then and turns == ARRIVAL_TURN:
                begun[scheduler.add(then)] = time.process_time()
        return answered

    waits, delays = [], []
    for number in range(rounds + 1):
        alone_short, alone_long = served(short)[id(short)], served(long)[id(long)]
        both = served(long, short)
        if number:
            waits.append(both[id(short)] / alone_short)
            delays.append(both[id(long)] / alone_long)
    for name, target, values in (
        ("a request of 5 s early in one of 60 s / alone", "≤ 1.5", waits),
        ("what it costs the one of 60 s / alone", "≤ 1.25", delays),
    ):
        yield summarised(f"ACE-Step: {name}", target, values)
