"""What a guarded call costs where it works at once, beside policies of others, round by round.

What it is not: a call.  Nothing is sent and nothing is committed; the two commits of ours are in
the workload ``door``.
"""

import asyncio
import gc
import statistics
from collections.abc import Awaitable, Callable
from time import perf_counter_ns

from benchmarks.child import Order
from benchmarks.contenders.guards import Guarded, breaker, in_memory


BATCH = 200


async def work() -> int:
    """Do nothing."""
    return 1


def measure(order: Order) -> dict[str, float]:
    """Microseconds of one call by each, the median of all rounds."""
    return asyncio.run(_measure(order))


async def _measure(order: Order) -> dict[str, float]:
    guarded: dict[str, Guarded] = {
        "ours": in_memory(order.folder / "house"),
        "rules": in_memory(order.folder / "rules", attempt=False),
        "task": _task,
        "bare": work,
    }
    for name, make in _OTHERS.items():
        try:
            guarded[name] = make()
        except ImportError:
            continue  # its row stays empty
    took: dict[str, list[float]] = {name: [] for name in guarded}
    for turn in range(order.sizes.guard_rounds + 3):
        for name, call in guarded.items():
            gc.collect()
            began = perf_counter_ns()
            for _ in range(BATCH):
                await call()
            if turn >= 3:  # the first rounds warm up
                took[name].append((perf_counter_ns() - began) / BATCH / 1e3)
    return {f"{name}_us": statistics.median(values) for name, values in took.items()}


async def _task() -> int:
    return await asyncio.get_running_loop().create_task(work())


async def _timed() -> int:
    async with asyncio.timeout(60):
        return await work()


def _tenacity(inner: Callable[[], Awaitable[object]] = work) -> Guarded:
    import tenacity  # noqa: PLC0415 - only where it is measured

    return tenacity.retry(stop=tenacity.stop_after_attempt(3), reraise=True)(inner)


def _stamina() -> Guarded:
    import stamina  # noqa: PLC0415

    return stamina.retry(on=ValueError, attempts=3)(work)


def _stack() -> Guarded:
    return _tenacity(breaker("purgatory")(_timed))


def _breaker(name: str) -> Callable[[], Guarded]:
    return lambda: breaker(name)(work)


def _pybreaker() -> Guarded:
    """Without a thread, which it would need in earnest: its own cost alone."""
    import pybreaker  # noqa: PLC0415

    made = pybreaker.CircuitBreaker(fail_max=5)(lambda: 1)

    async def guarded() -> object:
        return made()

    return guarded


_OTHERS: dict[str, Callable[[], Guarded]] = {
    "stack": _stack,
    "timeout": lambda: _timed,
    "tenacity": _tenacity,
    "stamina": _stamina,
    "purgatory": _breaker("purgatory"),
    "hyx": _breaker("hyx"),
    "aiobreaker": _breaker("aiobreaker"),
    "circuitbreaker": _breaker("circuitbreaker"),
    "interlock": _breaker("interlock-cb"),
    "pybreaker": _pybreaker,
}
