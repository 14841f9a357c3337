"""To which library a row of a run belongs."""

from __future__ import annotations

from conformance.runfile.observed import library_of
from conformance.runfile.structs import EnvironmentLine

BOTH = EnvironmentLine(
    id="jax-replicas", adapter="jax/replicas.py", library="jax", versions={"jax": "0.10.2", "flax": "0.12.8"}
)


def test_a_row_belongs_to_the_library_that_its_name_begins_with() -> None:
    assert library_of(BOTH, "flax.linen.BatchNorm+synchronized+vmap") == "flax 0.12.8"


def test_a_row_of_a_module_of_another_name_belongs_to_the_adapters_library() -> None:
    environment = EnvironmentLine(
        id="tensorflow", adapter="x.py", library="tensorflow", versions={"tensorflow": "2.21"}
    )
    assert library_of(environment, "tf.nn.batch_normalization") == "tensorflow 2.21"


def test_an_environment_has_the_library_of_its_adapter() -> None:
    assert library_of(BOTH) == "jax 0.10.2"
