"""Objects put into a bucket, and what lies in it."""

from __future__ import annotations

from pathlib import Path

from tpbench.storage import objects
from tpbench.storage.addresses import Address


def filled(address: Address, contents: dict[str, str]) -> Address:
    """Put objects below an address."""
    for name, text in contents.items():
        objects.write(address.below(name), text.encode())
    return address


def keys(address: Address) -> set[str]:
    """Return the keys of all objects below an address, relative to it."""
    start = len(address.key) + 1 if address.key else 0
    return {one.address.key[start:] for one in objects.list_objects(address)}


def local_copy_of(contents: dict[str, str], folder: Path) -> Path:
    """Write files of the same names into a folder."""
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def downloaded(address: Address, folder: Path) -> Path:
    """Fetch everything below an address into a folder, as any other tool would; return it."""
    start = len(address.key) + 1
    for stored in objects.list_objects(address):
        path = folder / stored.address.key[start:]
        path.parent.mkdir(parents=True, exist_ok=True)
        objects.fetch(stored.address, path)
    return folder
