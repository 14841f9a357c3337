"""The seconds of one call of one pass by `timeit`, in a process of its own: started by `timings.py`, in a framework's interpreter.

Nothing of the suite's timing takes part: no rotation of many inputs, no rounds, no waiting beyond the library's own.
"""

from __future__ import annotations

import json
import statistics
import sys
import timeit
from typing import Any

import numpy as np

from conformance.precision import dtype_named
from conformance.worker.adapter_file import load_adapter
from conformance.worker.native import configuration_from, resolve

#: Seconds of measuring and of one round of it, rounds at least, and calls before.
SECONDS, ROUND, LEAST, WARM = 1.0, 0.01, 7, 3


def main() -> None:
    """Read what to call from the standard input, and print its median seconds."""
    request = json.load(sys.stdin)
    module = load_adapter(request["adapter"])
    row = next(row for row in module.ADAPTER.implementations if row.name == request["implementation"])
    configuration = configuration_from(request["configuration"])
    initial = {
        name: np.array(value, dtype_named(configuration.parameter_dtype)) for name, value in request["initial"].items()
    }
    native = resolve(row.call(configuration), module)
    live = row.start(native, configuration=configuration, state=initial, mode=request["mode"], device=request["device"])
    rng = np.random.default_rng(7)
    arrays = [rng.random(configuration.shape, np.float32).astype(dtype_named(configuration.dtype)) for _ in range(4)]
    first, second, *upstreams = (row.timed["put"](array, request["device"]) for array in arrays)
    function, wait = row.timed[request["timed"]], row.timed["wait"]
    differentiates = request["timed"] == "train"
    turn = 0

    def call() -> Any:
        nonlocal turn
        turn += 1
        results = function(live, second if turn % 2 else first, upstreams[turn % 2] if differentiates else None)
        wait(live, results)

    for _ in range(WARM):
        call()
    timer = timeit.Timer(call)
    one = timer.timeit(1)
    number = max(1, round(ROUND / one))
    repeats = max(LEAST, round(SECONDS / (number * one)))
    print(statistics.median(timer.repeat(repeats, number)) / number)


if __name__ == "__main__":
    main()
