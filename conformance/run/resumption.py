"""`--resume`: the run to go on with, refused where it was begun otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from conformance.errors import UsageError
from conformance.planning.plan import Offer
from conformance.run.run_options import RunOptions
from conformance.runfile import lines
from conformance.runfile.reading import read
from conformance.runfile.run import Run
from conformance.runfile.writing import is_unbegun
from conformance.spec.loader import Spec


def resumed(options: RunOptions, spec: Spec, offers: Sequence[Offer]) -> Run | None:
    """Return the run to resume; None where it had not begun. Raises `UsageError` where it was another run."""
    assert options.out is not None
    if is_unbegun(options.out):
        return None
    old = read(options.out)
    if old.header.spec != spec.hash:
        raise UsageError(f"{options.out}: ran another spec ({old.header.spec}, now {spec.hash})")
    now = lines.header_line(spec, options.selection, options.pytest_arguments, 0, False)
    if old.header.selection != now.selection:
        raise UsageError(f"{options.out}: ran another selection: {msgspec.to_builtins(old.header.selection)}")
    shard = None if old.header.shard is UNSET else (old.header.shard.number, old.header.shard.count)
    if shard != (options.shard and (options.shard.number, options.shard.count)):
        raise UsageError(
            f"{options.out}: ran another shard: {'of everything' if shard is None else '/'.join(map(str, shard))}"
        )
    if old.header.tier != now.tier:
        raise UsageError(f"{options.out}: ran another tier: {old.header.tier}")
    recorded = {environment.id: environment for environment in old.environments}
    for offer in offers:
        before, environment = recorded.get(offer.key.name), lines.environment_line(offer)
        if before is None and not old.records:
            continue  # killed while it wrote what comes before the records
        if before is None or before.failed is not None:
            raise UsageError(f"{options.out}: {offer.key.name} works now and did not then: begin another run")
        for part in ("versions", "settings", "process"):
            if getattr(before, part) != getattr(environment, part):
                raise UsageError(f"{options.out}: {offer.key.name} has other {part} now: {getattr(environment, part)}")
    return old
