"""The backend that Keras 3 has in this process: how it differentiates, compiles and waits, and what is in force in it."""

from __future__ import annotations

import os
import time
from typing import Any

import keras

from conformance_adapters.tensorflow._process import numerics, threads

BACKEND = keras.backend.backend()
if BACKEND == "tensorflow":
    import tensorflow as tf
elif BACKEND == "torch":
    import torch
elif BACKEND == "jax":
    import jax
    import jaxlib


def differentiate(forward: Any, x: Any, upstream: Any, learned: Any) -> Any:
    """What `forward(x)` gives by quantity, and the gradients of its output; NumPy differentiates nothing."""
    if BACKEND == "tensorflow":
        return differentiate_tensorflow(forward, x, upstream, learned)
    if BACKEND == "torch":
        return differentiate_torch(forward, x, upstream, learned)
    return forward(x)


def differentiate_tensorflow(forward: Any, x: Any, upstream: Any, learned: Any) -> Any:
    if upstream is None:
        return forward(x)
    sources = {"grad_input": x, **learned}
    with tf.GradientTape() as tape:
        tape.watch(sources)
        quantities = forward(x)
    return {**quantities, **tape.gradient(quantities["output"], sources, output_gradients=upstream)}


def differentiate_torch(forward: Any, x: Any, upstream: Any, learned: Any) -> Any:
    if upstream is None:
        with torch.no_grad():
            return forward(x)
    sources = {"grad_input": x.requires_grad_(), **learned}
    quantities = forward(x)
    gradients = torch.autograd.grad(quantities["output"], list(sources.values()), upstream)
    return {**quantities, **dict(zip(sources, gradients, strict=True))}


def differentiate_jax(forward: Any, x: Any, upstream: Any, learned: Any) -> Any:
    """Output and input gradient, the gradients of what is learned, and the further results of `forward(x, learned)`."""
    if upstream is None:
        output, further = forward(x, learned)
        return {"output": output}, (), further
    output, pullback, further = jax.vjp(forward, x, learned, has_aux=True)
    grad_input, gradients = pullback(upstream)
    return {"output": output, "grad_input": grad_input}, gradients, further


def compiled(step: Any, mode: str, static: str | None = None) -> Any:
    """The step itself, or compiled in the way of the backend; JAX compiles for each value of the static argument."""
    if mode == "eager":
        return step
    return jax.jit(step, static_argnames=static) if BACKEND == "jax" else tf.function(step, jit_compile=mode == "xla")


def compilations(live: Any) -> int:
    if live.mode == "eager":
        return 0
    step = getattr(live.step, "pure", live.step)
    return step._cache_size() if BACKEND == "jax" else step.experimental_get_tracing_count()


def wait(live: Any, results: Any) -> None:
    match BACKEND:
        case "tensorflow" if live.device == "gpu":
            tf.test.experimental.sync_devices()
        case "torch" if live.device == "gpu":
            torch.cuda.synchronize()
        case "jax":
            jax.block_until_ready(results)
        case _:  # a CPU computes at once
            pass


def copy(live: Any, x: Any) -> Any:
    """A copy in other memory: TensorFlow's `identity`, which Keras calls, need not be one."""
    with keras.device(live.device):
        return tf.raw_ops.DeepCopy(x=x) if BACKEND == "tensorflow" else keras.ops.copy(x)


def clock(live: Any) -> float:
    """Seconds, when the device has computed all that it was given."""
    wait(live, None)
    return time.perf_counter()


def versions() -> dict[str, str]:
    match BACKEND:
        case "tensorflow":
            return {"keras": keras.__version__, "tensorflow": tf.__version__}
        case "torch":
            return {"keras": keras.__version__, "torch": torch.__version__}
        case "jax":
            return {"keras": keras.__version__, "jax": jax.__version__, "jaxlib": jaxlib.__version__}
        case _:
            return {"keras": keras.__version__}


def settings() -> dict[str, str]:
    """Those of Keras and of the backend."""
    shared = {"backend": BACKEND, "floatx": keras.config.floatx(), **switches()}
    match BACKEND:
        case "tensorflow":
            return shared | threads(tf) | numerics(tf)
        case "torch":
            return shared | {
                "deterministic algorithms": str(torch.are_deterministic_algorithms_enabled()),
                "cuDNN": str(torch.backends.cudnn.version()),
                "cuDNN enabled": str(torch.backends.cudnn.enabled),
                "cuDNN allows TF32": str(torch.backends.cudnn.allow_tf32),
                "matmul precision": torch.get_float32_matmul_precision(),
                "CPU capability": torch.backends.cpu.get_cpu_capability(),
            }
        case "jax":
            return shared | {
                "platform": jax.default_backend(),
                "jit disabled": str(jax.config.jax_disable_jit),
                "matmul precision": str(jax.config.jax_default_matmul_precision),
                "preallocation": os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "default"),
                "XLA flags": os.environ.get("XLA_FLAGS", ""),
            }
        case _:
            return shared


def switches() -> dict[str, str]:
    """The settings that can be read before the backend begins."""
    match BACKEND:
        case "torch":
            return {"threads": str(torch.get_num_threads())}
        case "jax":
            return {"x64": str(jax.config.jax_enable_x64)}
        case _:
            return {}


def devices() -> tuple[str, ...]:
    match BACKEND:
        case "tensorflow":
            gpu = bool(tf.config.list_physical_devices("GPU"))
        case "torch":
            gpu = torch.cuda.is_available()
        case "jax":
            gpu = jax.default_backend() == "gpu"
        case _:
            gpu = False
    return ("cpu", "gpu") if gpu else ("cpu",)


def pool() -> str | None:
    """TensorFlow's pool within an operation has no name, and on a GPU others have none either."""
    match BACKEND:
        case "tensorflow":
            return None if "gpu" in devices() else ""
        case "jax":
            return "tf_XLAEigen"
        case _:
            return None


#: Without x64, jax.numpy has no float64.
DTYPES = (() if switches().get("x64") == "False" else ("float64",)) + ("float32", "float16", "bfloat16")
#: torch.compile cannot trace the call of a Keras layer whole, and NumPy has no compiler.
MODES = {"tensorflow": ("eager", "compiled", "xla"), "jax": ("eager", "compiled")}.get(BACKEND, ("eager",))
GRADIENTS = ("grad_input", "grad_gamma", "grad_beta")
LACKS = GRADIENTS if BACKEND == "numpy" else ()
