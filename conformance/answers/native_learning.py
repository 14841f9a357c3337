"""The forms of native calls, learned from the calls that a run recorded."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from conformance.answers.native_calls import FILE, WAYS, Convention, Form, Told, Where, where_of
from conformance.operations import OPERATIONS
from conformance.protocol import Configuration
from conformance.runfile.run import Run
from conformance.runfile.structs import DeclaredField, NativeCall, Record, RecordedConfiguration, RecordedOffer
from conformance.verdict import Verdict

#: Why a cell has no call for another reason than what it configures.
_OF_THE_CASE = ("does not take", "has no step", "its threads", "its PROCESSES name no variable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A call that was made, and for which configuration."""

    call: NativeCall
    configuration: Configuration


def write_calls(folder: Path, runs: Sequence[Run]) -> Path:
    """Write what the runs show into the folder and return the path of the file."""
    lines = [msgspec.json.encode(told).decode() for told in learned(runs)]
    (folder / FILE).write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    return folder / FILE


def learned(runs: Iterable[Run]) -> list[Told]:
    """Return what the runs show of every implementation of an operation that data and settings alone describe."""
    offers: dict[str, RecordedOffer] = {}
    dtypes: dict[str, set[str]] = defaultdict(set)
    made: dict[str, list[Made]] = defaultdict(list)
    refused: dict[str, dict[Where, str]] = defaultdict(dict)
    for run in runs:
        for environment in run.environments:
            for offer in environment.implementations:
                if OPERATIONS[offer.op].options is None and not OPERATIONS[offer.op].whole:
                    offers.setdefault(offer.name, offer)
                    dtypes[offer.name].update(offer.dtypes)
        for record in run.records:
            configuration = configuration_of(run.cases[record.case].configuration)
            if record.implementation not in offers or configuration.parameter_dtype != configuration.dtype:
                continue
            if record.call is not None:
                made[record.implementation].append(Made(call=record.call, configuration=configuration))
            elif reason := _reason(record):
                refused[record.implementation].setdefault(where_of(configuration), reason)
    return [
        Told(
            name=name,
            op=offer.op,
            dtypes=tuple(sorted(dtypes[name])),
            conventions=tuple(_conventions(offer.profile)),
            forms=(*forms(made[name]), *_refusals(refused[name], made[name])),
        )
        for name, offer in sorted(offers.items())
        if made[name] or refused[name]
    ]


def configuration_of(recorded: RecordedConfiguration) -> Configuration:
    """Return a recorded configuration, without its options."""
    return Configuration(
        op=recorded.op,
        shape=recorded.shape,
        feature_axes=recorded.feature_axes,
        dtype=recorded.dtype,
        parameter_dtype=recorded.parameter_dtype,
        decay=recorded.decay,
        epsilon=recorded.epsilon,
        scale=recorded.scale,
        center=recorded.center,
    )


def forms(made: Sequence[Made]) -> list[Form]:
    """Return the forms of those calls, each with the configurations that it was seen for.

    A keyword follows from the configuration in the first way that holds in every call. Otherwise it is a literal, the same
    in every call for configurations that are alike; where it is not, there is no form for these.
    """
    keywords = dict.fromkeys(keyword for one in made for keyword in one.call.keywords)
    follows = {keyword: way for keyword in keywords if (way := _way(keyword, made)) is not None}
    by_where: dict[Where, set[bytes]] = defaultdict(set)
    for one in made:
        form = Form(
            path=one.call.path,
            function=one.call.function,
            follows={keyword: follows[keyword] for keyword in one.call.keywords if keyword in follows},
            literals={keyword: source for keyword, source in one.call.keywords.items() if keyword not in follows},
            order=tuple(one.call.keywords),
        )
        by_where[where_of(one.configuration)].add(msgspec.json.encode(form))
    seen: dict[bytes, list[Where]] = defaultdict(list)
    for where, encoded in by_where.items():
        if len(encoded) == 1:
            seen[next(iter(encoded))].append(where)
    return [
        msgspec.structs.replace(msgspec.json.decode(encoded, type=Form), where=_sorted(wheres))
        for encoded, wheres in sorted(seen.items())
    ]


def holds(form: Form, call: NativeCall, configuration: Configuration) -> bool:
    """Return whether the form says what that call says."""
    follows = {keyword: source for keyword, source in call.keywords.items() if keyword in form.follows}
    return (
        (form.path, form.function, form.order) == (call.path, call.function, tuple(call.keywords))
        and form.literals == {keyword: source for keyword, source in call.keywords.items() if keyword not in follows}
        and all(_same(source, WAYS[form.follows[keyword]](configuration)) for keyword, source in follows.items())
    )


def _way(keyword: str, made: Sequence[Made]) -> str | None:
    """Return the way in which a keyword follows from the configuration in every call; None where no one way does.

    A setting that was the same in every call shows nothing of what follows from it.
    """
    values = [(one.call.keywords[keyword], one.configuration) for one in made if keyword in one.call.keywords]
    for name, way in WAYS.items():
        expected = [way(configuration) for _, configuration in values]
        varies = len({repr(one) for one in expected}) > 1
        if varies and all(_same(source, one) for (source, _), one in zip(values, expected, strict=True)):
            return name
    return None


def _same(source: str, value: Any) -> bool:
    try:
        literal = ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return False
    return type(literal) is type(value) and bool(literal == value)


def _reason(record: Record) -> str:
    """Return why a cell is unsupported, if its configuration is why."""
    message = next((step.message for step in record.steps if step.message), "") or ""
    configured = record.verdict is Verdict.UNSUPPORTED and not message.startswith(_OF_THE_CASE)
    return message if configured else ""


def _refusals(refused: Mapping[Where, str], made: Sequence[Made]) -> list[Form]:
    """Return a form for each reason, without the configurations of which other calls were made."""
    called = {where_of(one.configuration) for one in made}
    by_reason: dict[str, list[Where]] = defaultdict(list)
    for where, reason in refused.items():
        if where not in called:
            by_reason[reason].append(where)
    return [Form(reason=reason, where=_sorted(wheres)) for reason, wheres in sorted(by_reason.items())]


def _sorted(wheres: Iterable[Where]) -> tuple[Where, ...]:
    return tuple(sorted(wheres, key=lambda where: (where.rank, where.feature_axes, where.scale, where.center)))


def _conventions(profile: Iterable[DeclaredField]) -> Iterable[Convention]:
    for declared in profile:
        yield Convention(
            field=declared.field,
            value=declared.value,
            source=declared.source,
            ranks=declared.ranks,
        )
