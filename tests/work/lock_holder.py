"""A process that holds a lock as long as it may: `lock_holder.py LOCK exclusive|shared`."""

import sys
import time
from pathlib import Path

from tpbench.work.faults import HaltError
from tpbench.work.locks import locked, require_held

if __name__ == "__main__":
    lock = Path(sys.argv[1])
    with locked(lock, shared=sys.argv[2] == "shared"):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        while True:
            try:
                require_held(lock.parent)
            except HaltError as error:
                sys.exit(str(error))
            time.sleep(0.005)
