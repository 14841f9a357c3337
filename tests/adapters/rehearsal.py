"""An adapter for a rehearsal of two devices where there is one: every row of a library, between two stand-ins.

What a row is asked to put on the GPU must be on the second of two devices, and what it is asked to put on the CPU on the
first, while the library's own default is the other one: what is left to the default is seen. On JAX and TensorFlow both
are CPUs. On PyTorch the second is `meta`, whose tensors have no values and refuse to meet others.

The library is named by the variable REHEARSED. Each step of a row is followed by its timed passes on the same layer, and
`MisplacedError` is raised where anything that a layer keeps, or that a call gives, is elsewhere.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np

from conformance.protocol import Adapter, Call, Implementation
from conformance.worker.adapter_file import load_adapter

PROCESSES = [
    {
        "name": "rehearsed-jax",
        "group": "jax",
        "environment": {
            "REHEARSED": "jax",
            "KERAS_BACKEND": "jax",
            "JAX_ENABLE_X64": "0",
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
        "dtypes": ["float32"],
    },
    {
        "name": "rehearsed-tensorflow",
        "group": "tensorflow",
        "environment": {
            "REHEARSED": "tensorflow",
            "KERAS_BACKEND": "tensorflow",
            "TF_USE_LEGACY_KERAS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
        },
        "dtypes": ["float32"],
    },
    {
        "name": "rehearsed-torch",
        "group": "torch",
        "environment": {"REHEARSED": "torch", "KERAS_BACKEND": "torch"},
        "dtypes": ["float32"],
    },
]
LIBRARIES = {
    "jax": ("jax", "flax", "haiku", "equinox", "keras"),
    "tensorflow": ("tensorflow", "tf_keras", "keras"),
    "torch": ("torch", "keras"),
}
#: Files whose rows have devices of their own, several at once, or a form that no device option reaches.
LEFT_OUT = ("replicas", "exports", "sample_norm", "group_norm", "nnx_sample_norm")
#: Rows that read a value of a tensor of their own, of which `meta` has none.
READING = ("torch.nn.BatchNorm+cumulative",)
ROOT = Path(__file__).parents[2] / "adapters"


class MisplacedError(Exception):
    """Something is on another device than the row was asked for."""


class Stage:
    """Two devices of one library: where each is, and what the library takes when it is not told."""

    #: Devices that a row is asked for.
    devices: tuple[str, ...] = ("cpu", "gpu")
    #: How a row calls a device that has to be synchronized; None: it waits for results.
    waits_for: str | None = None

    #: How often a library was synchronized, by whatever stage.
    synchronized: ClassVar[int] = 0

    def otherwise(self, device: str) -> contextlib.AbstractContextManager[Any]:
        """Return a context in which the library's default is the other device."""
        raise NotImplementedError

    def misplaced(self, value: Any, device: str) -> str:
        """Return where an array of the library's is, if that is elsewhere; empty for what is none."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Stands for the library's own synchronization, and counts it."""
        Stage.synchronized += 1

    def check_waiting(self, row: Implementation) -> None:
        """Raise `MisplacedError` if a timed call on the GPU is not waited for."""
        before = Stage.synchronized
        if self.waits_for is not None:
            row.timed["wait"](SimpleNamespace(device=self.waits_for), {})
            if Stage.synchronized == before:
                raise MisplacedError(f"{row.name}: nothing waits for the device")


class JaxStage(Stage):
    def __init__(self) -> None:
        jax: Any = import_module("jax")
        self.jax = jax
        first, second = jax.devices("cpu")
        self.places = {"cpu": first, "gpu": second}
        jax.devices = lambda backend=None: [self.places[str(backend)]] if backend else [first, second]
        of_keras: Any = import_module("keras.src.backend.jax.distribution_lib")
        of_keras._to_backend_device = lambda name: self.places[str(name).partition(":")[0]]

    def otherwise(self, device: str) -> contextlib.AbstractContextManager[Any]:
        (other,) = {"cpu", "gpu"} - {device}
        return self.jax.default_device(self.places[other])  # type: ignore[no-any-return]

    def misplaced(self, value: Any, device: str) -> str:
        if not isinstance(value, self.jax.Array) or isinstance(value, self.jax.core.Tracer):
            return ""
        return "" if value.devices() == {self.places[device]} else str(value.devices())


