"""Runs a command and kills it, with all its subprocesses, when the process that started it ends.

Run as a script, `guard.py COMMAND...`, as leader of a process group. Its standard input is a pipe
whose other end the starting process holds and never writes to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Return the command's exit code, or 128 + n if signal n killed it."""
    try:
        child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603 - a list
    except OSError as error:
        sys.stderr.write(f"can't be started: {error}\n")
        return 127
    threading.Thread(target=_kill_group_at_end_of_parent, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _kill_group_at_end_of_parent() -> None:
    # Not through the buffered reader: the interpreter can't exit while a thread holds its lock.
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
