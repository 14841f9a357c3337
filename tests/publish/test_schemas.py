"""The published schemas are those of the code."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from conformance.publish.schemas import SCHEMAS, write_schemas
from conformance.spec.locations import spec_folder


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_shipped_schema_is_up_to_date_and_valid(name: str, tmp_path: Path) -> None:
    """`conformance check --write-schema` writes them anew."""
    write_schemas(tmp_path)
    shipped = (spec_folder() / name).read_text(encoding="utf-8")
    assert shipped == (tmp_path / name).read_text(encoding="utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(shipped))
