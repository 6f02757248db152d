"""A driver for tests to kill: `driver_script.py LEDGER FOLDER main|thread`.

It has no main guard on purpose: workers must never import the script that started them.
"""

import sys
import threading
from pathlib import Path

from tpbench.execution import Ledger, drain
from tpbench.work import Pool, TaskSpec, terminate_as_interrupt


def drive() -> None:
    task = TaskSpec(factory="worker_tasks:mark", config={"folder": sys.argv[2]})
    with Ledger.open(Path(sys.argv[1]), config_digest="c") as ledger:
        drain(ledger, Pool(num_workers=2), task)


with terminate_as_interrupt():
    if sys.argv[3] == "thread":
        thread = threading.Thread(target=drive)
        thread.start()
        thread.join()
    else:
        drive()
