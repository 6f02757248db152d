"""Who works in a folder of a bucket: an object that its holder renews.

It is created only where there is none, which the server decides. A holder that has died stops
renewing: once it was not renewed for `EXPIRY_S`, by the clock of the server alone, the next one
takes it. A holder that finds another's name in it, or could not renew it for that long, stops. If
both came to work at the same time, they would put equal files: what is lost is time.

On the machine of a dead holder nobody waits: the name of the last holder lies beside the working
copy, whose lock the kernel has released.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tpbench.errors import TPBenchError
from tpbench.files import atomic_write_text
from tpbench.foreign import ForeignFileError, parse_json
from tpbench.storage import objects
from tpbench.storage.addresses import Address
from tpbench.storage.mirror import LEASES
from tpbench.work.faults import HaltError
from tpbench.work.locks import InUseError
from tpbench.work.records import Shard
from tpbench.work.worker import JsonObject

logger = logging.getLogger(__name__)

EXPIRY_S: Final = 120.0
"""Not renewed for this long, a lease is nobody's."""
RENEW_S: Final = 30.0
_SETTLE_S: Final = 1.0
"""Before a lease that was taken over is read again: another may have taken it over, too."""
_WHOLE: Final = "run"
_CLOCK: Final = "clock-"
_SAID: Final = "says"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lease that is held; create it with `leased`."""

    address: Address
    """Of its object."""
    token: str
    _lost: list[str] = field(default_factory=list)
    """Empty, or why it is not held any more."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _renewed_s: list[float] = field(default_factory=lambda: [time.monotonic()])
    """One element: when it was renewed last, by this process's clock."""
    _said: list[JsonObject] = field(default_factory=list)
    """Empty, or what the next renewal says of its holder."""

    def say(self, content: JsonObject) -> None:
        """Put something into the lease when it is renewed next; a later one takes its place."""
        self._said[:] = [content]

    def require(self) -> None:
        """Raise unless it is held.

        Raises:
            HaltError: another run has taken it, or it could not be renewed.
        """
        if self._lost:
            raise HaltError(self._lost[0])
        if time.monotonic() - self._renewed_s[0] > EXPIRY_S:
            raise HaltError(
                f"{self.address}: could not be renewed, so that another run may take over; this "
                "one has stopped: check the network and run again, what is finished is kept"
            )

    def renew_for_ever(self) -> None:
        """Renew it until it ends or is lost."""
        while not self._ended.wait(RENEW_S):
            try:
                began_s = time.monotonic()
                seen = objects.look(self.address)
                ours = seen is not None and self._is_ours()
                if seen is None or not ours or not objects.replace(seen, self._content()):
                    self._lost.append(
                        f"{self.address}: another run has taken over; this one has stopped"
                    )
                    return
                self._renewed_s[0] = began_s
            except TPBenchError as error:  # `require` tells when it has been too long
                logger.warning("%s: not renewed: %s", self.address, error)

    def end(self) -> None:
        """Stop renewing it, and delete it if it is still ours."""
        self._ended.set()
        with suppress(TPBenchError):
            if self._is_ours():
                objects.delete(self.address)

    def _content(self) -> bytes:
        return _content(self.token, self._said[0] if self._said else {})

    def _is_ours(self) -> bool:
        return _token_in(objects.read(self.address)) == self.token


