"""Holds an answer against openapi.yaml: status, headers, media type, body; what does not fit is a fault."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from scripts.openapi import load_contract

type Document = dict[str, Any]

# Of the transport, not of the service.
TRANSPORT_HEADERS = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "date", "server", "x-amzn-requestid"}
)
_BASE = "urn:contract"


class Contract:
    """A document, and what it says of an answer.

    Example: ``Contract().faults("GET", "/health", 200, {"Content-Type": "…"}, "{…}")`` → ``[]``.
    """

    def __init__(self, document: Document | None = None) -> None:
        self.document = load_contract() if document is None else document
        resource = Resource.from_contents(self.document, default_specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_BASE, resource)

    def resolve(self, value: Any) -> Any:
        """What a local ``$ref`` stands for; any other value as it is."""
        while isinstance(value, dict) and "$ref" in value:
            found: Any = self.document
            for part in value["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            value = found
        return value

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(method in capitals, path, operation) of everything that is served."""
        for path, item in self.document["paths"].items():
            for method in ("get", "head", "post", "put", "patch", "delete", "options", "trace"):
                if method in item:
                    yield method.upper(), path, item[method]

    def parameters(self, method: str, path: str) -> list[dict[str, Any]]:
        """An operation's parameters, those of its path included."""
        item = self.document["paths"][path]
        return [
            self.resolve(each)
            for each in [*item.get("parameters", []), *item[method.lower()].get("parameters", [])]
        ]

    def response(self, method: str, path: str, status: int | str) -> dict[str, Any] | None:
        """The response object, or None if there is none. A method that is not served is told with GET's.

        ``status`` may also be the document's "4XX" or "5XX"; a number is never looked for there.
        """
        item = self.document["paths"].get(path, {})
        operation = item.get(method.lower(), item.get("get", {}))
        found: dict[str, Any] | None = self.resolve(operation.get("responses", {}).get(str(status)))
        return found

    def schema_faults(self, schema: Any, value: Any) -> list[str]:
        """Why ``value`` is not what ``schema`` (of this document) describes."""
        rooted = json.loads(json.dumps(schema).replace('"$ref": "#/', f'"$ref": "{_BASE}#/'))
        validator = Draft202012Validator(rooted, registry=self._registry, format_checker=FormatChecker())
        return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def faults(
        self,
        method: str,
        path: str,
        status: int,
        headers: Mapping[str, str],
        body: str,
        *,
        ocsf: bool = False,
    ) -> list[str]:
        """Why this is not an answer that the document promises for the path as it stands there.

        ``body`` of a HEAD is empty, or what the gateway takes away, and then is held against GET's.
        """
        response = self.response(method, path, status)
        if response is None:
            return [f"{method} {path}: status {status} is not documented"]
        where = f"{method} {path} {status}: "
        found = list(self._header_faults(response, headers))
        if method == "HEAD":
            response = self.response("GET", path, status) or {}
        if method != "HEAD" or body:
            found += self._body_faults(response, _lower(headers).get("content-type", ""), body, ocsf=ocsf)
        return [where + each for each in found]

    def _header_faults(self, response: Mapping[str, Any], headers: Mapping[str, str]) -> Iterator[str]:
        documented = {name.lower(): self.resolve(each) for name, each in response.get("headers", {}).items()}
        served = _lower(headers)
        for name in served.keys() - documented.keys() - TRANSPORT_HEADERS:
            yield f"header {name} is not documented"
        for name, header in documented.items():
            if name in served:
                value = _coerce(self.resolve(header["schema"]), served[name])
                yield from (f"header {name} {each}" for each in self.schema_faults(header["schema"], value))
            elif header.get("required"):
                yield f"header {name} is missing"

    def _body_faults(
        self, response: Mapping[str, Any], content_type: str, body: str, *, ocsf: bool
    ) -> Iterator[str]:
        content = response.get("content", {})
        if not content:
            if body or content_type:
                yield "a body or its type, where none is documented"
            return
        media_type = content_type.partition(";")[0]
        if media_type not in content:
            yield f"media type {media_type!r} is not documented"
            return
        schema = content[media_type]["schema"]
        if media_type.endswith("json") and media_type != "application/x-ndjson":
            try:
                value = json.loads(body)
            except ValueError:
                yield "the body is not JSON"
                return
            yield from self.schema_faults(schema, value)
            return
        yield from self.schema_faults(schema, body)
        row = {"$ref": f"#/components/schemas/{'DetectionFinding' if ocsf else 'Change'}"}
        if media_type == "application/x-ndjson":
            for line in body.splitlines():
                yield from self.schema_faults(row, json.loads(line))
        else:
            for cells in csv.DictReader(io.StringIO(body, newline=""), strict=True):
                yield from self.schema_faults(row, _as_change(cells))


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _coerce(schema: Mapping[str, Any], text: str) -> Any:
    """A header's text as the type that it is documented to have; left as it is where it is none such."""
    if schema.get("type") == "integer" and text.isascii() and text.isdigit():
        return int(text)
    return {"true": True, "false": False}.get(text, text) if schema.get("type") == "boolean" else text


def _as_change(cells: Mapping[str, str]) -> dict[str, Any]:
    change: dict[str, Any] = {name: cell for name, cell in cells.items() if cell and name != "other"}
    for name in ("sequence", "timestamp"):
        change[name] = json.loads(change.get(name, "null"))
    return change | json.loads(cells["other"] or "{}")
