"""The single changes by which instance normalization has been got wrong, those of its moving values among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from conformance.cause import because
from conformance.dialect import Dialect
from conformance.operations import batch_norm
from conformance.operations.batch_norm.moving_changes import moving_values
from conformance.operations.expected import Expected
from conformance.operations.frozen import replace
from conformance.operations.hypothesis import Hypothesis
from conformance.operations.instance_norm.moving import KIND, MOVING, tracked
from conformance.operations.sample_norm import diagnosis
from conformance.operations.sample_norm.groups import Members, columns, everything, rows, samples
from conformance.operations.situation import Situation
from conformance.precision import working
from conformance.protocol import Configuration

ELSEWHERE: Mapping[str, Members] = {
    "each sample, all features together": samples,
    "all features at each position": rows,
    "each feature's values over the batch": columns,
    "the whole batch": everything,
}


def hypotheses(configuration: Configuration, dialect: Dialect) -> Iterator[Hypothesis]:
    """Yield the hypotheses about moving values where there are any, then those of any normalization of a sample."""
    base = Hypothesis(configuration=configuration, dialect=dialect)
    if configuration.options.get("tracked"):
        yield replace(base, cause=because("moving-by-whole-batch"), only=frozenset(MOVING), change_results=_of_batch)
        yield replace(base, cause=because("batch-statistics-in-inference"), performed="train", only=diagnosis.PRODUCED)
        yield replace(base, cause=because("inference-in-training"), performed="infer")
        yield from moving_values(base)
    yield from diagnosis.hypotheses(KIND, ELSEWHERE, configuration, dialect)


def _of_batch(situation: Situation, results: dict[str, Expected]) -> dict[str, Expected]:
    """Return the moving values that mean and variance of the whole batch would leave."""
    if not tracked(situation) or not situation.x.size or "moving_mean" not in results:
        return {}
    whole = batch_norm.train(situation, working(situation.configuration.dtype))
    return {name: whole[name] for name in MOVING}