class TensorflowStage(Stage):
    waits_for = "gpu"

    def __init__(self) -> None:
        tf: Any = import_module("tensorflow")
        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
        self.tf, self.place = tf, tf.device
        self.places = {"cpu": "/CPU:0", "gpu": "/CPU:1"}
        tf.device = lambda name: self.place(self.places.get(str(name).lower().strip("/").partition(":")[0], name))
        tf.test.experimental.sync_devices = self.synchronize

    def otherwise(self, device: str) -> contextlib.AbstractContextManager[Any]:
        (other,) = {"cpu", "gpu"} - {device}
        return self.place(self.places[other])  # type: ignore[no-any-return]

    def misplaced(self, value: Any, device: str) -> str:
        if not isinstance(value, self.tf.Tensor | self.tf.Variable) or not hasattr(value, "numpy"):
            return ""
        return "" if value.device.endswith(self.places[device].strip("/")) else value.device


class TorchStage(Stage):
    waits_for = "cuda"

    def __init__(self) -> None:
        torch: Any = import_module("torch")
        self.torch = torch
        self.places = {"cpu": "cpu", "gpu": "meta"}
        down = torch.Tensor.cpu

        def cpu(tensor: Any, *arguments: Any, **keywords: Any) -> Any:
            if tensor.device.type == "meta":
                return torch.zeros(tensor.shape, dtype=tensor.dtype)
            return down(tensor, *arguments, **keywords)

        torch.Tensor.cpu = cpu
        torch.cuda.synchronize = self.synchronize
        load_adapter(str(ROOT / "torch" / "batch_norm.py")).DEVICES["gpu"] = "meta"

    def otherwise(self, device: str) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def misplaced(self, value: Any, device: str) -> str:
        if not isinstance(value, self.torch.Tensor):
            return ""
        return "" if value.device.type == self.places[device] else str(value.device)


class KerasTorchStage(TorchStage):
    """Keras takes `cpu` to be itself, and has no word for the other: only what it leaves to its default is seen."""

    devices = ("cpu",)
    waits_for = "gpu"

    @contextlib.contextmanager
    def otherwise(self, device: str) -> Iterator[None]:
        core: Any = import_module("keras.src.backend.torch.core")
        core.DEFAULT_DEVICE = "meta"
        try:
            yield
        finally:
            core.DEFAULT_DEVICE = "cpu"


class Spy:
    """A compiled or plain step whose arguments and results are looked at."""

    def __init__(self, step: Any, look: Callable[[str, Any], None]) -> None:
        self.step, self.look = step, look

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        self.look("an argument", arguments)
        results = self.step(*arguments, **keywords)
        self.look("a result", results)
        return results

    def __getattr__(self, name: str) -> Any:
        return getattr(self.step, name)


