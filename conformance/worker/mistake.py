"""Whose an exception is: the library's, which refused a step, or the adapter's, which called what there is not."""

from __future__ import annotations

import dis
from types import TracebackType

from conformance.worker.adapter_file import PACKAGE
from conformance.worker.given import UnfitError

#: What Python raises of code that is wrong, whatever it is given.
_BY_PYTHON = (AttributeError, ImportError, KeyError, NameError, TypeError)
#: The modules that are not the library: adapters, and what calls them.
_OURS = (PACKAGE, __name__.rpartition(".")[0])


def mistake(error: BaseException) -> str:
    """Return where the adapter, or the call of it, went wrong: file, line and function; empty where the library raised.

    The innermost frame decides. An adapter's file may hold the layer that it is about, which refuses with exceptions of
    its own; so only those count that Python raises of wrong code. Compiled code has no frames, and its index errors look
    like the caller's. An exception with notes went through a library that wrote them, and may have removed its frames; one
    out of code that is in no file of the adapter's, as AutoGraph makes it of a function that is traced, went through that.
    """
    if isinstance(error, UnfitError) and error.place:
        return error.place
    trace = error.__traceback__
    if trace is None or hasattr(error, "__notes__"):
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    name = str(trace.tb_frame.f_globals.get("__name__", ""))
    wrong = isinstance(error, _BY_PYTHON) or (isinstance(error, IndexError) and not _calls(trace))
    written = trace.tb_frame.f_globals.get("__file__") in (None, trace.tb_frame.f_code.co_filename)
    if not wrong or not written or not any(name == module or name.startswith(f"{module}.") for module in _OURS):
        return ""
    file = name.removeprefix(f"{PACKAGE}.").replace(".", "/")
    return f"{file}.py, line {trace.tb_lineno}, in {trace.tb_frame.f_code.co_name}"


def _calls(trace: TracebackType) -> bool:
    """Return whether the frame was calling something when the exception came."""
    return "CALL" in dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]]
