"""What the local run takes from `template.yaml`, so that it can't differ from what is deployed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TEMPLATE_PATH = Path(__file__).resolve().parents[1] / "template.yaml"

# What AWS::Serverless::Function means where the template says nothing.
DEFAULT_TIMEOUT_SECONDS = 3
DEFAULT_MEMORY_MB = 128

type Template = dict[str, Any]


class TemplateError(Exception):
    """The template lacks something, or says it in a way that can't be worked out without CloudFormation."""


@dataclass(frozen=True)
class Route:
    """One `Api` event of a function: `method` in capitals (`ANY` for all), `path` as in `/employees/{id}`."""

    method: str
    path: str


@dataclass(frozen=True)
class Limits:
    """What a function may use: `timeout_seconds` and `memory_mb`, as in the template."""

    timeout_seconds: int
    memory_mb: int


class _Loader(yaml.SafeLoader):
    """SafeLoader that keeps CloudFormation's short forms as their long ones: `!Ref x` → `{"Ref": "x"}`."""


def _construct_intrinsic(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        raise TemplateError(f"!{suffix}: a kind of YAML node that CloudFormation does not have")
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _construct_intrinsic)


def load_template(path: Path = TEMPLATE_PATH) -> Template:
    """Read a CloudFormation template, its short forms written out.

    Raises TemplateError if it is missing, not YAML, or has no resources.
    """
    try:
        template = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # nosec B506  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise TemplateError(f"{path.name} can't be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise TemplateError(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise TemplateError(f"{path.name} has no Resources")
    return template


def read_table(template: Template, logical_id: str = "IncidentTable") -> dict[str, Any]:
    """The keyword arguments of `create_table`, but for `TableName`. Raises TemplateError."""
    properties = _properties(template, logical_id)
    wanted = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    definition = {name: resolve(template, properties[name]) for name in wanted if name in properties}
    for name in ("AttributeDefinitions", "KeySchema", "BillingMode"):
        if name not in definition:
            raise TemplateError(f"{logical_id} has no {name}")
    return definition


def read_time_to_live(template: Template, logical_id: str = "IncidentTable") -> dict[str, Any] | None:
    """The table's `TimeToLiveSpecification` as `update_time_to_live` takes it, or None.

    Raises TemplateError.
    """
    specification = resolve(template, _properties(template, logical_id).get("TimeToLiveSpecification"))
    return specification if isinstance(specification, dict) else None


def read_routes(template: Template, logical_id: str = "ApiFunction") -> tuple[Route, ...]:
    """The routes of a function's events of type `Api`, in the template's order. Raises TemplateError."""
    events = _properties(template, logical_id).get("Events") or {}
    routes = tuple(
        Route(resolve(template, event["Properties"]["Method"]).upper(), event["Properties"]["Path"])
        for event in events.values()
        if event.get("Type") == "Api"
    )
    if not routes:
        raise TemplateError(f"{logical_id} has no event of type Api")
    return routes


def read_minimum_compression(template: Template, logical_id: str = "IncidentApi") -> int | None:
    """The API's `MinimumCompressionSize` in bytes; None where answers stay as they are.

    Raises TemplateError.
    """
    size = resolve(template, _properties(template, logical_id).get("MinimumCompressionSize"))
    return None if size is None else int(size)


def read_limits(template: Template, logical_id: str) -> Limits:
    """A function's `Timeout` and `MemorySize`, `Globals` and parameter defaults included.

    Raises TemplateError.
    """
    values: dict[str, Any] = {
        "Timeout": DEFAULT_TIMEOUT_SECONDS,
        "MemorySize": DEFAULT_MEMORY_MB,
        **_globals(template),
        **_properties(template, logical_id),
    }
    return Limits(int(resolve(template, values["Timeout"])), int(resolve(template, values["MemorySize"])))


def read_handler(template: Template, logical_id: str) -> str:
    """A function's `Handler`, such as `functions.api.handler.lambda_handler`. Raises TemplateError."""
    handler = {**_globals(template), **_properties(template, logical_id)}.get("Handler")
    if not isinstance(handler, str):
        raise TemplateError(f"{logical_id} has no Handler")
    return handler


def read_variables(template: Template, logical_id: str) -> dict[str, Any]:
    """A function's environment variables, `Globals` included.

    A value that needs CloudFormation (the name of a table, say) stays as it stands there, a dict.
    """
    variables: dict[str, Any] = {}
    for source in (_globals(template), _properties(template, logical_id)):
        variables |= (source.get("Environment") or {}).get("Variables") or {}
    return {name: _resolve_if_possible(template, value) for name, value in variables.items()}


def resolve(template: Template, value: Any) -> Any:
    """A value with each `Ref` to a parameter replaced by that parameter's default.

    Raises TemplateError for any other intrinsic function: those need CloudFormation.
    """
    if isinstance(value, list):
        return [resolve(template, item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, argument = next(iter(value.items()))
        parameter = (template.get("Parameters") or {}).get(argument) if name == "Ref" else None
        if parameter is not None and "Default" in parameter:
            return parameter["Default"]
        if name == "Ref" or name.startswith("Fn::"):
            raise TemplateError(f"{name} {argument} can't be worked out locally")
    return {key: resolve(template, item) for key, item in value.items()}


def _resolve_if_possible(template: Template, value: Any) -> Any:
    try:
        return resolve(template, value)
    except TemplateError:
        return value


def _globals(template: Template) -> dict[str, Any]:
    function: dict[str, Any] = (template.get("Globals") or {}).get("Function") or {}
    return function


def _properties(template: Template, logical_id: str) -> dict[str, Any]:
    resource = template["Resources"].get(logical_id)
    if not isinstance(resource, dict):
        raise TemplateError(f"the template has no resource {logical_id}")
    properties: dict[str, Any] = resource.get("Properties") or {}
    return properties
