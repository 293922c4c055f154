"""The template as CloudFormation fills it in: parameters, mappings, conditions, and the names of resources.

`Stack({"PollIntervalMinutes": "30"}).resources` holds the resources whose condition is met, their properties
with every `Ref`, `Sub`, `FindInMap`, `If` and `GetAtt` worked out. A name that only AWS knows becomes one
that shows where it comes from: `incidents-dev-PollerFunction`, `arn:aws:test:DeadLetterQueue`.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

from local.template import Template, load_template

REGION = "eu-central-1"
ACCOUNT_ID = "123456789012"
STACK_NAME = "incidents-dev"
# What every deployment has to give.
GIVEN = {"Stage": "dev", "UpstreamBaseUrl": "https://incidents.example.com"}

_read_template = functools.cache(load_template)
# What `!Ref` and `!Sub` may name of a resource that SAM makes several out of.
MADE_BY_SAM = {"Alias", "Stage", "Version"}
_NO_VALUE = object()
_PSEUDO = {
    "AWS::AccountId": ACCOUNT_ID,
    "AWS::NoValue": _NO_VALUE,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": STACK_NAME,
    "AWS::URLSuffix": "amazonaws.com",
}


class Stack:
    """One deployment: `parameters` on top of the template's defaults."""

    def __init__(self, parameters: Mapping[str, str] | None = None, template: Template | None = None) -> None:
        """Raises ValueError for a parameter that the template does not have, lacks, or would refuse."""
        self._template = _read_template() if template is None else template
        declared = self._template.get("Parameters") or {}
        defaults = {name: each["Default"] for name, each in declared.items() if "Default" in each}
        given = {name: value for name, value in GIVEN.items() if name in declared} | dict(parameters or {})
        if faults := given.keys() - declared.keys() or declared.keys() - defaults.keys() - given.keys():
            raise ValueError(f"no such parameter, or no value for it: {', '.join(sorted(faults))}")
        for name, value in given.items():
            allowed = declared[name].get("AllowedValues")
            if allowed and value not in map(str, allowed):
                raise ValueError(f"{name} can't be {value}")
        self._parameters = defaults | given
        self.resources: dict[str, dict[str, Any]] = {
            logical_id: {"Type": each["Type"], "Properties": self.resolve(each.get("Properties") or {})}
            for logical_id, each in self._template["Resources"].items()
            if "Condition" not in each or self._holds({"Condition": each["Condition"]})
        }

    @property
    def outputs(self) -> dict[str, Any]:
        """The values of the outputs whose condition is met."""
        return {
            name: self.resolve(each["Value"])
            for name, each in self._template["Outputs"].items()
            if "Condition" not in each or self._holds({"Condition": each["Condition"]})
        }

    def of_type(self, resource_type: str) -> dict[str, dict[str, Any]]:
        """The properties of all resources of a type, by logical id."""
        return {
            name: each["Properties"] for name, each in self.resources.items() if each["Type"] == resource_type
        }

    def resolve(self, node: Any) -> Any:
        """A node of the template with everything worked out. Raises ValueError for what is not known here."""
        if isinstance(node, list):
            return [value for each in node if (value := self.resolve(each)) is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((function, argument),) = node.items()
            if function in ("Ref", "Condition") or function.startswith("Fn::"):
                return self._call(function, argument)
        resolved = {key: self.resolve(each) for key, each in node.items()}
        return {key: value for key, value in resolved.items() if value is not _NO_VALUE}

    def _call(self, function: str, argument: Any) -> Any:
        match function:
            case "Ref":
                return self._refer(argument)
            case "Fn::GetAtt":
                logical_id, attribute = (
                    argument if isinstance(argument, list) else argument.split(".", maxsplit=1)
                )
                return self._attribute(logical_id, attribute)
            case "Fn::Sub":
                text, own = argument if isinstance(argument, list) else (argument, {})
                return self._substitute(text, own)
            case "Fn::FindInMap":
                name, first, second = (self.resolve(each) for each in argument)
                return self._template["Mappings"][name][str(first)][second]
            case "Fn::If":
                condition, then, otherwise = argument
                return self.resolve(then if self._holds({"Condition": condition}) else otherwise)
        raise ValueError(f"{function} is not worked out here")

    def _holds(self, condition: Any) -> bool:
        ((function, argument),) = condition.items()
        match function:
            case "Condition":
                return self._holds(self._template["Conditions"][argument])
            case "Fn::Equals":
                one, other = (str(self.resolve(each)) for each in argument)
                return one == other
            case "Fn::Not":
                return not self._holds(argument[0])
            case "Fn::And":
                return all(map(self._holds, argument))
            case "Fn::Or":
                return any(map(self._holds, argument))
        raise ValueError(f"{function} is not worked out here")

    def _refer(self, name: str) -> Any:
        if name in _PSEUDO:
            return _PSEUDO[name]
        if name in self._parameters:
            return self._parameters[name]
        # `ApiFunction.Alias`, `IncidentApi.Stage`: what SAM makes beside the resource.
        resource = self._existing(name.partition(".")[0])
        # An alarm is referred to by its name, as most resources are.
        own_name = (resource.get("Properties") or {}).get("AlarmName")
        return self.resolve(own_name) if own_name else f"{STACK_NAME}-{name}"

    def _attribute(self, logical_id: str, attribute: str) -> str:
        # What SAM makes out of a function's events is not in the template.
        if not re.fullmatch(r"\w+Function\w+", logical_id):
            self._existing(logical_id)
        return f"arn:aws:test:{logical_id}" if attribute == "Arn" else f"{STACK_NAME}-{logical_id}"

    def _existing(self, logical_id: str) -> dict[str, Any]:
        resource: dict[str, Any] | None = self._template["Resources"].get(logical_id)
        if resource is None:
            raise ValueError(f"the template has no {logical_id}")
        if "Condition" in resource and not self._holds({"Condition": resource["Condition"]}):
            raise ValueError(f"{logical_id} is referred to, and its condition is not met")
        return resource

    def _substitute(self, text: str, own: Mapping[str, Any]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in own:
                return str(self.resolve(own[name]))
            logical_id, _, attribute = name.partition(".")
            if attribute and attribute not in MADE_BY_SAM:
                return str(self._attribute(logical_id, attribute))
            return str(self._refer(name))

        return re.sub(r"\$\{([^}]+)\}", value, text)