class Rehearsed:
    """A row's functions, each followed by a look at where everything is."""

    def __init__(self, row: Implementation, stage: Stage) -> None:
        self.row, self.stage = row, stage

    def start(self, native: Any, **further: Any) -> Any:
        device = further["device"]
        with self.stage.otherwise(device):
            live = self.row.start(native, **further)
            self.look(device, "after the start", live)
        return SimpleNamespace(real=live, device=device, frozen=False)

    def step(self, kind: str, live: Any, *arguments: Any, **further: Any) -> Any:
        with self.stage.otherwise(live.device):
            step = getattr(live.real, "step", None)
            if step is not None and not isinstance(step, Spy):
                live.real.step = Spy(step, functools.partial(self.look, live.device))
            result = self.row.steps[kind](live.real, *arguments, **further)
            if kind == "infer" and not further and arguments[1] is not None:
                # Without an upstream gradient, of which every question has one, a row may go another way.
                self.row.steps[kind](live.real, arguments[0], None)
            if kind == "reload":
                live.real = result
            self.look(live.device, f"after {kind}", live.real)
            if kind in ("freeze", "unfreeze"):
                live.frozen = kind == "freeze"
            # What is timed is never frozen.
            if kind in ("train", "infer") and self.row.timed and not further and not live.frozen:
                self.timed(kind, live, *arguments)
        return live if kind == "reload" else result

    def timed(self, kind: str, live: Any, x: Any, upstream: Any) -> None:
        """Make the timed calls of that kind, and look at what they are given and give."""
        timed, device = self.row.timed, live.device
        x, upstream = timed["put"](x, device), None if upstream is None else timed["put"](upstream, device)
        self.look(device, "put", (x, upstream))
        for name in ("infer", "infer_into") if kind == "infer" else ("train_forward", "train"):
            if name in timed and (name != "train" or upstream is not None):
                results = timed[name](live.real, x, upstream if name == "train" else None)
                self.look(device, f"of the timed {name}", (results, live.real))
                timed["wait"](live.real, results)
        self.stage.check_waiting(self.row)
        if "copy" in timed:
            self.look(device, "of the copy", timed["copy"](live.real, x))

    def look(self, device: str, when: str, value: Any) -> None:
        """Raise `MisplacedError` if any array within `value` is on another device."""
        for path, array in reached(value, "", set()):
            elsewhere = self.stage.misplaced(array, device)
            if elsewhere:
                raise MisplacedError(f"{self.row.name}, {device}, {when}: {path.strip('.')} is on {elsewhere}")


def reached(value: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield all that can be reached of a value through mappings, sequences, and attributes of layers and variables."""
    if id(value) in seen or isinstance(value, str | bytes | int | float | type | ModuleType | np.ndarray):
        return
    seen.add(id(value))
    yield path, value
    if isinstance(value, Mapping):
        named = [(f"{path}.{name}", part) for name, part in value.items()]
    elif isinstance(value, tuple | list):
        named = [(f"{path}.{number}", part) for number, part in enumerate(value)]
    elif isinstance(value, Spy):
        named = [(path, value.step)]
    else:
        named = [
            (f"{path}.{name}", part)
            for name, part in sorted(getattr(value, "__dict__", {}).items())
            if path.count(".") < 6
        ]
    for inner, part in named:
        yield from reached(part, inner, seen)


MODULES: list[ModuleType] = []


def called(number: int, row: Implementation, configuration: Any) -> Call:
    """Return the row's call; of a class of its own file, under a name that tells which."""
    call = row.call(configuration)
    return call if "." in call.path else replace(call, path=f"of_{number}_{call.path}")


def __getattr__(name: str) -> Any:
    """Return what a call names in one of the files."""
    kind, _, rest = name.partition("_")
    number, _, own = rest.partition("_")
    if kind != "of" or not number.isdigit():
        raise AttributeError(name)
    return getattr(MODULES[int(number)], own)


def rehearsed(row: Implementation, number: int, stage: Stage) -> Implementation:
    one = Rehearsed(row, stage)
    return replace(
        row,
        modes=("eager",),
        devices=("cpu",) if row.name in READING else stage.devices,
        call=functools.partial(called, number, row),
        start=one.start,
        state=lambda live: row.state(live.real),
        steps={kind: functools.partial(one.step, kind) for kind in row.steps},
        compilations=None,
        timed={},
    )


def _rows(library: str) -> Iterator[Implementation]:
    stage: Stage = {"jax": JaxStage, "tensorflow": TensorflowStage, "torch": TorchStage}[library]()
    of_keras = KerasTorchStage() if library == "torch" else stage
    for folder in LIBRARIES[library]:
        for file in sorted((ROOT / folder).glob("[!_]*.py")):
            if file.stem not in LEFT_OUT:
                module = load_adapter(str(file))
                MODULES.append(module)
                used = of_keras if folder == "keras" else stage
                rows = [row for row in module.ADAPTER.implementations if "eager" in row.modes]
                yield from (rehearsed(row, len(MODULES) - 1, used) for row in rows)


ADAPTER = Adapter(library="rehearsed", versions={}, implementations=tuple(_rows(os.environ["REHEARSED"])))
