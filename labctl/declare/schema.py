"""JSON Schemas (draft 2020-12) of topology and scenario files, for editors and for tools of one's own.

A schema knows shapes only. What must fit together, such as a quorum within the number of Sentinels, is for labctl.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from labctl.declare.scenario import Known
    from labctl.declare.shapes import Shape

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def topology_schema() -> dict[str, Any]:
    """The schema of a topology file."""
    from labctl.declare.shapes import TopologyFile  # noqa: PLC0415 - pydantic, only when a schema is asked for

    return _schema(TopologyFile, "labctl topology")


def scenario_schema(known: Known | None = None) -> dict[str, Any]:
    """The schema of a scenario file.

    Args:
        known: Faults, actions, checks and workloads that there are, for an editor to offer; any name passes if left out.
    """
    from labctl.declare.shapes import ScenarioFile  # noqa: PLC0415

    schema = _schema(ScenarioFile, "labctl scenario")
    if known:
        definitions = schema["$defs"]
        _offer(definitions["Check"]["properties"]["check"], known.checks)
        _offer(definitions["Workload"]["properties"]["run"], known.workloads)
        step = definitions["Step"]
        target = step["additionalProperties"]
        step["properties"] |= dict.fromkeys(sorted(known.faults | known.actions), target)
        step["additionalProperties"] = False
    return schema


def _offer(definition: dict[str, Any], names: Iterable[str]) -> None:
    definition["enum"] = sorted(names)


def _schema(shape: type[Shape], title: str) -> dict[str, Any]:
    from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415

    class WithoutTitles(GenerateJsonSchema):
        """A title that only repeats the key is noise in an editor."""

        def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
            return False

    return {"$schema": _DIALECT, **shape.model_json_schema(schema_generator=WithoutTitles), "title": title}
