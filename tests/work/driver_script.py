"""A driver for tests to kill: `driver_script.py RECORDS FOLDER main|thread`.

It has no main guard on purpose: workers must never import the script that started them.
"""

import sys
import threading
from pathlib import Path

from noted import work  # type: ignore[import-not-found]  # on the path of the script alone

from tpbench.work import TaskSpec, terminate_as_interrupt


def drive() -> None:
    task = TaskSpec(factory="worker_tasks:mark", config={"folder": sys.argv[2]})
    work(Path(sys.argv[1]), task)


with terminate_as_interrupt():
    if sys.argv[3] == "thread":
        thread = threading.Thread(target=drive)
        thread.start()
        thread.join()
    else:
        drive()
