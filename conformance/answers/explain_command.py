"""`conformance explain`: the command line of a case, or of a person's own numbers, explained."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeGuard

import typer

from conformance.errors import UsageError
from conformance.run.number_option import EPSILON, TRAINED, decimal, whole

if TYPE_CHECKING:
    from conformance.answers.explain_subject import Settings, Subject
    from conformance.answers.explanation import Diagnosed, Explanation

_Case = Annotated[
    str | None,
    typer.Argument(metavar="CASE", help="A case of the spec, as `list cases` has it; or --data in its place."),
]
_Implementation = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Whose own words are shown; one alone: by whose conventions it is explained."),
]
_Data = Annotated[
    str | None,
    typer.Option(metavar="NUMBERS", help="Your input, such as '[[1], [5]]', or as NumPy or PyTorch print it."),
]
_Npy = Annotated[Path | None, typer.Option(metavar="FILE", help="The same as a .npy file.")]
_Op = Annotated[str, typer.Option(metavar="OPERATION", help="batch_norm, centering or untracked_batch_norm.")]
_Axes = Annotated[
    str | None, typer.Option(metavar="AXES", help="The axes that are kept, one statistic for each index: -1, or 1,2.")
]
_Epsilon = Annotated[
    float | None, typer.Option(metavar="X", parser=decimal(0, EPSILON), help="What is added to the variance.")
]
_Decay = Annotated[
    float | None,
    typer.Option(
        metavar="X", parser=decimal(0, 1), help="The weight of the old moving value: 1 - momentum in PyTorch."
    ),
]
_Mode = Annotated[str | None, typer.Option(metavar="train|infer", help="Omitted: both.")]
_Trained = Annotated[
    int | None,
    typer.Option(metavar="N", parser=whole(0, TRAINED), help="Train steps on these data before the inference."),
]
_Dtype = Annotated[str, typer.Option(metavar="DTYPE", help="float64, float32, float16 or bfloat16.")]
_Scale = Annotated[bool, typer.Option("--scale/--no-scale", help="Whether there is a gamma.")]
_Center = Annotated[bool, typer.Option("--center/--no-center", help="Whether there is a beta.")]
_State = Annotated[str | None, typer.Option(metavar="NUMBERS", help="One for all features, or one for each.")]
_Upstream = Annotated[str | None, typer.Option(metavar="NUMBERS", help="The gradient with respect to the output.")]
_Got = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[QUANTITY=]NUMBERS", help="What you got: the output, or QUANTITY such as moving_mean; repeats."
    ),
]
_Expected = Annotated[list[str] | None, typer.Option(metavar="[QUANTITY=]NUMBERS", help="What you expected, likewise.")]
_Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page of HTML in place of text.")]
_Json = Annotated[bool, typer.Option("--json", help="For a program: spec/explanation.schema.json.")]


def explain(
    case: _Case = None,
    implementation: _Implementation = None,
    data: _Data = None,
    npy: _Npy = None,
    op: _Op = "batch_norm",
    feature_axes: _Axes = None,
    epsilon: _Epsilon = None,
    decay: _Decay = None,
    mode: _Mode = None,
    trained: _Trained = None,
    dtype: _Dtype = "float32",
    scale: _Scale = True,
    center: _Center = True,
    gamma: _State = None,
    beta: _State = None,
    moving_mean: _State = None,
    moving_variance: _State = None,
    upstream: _Upstream = None,
    got: _Got = None,
    expected: _Expected = None,
    html: _Html = None,
    as_json: _Json = False,
) -> None:
    """Explain a case, or numbers of your own: axes, equations with the numbers put in, and what yours are.

    With --got and --expected, whatever you do not say is left open: the mode, epsilon, the axes, how many train steps
    went before. Readings that fit the digits you give are told, the plainest first. No framework is needed.
    """
    from conformance.answers.explain import explanation
    from conformance.answers.explain_calls import chosen, dialect_of, native_calls
    from conformance.answers.explain_subject import of_case, of_settings

    options = {
        "data": data,
        "npy": npy,
        "op": None if op == _BATCH_NORM else op,
        "feature_axes": feature_axes,
        "epsilon": epsilon,
        "decay": decay,
        "mode": mode,
        "trained": trained,
        "dtype": None if dtype == _FLOAT32 else dtype,
        "no_scale": None if scale else False,
        "no_center": None if center else False,
        "gamma": gamma,
        "beta": beta,
        "moving_mean": moving_mean,
        "moving_variance": moving_variance,
        "upstream": upstream,
    }
    said = {name: value for name, value in options.items() if value is not None}
    subject = of_case(case) if _alone(case, said) else of_settings(_settings(said))
    told = chosen(implementation or (), subject)
    answers = _diagnosed(subject, {"got": got or [], "expected": expected or []}) if got or expected else []
    whole = explanation(subject, dialect_of(told, subject), list(native_calls(told, subject)), answers)
    _give(whole, html, as_json=as_json)


_BATCH_NORM, _FLOAT32 = "batch_norm", "float32"


def _alone(case: str | None, said: Mapping[str, object]) -> TypeGuard[str]:
    """Return whether a case was named, and not data. Raises `UsageError` where both or neither were."""
    if case is not None and said:
        option = f"--{next(iter(said)).replace('_', '-')}"
        raise UsageError(f"explain: expected a case alone, or --data with settings; got the case {case} and {option}")
    if case is None and ("data" in said) == ("npy" in said):
        raise UsageError("explain: expected a case, or --data NUMBERS, or --npy FILE")
    return case is not None


def _settings(said: Mapping[str, Any]) -> Settings:
    """Return what was said of data, its numbers read."""
    from conformance.answers.explain_subject import Settings
    from conformance.answers.typed_numbers import of_file, typed

    states = ("gamma", "beta", "moving_mean", "moving_variance")
    axes = said.get("feature_axes")
    return Settings(
        data=typed("--data", said["data"]).values if "data" in said else of_file("--npy", said["npy"]),
        feature_axes=None if axes is None else _axes(axes),
        scale="no_scale" not in said,
        center="no_center" not in said,
        state={name: typed(f"--{name.replace('_', '-')}", said[name]) for name in states if name in said},
        upstream=typed("--upstream", said["upstream"]) if "upstream" in said else None,
        **{name: said[name] for name in ("op", "epsilon", "decay", "mode", "trained", "dtype") if name in said},
    )


def _diagnosed(subject: Subject, texts: Mapping[Literal["got", "expected"], list[str]]) -> list[Diagnosed]:
    """Return what the numbers are that were got and expected."""
    from conformance.answers.mixups import asked_of, diagnosed

    return [diagnosed(subject, kind, numbers) for kind, numbers in asked_of(subject, texts).items()]


def _axes(text: str) -> tuple[int, ...]:
    """Return the axes of a text such as `-1` or `[1, 2]`."""
    parts = [part for part in text.strip("[]() ").split(",") if part.strip()]
    try:
        axes = tuple(int(part) for part in parts)
    except ValueError:
        axes = ()
    if not axes:
        raise UsageError(f"--feature-axes: expected axes, such as -1 or 1,2, got {text!r}")
    return axes


def _give(whole: Explanation, html: Path | None, *, as_json: bool) -> None:
    """Write the page, or print JSON or text."""
    from conformance.answers.explain_page import page
    from conformance.answers.explain_text import show
    from conformance.files.json_text import text_of
    from conformance.files.whole import write_whole

    if html is not None:
        write_whole(html, page(whole).encode())
    if as_json:
        sys.stdout.write(text_of(whole))
    elif html is None:
        show(whole)
