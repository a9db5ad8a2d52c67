"""Runs one command and writes what it cost: `python -I -S launcher.py RESULT COMMAND [ARGUMENT...]`.

A process's peak memory counts from before its exec, so it is never less than that of the process that
started it. So contestants are started from here, a process of a few MiB, and not from the benchmark
itself. The cost is that of the command and of all its children that it waited for (a shell's pipeline);
the peak is the largest of one.
"""

import os
import sys
import time


def main() -> None:
    result, *command = sys.argv[1:]
    began = time.monotonic()
    process = os.posix_spawnp(command[0], command, os.environ)
    _, status, used = os.wait4(process, 0)
    wall_s = time.monotonic() - began
    code = os.waitstatus_to_exitcode(status)
    with open(result, "w", encoding="ascii") as file:
        file.write(f"{code} {used.ru_utime} {used.ru_stime} {wall_s} {used.ru_maxrss}")


main()
