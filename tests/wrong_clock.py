"""Machines whose time of day is wrong: libfaketime tells it to every program that runs under this environment."""

import os
import shlex
import subprocess
from pathlib import Path

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
DAY = 86_400.0
WRONG = (-DAY, DAY)  # s by which a clock is ahead
# What libfaketime 0.9.10 must be helped with. It refuses every sleep by the clock that it was told to leave alone
# (EINVAL): the kernel does them. It keeps a semaphore named for the process in /dev/shm, which a killed one leaves
# behind, so that a later process of that number ends with exit code 1: where there are none it does without.
HELP = """
extern long syscall(long number, ...);
extern int *__errno_location(void);
extern int strncmp(const char *one, const char *other, unsigned long count);
extern void *dlsym(void *handle, const char *name);
#ifdef __aarch64__
enum { CLOCK_NANOSLEEP = 115 };
#else
enum { CLOCK_NANOSLEEP = 230 };
#endif
enum { ENOSYS = 38 };
int clock_nanosleep(int clock, int flags, const void *wanted, void *left) {
    return syscall(CLOCK_NANOSLEEP, clock, flags, wanted, left) ? *__errno_location() : 0;
}
void *sem_open(const char *name, int flags, unsigned mode, unsigned value) {
    if (!strncmp(name, "/faketime_sem_", 14)) {
        *__errno_location() = ENOSYS;
        return 0;
    }
    void *(*next)(const char *, int, unsigned, unsigned) = dlsym((void *)-1L, "sem_open");
    return next(name, flags, mode, value);
}
"""


def environment(folder: Path, ahead: float) -> dict[str, str]:
    """What to add to the environment of a machine's first program, for a clock that is so many seconds ahead.

    The clock that counts seconds since the start stays as it is, as where somebody set the time of day wrongly. Files
    get the kernel's time, which is right; ``touch -d @$(date +%s)`` gives one the machine's. A job gets a clean
    environment, so a bash that makes it wrong again is put on PATH, into ``folder``.
    """
    assert LIBRARIES, "libfaketime is not installed: see script/setup"
    folder.mkdir(exist_ok=True)
    (folder / "help.c").write_text(HELP)
    words = ["cc", "-shared", "-fPIC", "-nostdlib", "-o", str(folder / "help.so"), str(folder / "help.c")]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    wrong = {
        "LD_PRELOAD": f"{folder / 'help.so'}:{LIBRARIES[0]}",
        "FAKETIME": f"{ahead:+.0f}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",  # the store is a folder of this computer, and its clock is right
    }
    lines = [f"export {name}={shlex.quote(value)}" for name, value in wrong.items()]
    (folder / "bash").write_text("\n".join(["#!/bin/sh", *lines, 'exec /bin/bash "$@"', ""]))
    (folder / "bash").chmod(0o755)
    return wrong | {"PATH": f"{folder}:{os.environ['PATH']}"}
