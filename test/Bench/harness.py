"""Timing of contenders in turn, the limits of the machine beside them.

Nothing is compared with a number from another run: all contenders, and the
loops that measure what a core and the memory can do, take turns in one process.
"""
import ctypes
import mmap
import os
import statistics
import subprocess
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
HUGE_PAGE = 2 << 20
MADV_HUGEPAGE = 14


def aligned(size):
    """`size` bytes on huge pages where the system gives them, all touched."""
    memory = mmap.mmap(-1, size + 2 * HUGE_PAGE,
                       mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    skip = -base % HUGE_PAGE
    if hasattr(memory, "madvise"):
        memory.madvise(MADV_HUGEPAGE)
    array = np.frombuffer(memory, np.uint8, size, skip)
    array[::4096] = 1
    return array


class Limits:
    """Measures peak arithmetic and the bandwidth of reading memory.

    `kind`: f32_256, f32_512, bf16_512 or int8_512, the instruction whose rate
    is the peak. `probes()` are thunks to be timed among the contenders.
    """

    READ = 256 << 20
    STEPS = 400_000

    def __init__(self, folder, kind, threads):
        library = os.path.join(folder, "liblimits.so")
        subprocess.run(["c++", "-O3", "-march=native", "-shared", "-fPIC",
                        os.path.join(HERE, "limits.cpp"), "-o", library,
                        "-lpthread"], check=True)
        self._library = ctypes.CDLL(library)
        self._memory = aligned(self.READ)
        self._threads = threads
        # Threads begin late: longer work hides that.
        self._steps = self.STEPS * (10 if threads > 1 else 1)
        self._peak = getattr(self._library, f"limit_{kind}")
        self._operations = self._peak(ctypes.c_int64(1), 1)
        if not self._operations:
            raise SystemExit(f"this processor has no instruction for {kind}")

    def probes(self):
        """[arithmetic, reading]."""
        return [
            lambda: self._peak(ctypes.c_int64(self._steps), self._threads),
            lambda: self._library.limit_read(
                self._memory.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_size_t(self.READ), self._threads)]

    def rates(self, times):
        """(operations per second, bytes per second) from the probes' times."""
        arithmetic, reading = (float(np.median(t)) for t in times)
        work = 12 * self._operations * self._steps * self._threads
        return work / arithmetic, self.READ / reading


def _used():
    """(CPU seconds of all processes, of this one)."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(v) for v in file.readline().split()[1:9]]
    ticks = sum(fields) - fields[3] - fields[4]
    return ticks / os.sysconf("SC_CLK_TCK"), sum(os.times()[:2])


class Watch:
    """How many cores others used while the block ran: `watch.others`."""

    def __enter__(self):
        self._begin, self._used = time.time(), _used()
        return self

    def __exit__(self, *_):
        (total, own), (total_before, own_before) = _used(), self._used
        self.others = max(0.0, (total - total_before - own + own_before) /
                          max(time.time() - self._begin, 1e-3))


def wait_for_idle(limit=0.15, patience=60):
    """Waits until others use less than `limit` cores; False: they never did."""
    end = time.time() + patience
    while time.time() < end:
        with Watch() as watch:
            time.sleep(0.5)
        if watch.others < limit:
            return True
    return False


def interleave(contenders, seconds, threads, pause=0.0, least=5):
    """Times of contenders that take turns.

    contenders: for each a list of thunks, one for each input; the input moves on
    from call to call, so nobody finds in the caches what another has fetched.
    Returns an array of seconds for each contender: the CPU's with one thread,
    which other programs disturb less, else the clock's.
    """
    clock = time.process_time if threads == 1 else time.perf_counter
    for thunks in contenders:
        for run in thunks:
            run()
    times = [[] for _ in contenders]
    end = time.perf_counter() + seconds
    turn = 0
    while turn < least or time.perf_counter() < end:
        for index, thunks in enumerate(contenders):
            if pause:
                time.sleep(pause)
            run = thunks[(turn + 3 * index) % len(thunks)]
            begin = clock()
            run()
            times[index].append(clock() - begin)
        turn += 1
    return [np.array(series) for series in times]


def ratio(theirs, ours):
    """How many times faster we are: the median over rounds."""
    return float(np.median(theirs / ours))


def geometric_mean(values):
    return statistics.geometric_mean(values)


def table(header, rows):
    """Markdown; columns after the first are numbers."""
    lines = ["| " + " | ".join(header) + " |",
             "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
