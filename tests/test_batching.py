"""How requests come to share a batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

from runners import batching
from runners.batching import Batcher
from runners.messages import TrackAnswer, TrackRequest


def _request(seconds: float = 1.0, seed: int = 0) -> TrackRequest:
    return TrackRequest(prompt="x", seconds=seconds, seed=seed)


class _Model:
    """Makes batches when it is let, and remembers them; a track's rate is its request's seed."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)

    def __call__(self, requests: Sequence[TrackRequest]) -> list[TrackAnswer]:
        self.batches.append([request.seed for request in requests])
        self.begun.release()
        assert self.go.wait(30)
        if any(request.prompt == "break" for request in requests):
            raise RuntimeError("out of memory")
        return [TrackAnswer(sample_rate=request.seed) for request in requests]


async def _started(model: _Model) -> None:
    assert await asyncio.to_thread(model.begun.acquire, timeout=30)


def test_a_lone_request_starts_at_once_and_those_that_wait_go_together() -> None:
    async def scenario() -> None:
        model = _Model()
        batcher = Batcher(model)
        first = asyncio.create_task(batcher.submit(_request(seed=1)))
        await _started(model)
        rest = [asyncio.create_task(batcher.submit(_request(seed=seed))) for seed in range(2, 12)]
        await asyncio.sleep(0)
        model.go.set()
        answers = await asyncio.gather(first, *rest)
        assert [answer.sample_rate for answer in answers] == list(range(1, 12))
        assert model.batches == [[1], list(range(2, 10)), [10, 11]]

    asyncio.run(scenario())


def test_a_batch_holds_only_so_many_seconds() -> None:
    async def scenario() -> None:
        model = _Model()
        model.go.set()
        batcher = Batcher(model)
        lengths = [batching.MOST_SECONDS + 1, 400, 200, 1]
        await asyncio.gather(*(batcher.submit(_request(s, seed)) for seed, s in enumerate(lengths)))
        assert model.batches == [[0], [1, 2], [3]]

    asyncio.run(scenario())


def test_who_goes_away_gives_its_place_up() -> None:
    async def scenario() -> None:
        model = _Model()
        batcher = Batcher(model)
        first = asyncio.create_task(batcher.submit(_request(seed=1)))
        await _started(model)
        gone, stays = (asyncio.create_task(batcher.submit(_request(seed=seed))) for seed in (2, 3))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        model.go.set()
        await asyncio.gather(first, stays)
        assert model.batches == [[1], [3]]

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once() -> None:
    async def scenario() -> None:
        model = _Model()
        batcher = Batcher(model)
        tasks = [asyncio.create_task(batcher.submit(_request(seed=1)))]
        await _started(model)
        tasks += [asyncio.create_task(batcher.submit(_request(seed=1))) for _ in range(batching.MOST_WAITING)]
        await asyncio.sleep(0)
        refused = await asyncio.wait_for(batcher.submit(_request()), 5)
        assert refused.status == 503 and "try again" in str(refused.error)
        model.go.set()
        assert all(answer.error is None for answer in await asyncio.gather(*tasks))

    asyncio.run(scenario())


def test_a_batch_that_fails_is_answered_and_the_next_one_runs() -> None:
    async def scenario() -> None:
        model = _Model()
        model.go.set()
        batcher = Batcher(model)
        broken = await batcher.submit(_request().model_copy(update={"prompt": "break"}))
        assert broken.status == 500 and "out of memory" not in str(broken.error)
        assert (await batcher.submit(_request(seed=7))).sample_rate == 7

    asyncio.run(scenario())
