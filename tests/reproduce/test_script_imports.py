"""The imports of a script: grouped, one line a module, and none of a module that the script does not name."""

from __future__ import annotations

from conformance.reproduce.imports import import_lines


def test_names_of_one_module_are_imported_together() -> None:
    lines = import_lines(["from b import y", "import numpy as np", "from b import x", "import math"], "x(y, math, np)")
    assert lines == ["import math", "import numpy as np\nfrom b import x, y"]


def test_a_module_inside_of_a_package_is_imported_where_it_is_named() -> None:
    imports = ["import a", "import a.b.c", "import a.d"]
    assert import_lines(imports, "a.b.c.f(a.e)")[1] == "import a\nimport a.b.c"


def test_the_only_import_of_a_package_stays() -> None:
    assert import_lines(["import a.b"], "a.f()")[1] == "import a.b"
