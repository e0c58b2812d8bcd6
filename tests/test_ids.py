"""Names are never given twice: not to threads, and not to a copy of the process."""

import os
import threading

from tildawn.clock import SystemClock
from tildawn.ids import Ids, SystemEntropy


def test_threads_never_share_a_name() -> None:
    """The pool of random parts is taken from by all of them."""
    ids = Ids(SystemClock())
    made: list[str] = []

    def make() -> None:
        made.extend(ids.new() for _ in range(2_000))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 8_000


def test_a_copy_of_the_process_draws_other_bytes() -> None:
    """What was pooled before the copy was made belongs to one of the two."""
    entropy = SystemEntropy()
    entropy(10)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, entropy(10))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    theirs = os.read(reading, 10)
    os.close(reading)

    assert theirs not in {entropy(10) for _ in range(200)}
