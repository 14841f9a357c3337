"""A share of a search where a Dask worker performs it, in its own child processes.

Hypothesis draws there, beside the process that is searched: between a case and the next nothing travels.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from conformance.cluster.batch import case_here
from conformance.cluster.messages import Promise, taken, written
from conformance.cluster.promises import Promises
from conformance.cluster.tasks import Bench, check_suite, worker_of
from conformance.errors import ConformanceError, UsageError
from conformance.execution.pool import Workers
from conformance.execution.survey import survey
from conformance.planning.discovery import WorkerKey
from conformance.planning.offer import offer_from
from conformance.planning.plan import Offer
from conformance.search.exercised import Exercised
from conformance.search.grounds import Against, Ground, bench_of
from conformance.search.hunt import Hunt
from conformance.search.messages import SentShare, ShareReply, StillFound, told_exercised, told_find
from conformance.search.written import reported, still_found


def reply_to(raw: object, bench_here: Callable[[], Bench]) -> bytes:
    """Return what a share came to; the bench is asked for once it is one."""
    try:
        share = taken(raw, SentShare)
        check_suite(share.suite)
        bench = bench_here()
        with bench.at_work(share.bounds) as workers:
            return written(_searched(share, bench, workers))
    except ConformanceError as error:
        return written(ShareReply(refused=str(error)))


def _searched(share: SentShare, bench: Bench, workers: Workers) -> ShareReply:
    """Search. Raises `UsageError` where the share names what is not here."""
    cases = [case_here(raw, number) for number, raw in enumerate(share.earlier)]
    exercised = Exercised()
    hunting = bench_of(_ground(share, bench, workers), workers, bench.divergences)
    still = [
        StillFound(suspicion=suspicion, case=number)
        for number, case in enumerate(cases)
        for suspicion in still_found(case, hunting)
    ]
    done = {*share.done, *(one.suspicion for one in still)}
    hunt = Hunt(bench=hunting, effort=share.effort, exercised=exercised, done=done)
    finds = tuple(told_find(reported(find, hunting)) for find in hunt.finds())
    left = tuple(workers.left)
    workers.left.clear()
    return ShareReply(
        drawn=hunt.drawn,
        seconds=hunt.searching,
        exercised=told_exercised(exercised),
        finds=finds,
        still=tuple(still),
        left=left,
        machine=socket.gethostname(),
    )


def _ground(share: SentShare, bench: Bench, workers: Workers) -> Ground:
    """Return the process that is searched, started, with that of what it is held against."""
    promises = [share.promise, *([share.against.promise] if share.against else [])]
    by_key = {worker_of(promise.worker, bench.keys): promise for promise in promises}
    workers.offers = held = Promises(by_key, bench.offered)
    offers = [_offer(key, promise, bench, workers, held) for key, promise in by_key.items()]
    against = None
    if share.against is not None:
        against = Against(offer=offers[-1], name=share.against.name, every=share.against.every)
    return Ground(offer=offers[0], selection=share.selection, against=against)


def _offer(key: WorkerKey, promise: Promise, bench: Bench, workers: Workers, held: Promises) -> Offer:
    """Return what a worker offers here, which must be what was promised. Raises `UsageError`."""
    offer_from(key, promise.offer, {}, 0)
    if key in workers.live:
        held.check_live(key)
        return offer_from(key, bench.offered[key], {}, 0)
    (answer,) = survey([key], [], workers)
    if not isinstance(answer, Offer):
        raise UsageError(f"{key.name} does not start: {answer}")
    return answer