@contextmanager
def leased(folder: Address, shard: Shard | None, *, note: Path) -> Iterator[Lease]:
    """Hold the lease of a folder in a bucket, or of one shard's part of the work in it.

    Args:
        folder: in the bucket.
        shard: the part; None for all, which excludes all others.
        note: a file of this machine for the name of the last holder here. The caller holds a lock
            that only one process of this machine has.

    Raises:
        InUseError: another run holds it.
        UnreachableError: the bucket can't be read or written.
    """
    home = folder.below(LEASES)
    lease = Lease(address=home.below(_name(shard)), token=secrets.token_hex(16))
    _take(lease, folder, note)
    try:
        _refuse_others(home, folder, shard)
    except BaseException:
        lease.end()
        raise
    atomic_write_text(note, lease.token)
    renewing = threading.Thread(target=lease.renew_for_ever, name="lease", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        lease.end()
        renewing.join(timeout=5)


def holders(folder: Address) -> dict[str, JsonObject]:
    """Return what each lease of a folder says of its holder, by its name; asks, and writes nothing.

    One request for the list, and one for each lease.

    Raises:
        UnreachableError: the bucket can't be read.
    """
    leases = [
        stored.address
        for stored in objects.list_objects(folder.below(LEASES))
        if not stored.address.name.startswith(_CLOCK)
    ]
    found: dict[str, JsonObject] = {}

    def ask(address: Address) -> None:
        content = objects.read(address)
        if content is not None:
            said = _parsed(content).get(_SAID)
            found[address.name] = said if isinstance(said, dict) else {}

    objects.in_parallel(ask, leases)
    return dict(sorted(found.items()))


def _take(lease: Lease, folder: Address, note: Path) -> None:
    content = _content(lease.token)
    if objects.create(lease.address, content):
        return
    holder = _token_in(objects.read(lease.address))
    if holder == lease.token:  # an answer was lost on its way, and the request repeated
        return
    seen = objects.look(lease.address)
    if note.exists() and holder == note.read_text(encoding="utf-8"):
        logger.info("%s: taken over from a run that has ended on this machine", lease.address)
        objects.write(lease.address, content)
        return
    _require_expired(lease.address, folder)
    logger.warning("%s: taken over from a run that no longer renews it", lease.address)
    if seen is None:
        objects.create(lease.address, content)
    else:
        objects.replace(seen, content)
    time.sleep(_SETTLE_S)
    if _token_in(objects.read(lease.address)) != lease.token:
        raise InUseError(f"{folder}: another run has just taken over; wait for it")


def _refuse_others(home: Address, folder: Address, shard: Shard | None) -> None:
    """Refuse to work beside runs that this one excludes."""
    for stored in objects.list_objects(home):
        name = stored.address.name
        same_count = shard is not None and name.endswith(f"of{shard.count}")
        if name != _name(shard) and not same_count and not name.startswith(_CLOCK):
            _require_expired(stored.address, folder)


def _require_expired(address: Address, folder: Address) -> None:
    """Raise unless a lease has expired or is gone."""
    held = objects.look(address)
    if held is None:
        return
    age_s = (_now_ns(address) - held.modified_ns) / 1e9
    if age_s <= EXPIRY_S:
        raise InUseError(
            f"{folder}: in use by another run, which renewed its lease {max(age_s, 0):.0f} s ago; "
            f"wait for it; if it has died, run again in {EXPIRY_S - age_s:.0f} s"
        )


def _now_ns(address: Address) -> int:
    """Return the time of the server, which stamps what is put."""
    probe = Address(
        scheme=address.scheme,
        bucket=address.bucket,
        key=f"{address.key.rpartition('/')[0]}/{_CLOCK}{secrets.token_hex(8)}",
    )
    objects.write(probe, b"")
    try:
        seen = objects.look(probe)
    finally:
        objects.delete(probe)
    return time.time_ns() if seen is None else seen.modified_ns


def _name(shard: Shard | None) -> str:
    return _WHOLE if shard is None else shard.suffix.lstrip(".")


def _content(token: str, said: JsonObject | None = None) -> bytes:
    content: dict[str, Any] = {"token": token, "expires_after_s": EXPIRY_S}
    return json.dumps(content | {_SAID: said or {}}).encode()


def _token_in(content: bytes | None) -> str | None:
    token = _parsed(content or b"").get("token")
    return None if token is None else str(token)


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        found = parse_json(content)
    except ForeignFileError:
        return {}
    return found if isinstance(found, dict) else {}
