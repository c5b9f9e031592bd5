"""A code location of five-op jobs that do next to nothing, for measuring what surrounds the ops.

As a program it is a warm worker of this location: `python -m benchmarks.five_location`. It is called `core`, so that
it takes messages too, without the models and the memory that the real one connects to.
"""

import signal
import threading
import time

import dagster as dg


def _op(name: str, wait_s: float = 0.0) -> dg.OpDefinition:
    @dg.op(name=name, ins={"value": dg.In(int)})
    def add(value: int) -> int:
        if wait_s:
            time.sleep(wait_s)
        return value + 1

    return add


@dg.op
def first() -> int:
    return 1


_ops = [_op(name) for name in ("second", "third", "fourth", "fifth")]
_slow = _op("third_waiting", wait_s=0.3)


@dg.job
def five() -> None:
    """Five ops that hand a number on."""
    value = first()
    for each in _ops:
        value = each(value)


@dg.job(executor_def=dg.in_process_executor)
def five_in_process() -> None:
    """The same under stock Dagster's in-process executor."""
    value = first()
    for each in _ops:
        value = each(value)


@dg.job
def five_waiting() -> None:
    """The same with 300 ms of waiting in the third op, as for a model."""
    value = first()
    for each in (_ops[0], _slow, *_ops[2:]):
        value = each(value)


defs = dg.Definitions(jobs=[five, five_in_process, five_waiting])


def main() -> None:
    """Work until SIGTERM."""
    import importlib.metadata

    from integrations import telemetry
    from integrations.settings import Settings
    from orchestration.commands.dispatch import Dispatcher
    from orchestration.warm import assembly
    from orchestration.warm.location import load_location
    from orchestration.warm.routing import CORE
    from orchestration.warm.runs import Runtime
    from orchestration.warm.worker import Worker, worker_id

    settings = Settings()
    telemetry.setup("worker", log_level=settings.telemetry.log_level)
    runtime = Runtime(
        settings=settings,
        database=assembly.open_database(settings),
        instance=assembly.open_instance(settings),
        location=load_location(settings, CORE),
        worker=worker_id(CORE),
        version=importlib.metadata.version("runbell"),
    )
    assembly.Publishing(runtime.database, runtime.location)()
    dispatcher = Dispatcher(runtime.database, settings, location=CORE, worker=runtime.worker)
    worker = Worker(runtime, dispatcher).start()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    worker.drain(grace_s=2)


if __name__ == "__main__":
    main()
