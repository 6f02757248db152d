"""Runs a command and ends it, with all it has started, when the one who asked for it is gone.

Started as a script of its own: `guard.py COMMAND...`, leader of a process group, with a pipe as
standard input whose other end the asker holds and never writes to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    """Return the command's exit code, 128 + n where signal n ended it."""
    try:
        child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)  # noqa: S603 - a list
    except OSError as error:
        sys.stderr.write(f"can't be started: {error}\n")
        return 127
    threading.Thread(target=_wait_for_the_end_of_the_asker, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _wait_for_the_end_of_the_asker() -> None:
    # Past the buffered reader: the interpreter could not end while a thread holds its lock.
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
