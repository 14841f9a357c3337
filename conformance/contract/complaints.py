"""What the answers of an implementation say against the contract: each function returns a complaint, empty where there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformance.operations import OPERATIONS
from conformance.outcome import Array, Crashed, Outcome, Produced, TimedOut
from conformance.planning.plan import Cell
from conformance.reference.inputs import inputs_of

Steps = Sequence[Produced]


def state_read_back(cell: Cell, outcomes: Steps) -> str:
    """The state put in is the state read back, in the order of the features."""
    for name, value in inputs_of(cell.case).initial.items():
        state = outcomes[0].state
        if name not in state and not cell.implementation.keeps_state:
            continue
        if name not in state or not np.array_equal(state[name].reshape(-1), value.reshape(-1)):
            return f"the {name} put in by `start` is not what `state` gives back"
    return ""


def names_and_shapes(cell: Cell, outcomes: Steps) -> str:
    """Output and input gradient are like the input; everything else has one value per feature."""
    operation = OPERATIONS[cell.case.op]
    for outcome in outcomes[1:]:
        for name, value in outcome.quantities.items():
            if name in operation.shaped_like_input and value.shape != cell.case.shape:
                return f"{name} has shape {value.shape}, expected that of the input, {cell.case.shape}"
            count = cell.case.configuration.feature_count
            if name not in operation.shaped_like_input and value.size != count:
                return f"{name} has {value.size} values, expected one for each of {count} features"
    return ""


def dtype_kept(cell: Cell, outcomes: Steps) -> str:
    """What goes in as a dtype comes out as it."""
    given = [outcome.quantities["output"].dtype.name for outcome in outcomes[1:] if "output" in outcome.quantities]
    others = sorted(set(given) - {cell.case.dtype})
    return f"gave an output of {others[0]} for an input of {cell.case.dtype}" if others else ""


def caller_s_own(_cell: Cell, outcomes: Steps) -> str:
    """Input and upstream gradient belong to the caller."""
    written = sorted({name for outcome in outcomes for name in outcome.overwritten})
    return f"wrote to the caller's {', '.join(written)}" if written else ""


def inference_repeats(cell: Cell, outcomes: Steps) -> str:
    """Two inferences on the same input give the same bits and leave the state as it was."""
    _, trained, first, second = outcomes
    fields = {declared.field: declared.value for declared in cell.implementation.profile}
    # One replica's values are given to all at the beginning of every call, as its profile declares.
    moves = fields.get("state") == "caller" or fields.get("replica_moving") == "first"
    if not moves and not same_bits(trained.state, first.state):
        return "inference changed the state"
    if not same_bits(first.state, second.state):
        return "a second inference changed the state"
    return "" if same_bits(first.quantities, second.quantities) else "two inferences on one input gave other bits"


def reload_keeps(_cell: Cell, outcomes: Steps) -> str:
    """Saved and loaded by the library's own means: the same state, and the same output."""
    _, _, before, reloaded, after = outcomes
    if not same_bits(before.state, reloaded.state):
        return "the state after `reload` is not that before it"
    return "" if same_bits(before.quantities, after.quantities) else "the output after `reload` is not that before it"


def compiled(cell: Cell, outcomes: Steps) -> str:
    """The count of compiled graphs proves the mode."""
    proved = cell.mode == "eager" or all(outcome.compilations for outcome in outcomes[1:])
    return "" if proved else f"`compilations` does not show that mode {cell.mode} compiled anything"


def call_is_data(_cell: Cell, outcomes: Steps) -> str:
    """The native call is path and literal keywords."""
    call = outcomes[0].call
    return "" if call is not None and call["path"] else "`call` does not say how a user writes it"


def functions_in_file(cell: Cell, _outcomes: Steps) -> str:
    """A script can be made of the functions: each is one at the top level, or binds arguments that the file can name."""
    nameless = sorted(kind for kind, name in cell.implementation.functions.items() if not name)
    return f"no function of the file's top level: {', '.join(nameless)}" if nameless else ""


def said_and_survived(cell: Cell, last: Outcome) -> str:
    """Rare ranks, axes and dtypes are unsupported with a reason, or they run."""
    match last:
        case Crashed(how=how):
            return f"{cell.case.id}: crashed: {how}"
        case TimedOut(limit=limit):
            return f"{cell.case.id}: gave no answer within {limit:g} s"
        case _:
            vague = cell.unsupported is not None and len(cell.unsupported) <= 10
            return f"{cell.case.id}: unsupported for the reason {cell.unsupported!r}: say more" if vague else ""


def same_bits(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    """Return whether two sets of arrays have the same names and bits."""
    return first.keys() == second.keys() and all(_bits(first[name]) == _bits(second[name]) for name in first)


def _bits(array: Array) -> Any:
    return array.tobytes()
