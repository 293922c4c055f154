"""openapi.yaml says what the code does, and the code what it says: routes, parameters, problems, fields.

What is true is taken from the code. Each check is also shown a document that is wrong, and has to see it.
The answers themselves are held against it in tests/integration/test_openapi_conformance.py.
"""

import ast
import copy
import json
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from hypothesis import example, given
from hypothesis import strategies as st
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from functions.api import formats, health, parameters, problems, routes
from functions.api.answer import CACHE_CONTROL, VARY
from functions.api.routes import ALLOWED_METHODS, Routes, add_routes
from local.gateway import Gateway
from local.lambda_context import Function
from local.template import Limits, Route, load_template, read_routes
from scripts.openapi import SERVED_PATH, load_contract, main, render_contract
from shared.domain.change import Change
from shared.domain.cursor import CURSOR_SECONDS
from shared.domain.exact_json import JsonNumber, parse, render
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, SUBJECT_FIELDS, Incident, normalise
from shared.domain.ocsf import OCSF_VERSION, to_detection_finding
from shared.domain.poll_report import ALL_SOURCES, PollError, PollReport, SourceReport
from shared.domain.signing import MAX_SIGNED_CHARACTERS
from shared.store.state import State
from shared.version import VERSION
from tests.fuzz.conformance import Contract, Document

PROJECT = Path(__file__).parents[2]
CONTRACT = Contract()
TEMPLATE = load_template()
# What API Gateway answers by itself.
GATEWAY_RESPONSES = TEMPLATE["Resources"]["IncidentApi"]["Properties"]["GatewayResponses"]
METHODS = routes._OTHER_METHODS


def changed(change: Callable[[Document], object]) -> Contract:
    """The contract after a change for the worse."""
    document = copy.deepcopy(CONTRACT.document)
    change(document)
    assert document != CONTRACT.document
    return Contract(document)


def parameter(contract: Contract, name: str) -> dict[str, Any]:
    found: dict[str, Any] = contract.document["components"]["parameters"][name]
    return found


def schemas(contract: Contract) -> dict[str, Any]:
    found: dict[str, Any] = contract.document["components"]["schemas"]
    return found


# ---------------------------------------------------------------- the document as such


def test_what_is_served_is_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """functions/api/openapi.json is what `make openapi` makes of openapi.yaml, byte for byte."""
    assert SERVED_PATH.read_text("ascii") == render_contract(load_contract()), "run make openapi"
    assert json.loads(SERVED_PATH.read_text("ascii")) == CONTRACT.document
    other = tmp_path / "openapi.json"
    monkeypatch.setattr("scripts.openapi.SERVED_PATH", other)
    monkeypatch.setattr("scripts.openapi.PROJECT_PATH", tmp_path)
    assert main() == 0
    assert other.read_bytes() == SERVED_PATH.read_bytes()


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    """Of two responses for one status, say, the first would get lost without a word."""
    source = tmp_path / "openapi.yaml"
    source.write_text('a: {"200": 1, "200": 2}\n', "utf-8")
    with pytest.raises(Exception, match="given twice"):
        load_contract(source)


def test_it_is_openapi() -> None:
    """The document is valid OpenAPI 3.1."""
    assert CONTRACT.document["openapi"].startswith("3.1.")
    validate(CONTRACT.document)
    with pytest.raises(OpenAPIValidationError):
        validate(changed(lambda it: it["paths"]["/health"]["get"].pop("responses")).document | {"paths": 1})
    with pytest.raises(OpenAPIValidationError):
        validate(changed(lambda it: it["components"]["schemas"]["Time"].update(type="text")).document)


def unused_components(contract: Contract) -> set[str]:
    text = json.dumps(contract.document)
    return {
        f"{kind}/{name}"
        for kind, members in contract.document["components"].items()
        if kind != "securitySchemes"
        for name in members
        if f'"#/components/{kind}/{name}"' not in text
    }


def test_nothing_lies_about() -> None:
    """Every component is used."""
    assert unused_components(CONTRACT) == set()
    assert unused_components(changed(lambda it: it["components"]["schemas"].update(Left={}))) == {
        "schemas/Left"
    }


def examples(node: Any, where: str = "#") -> Iterator[tuple[str, Any, Any]]:
    """(where, schema, example) of every parameter, header and media type."""
    if isinstance(node, list):
        for number, each in enumerate(node):
            yield from examples(each, f"{where}/{number}")
    elif isinstance(node, dict):
        if "schema" in node:
            if "example" in node:
                yield where, node["schema"], node["example"]
            for name, each in node.get("examples", {}).items():
                yield f"{where}/{name}", node["schema"], each["value"]
        for name, each in node.items():
            yield from examples(each, f"{where}/{name}")


def example_faults(contract: Contract) -> list[str]:
    return [
        f"{where}: {fault}"
        for where, schema, value in examples(contract.document)
        for fault in contract.schema_faults(schema, value)
    ]


def test_examples_are_what_they_are_examples_of() -> None:
    """Every example is valid against its schema; every parameter and header has one."""
    assert example_faults(CONTRACT) == []
    assert len(list(examples(CONTRACT.document))) > 45
    for kind in ("parameters", "headers"):
        for name, each in CONTRACT.document["components"][kind].items():
            assert "example" in each or "examples" in each, name

    def lose_a_field(document: Document) -> None:
        content = document["components"]["responses"]["Page"]["content"]["application/json"]
        del content["examples"]["nothing"]["value"]["has_more"]

    assert any("has_more" in fault for fault in example_faults(changed(lose_a_field)))


def open_objects(contract: Contract, node: Any = None) -> Iterator[Any]:
    """Objects with properties that are neither closed nor told to be open."""
    node = schemas(contract) if node is None else node
    if isinstance(node, dict):
        required, told = set(node.get("required", ())), set(node.get("properties", ()))
        if node.get("type") == "object" and told and node.get("additionalProperties") is not False:
            yield node
        if node.get("additionalProperties") is False and required != told:
            yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from open_objects(contract, each)


def test_shapes_are_closed() -> None:
    """Objects allow and require just the fields they tell, so that one more or one less in an answer fails;
    but for incidents, which keep unknown upstream fields, and what only some problems have.
    """
    known = [name for name in schemas(CONTRACT) if name.endswith("Incident")]
    is_open = [schemas(CONTRACT)[name] for name in ("Problem", "Change", *known)]
    assert [each for each in open_objects(CONTRACT) if each not in is_open] == []
    problem = schemas(CONTRACT)["Problem"]
    # Some of API Gateway's own answers can't tell their status.
    assert set(problem["properties"]) - set(problem["required"]) == {"errors", "status"}
    worse = changed(lambda it: it["components"]["schemas"]["Snapshot"].pop("additionalProperties"))
    assert schemas(worse)["Snapshot"] in list(open_objects(worse))


def test_facts_in_the_document() -> None:
    """Version, lifetime of cursors, longest cursor, OCSF version and fixed headers are the code's."""
    document = CONTRACT.document
    assert document["info"]["version"] == VERSION
    assert CURSOR_SECONDS == 24 * 3600
    assert "good for 24 hours" in " ".join(document["info"]["description"].split())
    assert schemas(CONTRACT)["SignedText"]["maxLength"] == MAX_SIGNED_CHARACTERS
    metadata = schemas(CONTRACT)["DetectionFinding"]["properties"]["metadata"]["properties"]
    assert metadata["version"]["const"] == OCSF_VERSION
    headers = document["components"]["headers"]
    assert headers["Cache-Control"]["schema"]["const"] == CACHE_CONTROL
    assert headers["Vary"]["schema"]["const"] == VARY
    assert headers["Allow"]["schema"]["const"] == ", ".join(ALLOWED_METHODS)


# ---------------------------------------------------------------- routes


class NoTable:
    """Stands for everything behind the routes: what is tested here ends before it."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was used")


NOTHING: Any = NoTable()


class EmptyState:
    """The state of a table that nobody has polled into yet."""

    def read(self) -> State:
        return State()


EMPTY: Any = EmptyState()


def make_app() -> tuple[APIGatewayRestResolver, Routes]:
    app = APIGatewayRestResolver()
    made = Routes(
        app,
        state=EMPTY,
        incidents=NOTHING,
        unattributed=NOTHING,
        changes=NOTHING,
        employees=NOTHING,
        summary=NOTHING,
        poll_interval_seconds=1,
    )
    add_routes(app, made, logger=Logger(service="test", level="CRITICAL"))
    return app, made


def served_paths() -> dict[str, str]:
    """From the path as the document writes it to one that can be asked for."""
    _, served = make_app()
    return {re.sub(r"<(\w+)>", r"{\1}", path): re.sub(r"<\w+>", "7", path) for path in served.by_path()}


def ask(
    path: str, method: str = "GET", query: dict[str, list[str]] | None = None
) -> tuple[int, dict[str, str], str]:
    app, _ = make_app()
    event = {
        "path": path,
        "httpMethod": method,
        "headers": {},
        "multiValueHeaders": {},
        "queryStringParameters": {name: values[-1] for name, values in (query or {}).items()},
        "multiValueQueryStringParameters": query or {},
        "requestContext": {"requestId": "a-request", "stage": "test"},
        "body": None,
        "isBase64Encoded": False,
    }
    answer = app.resolve(event, None)  # type: ignore[arg-type]  # no context is looked at
    headers = {name: values[0] for name, values in answer["multiValueHeaders"].items()}
    return answer["statusCode"], headers, answer["body"]


def operations(contract: Contract) -> set[tuple[str, str]]:
    return {(method, path) for method, path, _ in contract.operations()}


def test_routes() -> None:
    """The document has every route of the code with every method, and no other."""
    assert len(served_paths()) == 8
    served = {(method, path) for path in served_paths() for method in ALLOWED_METHODS}
    assert operations(CONTRACT) == served
    assert operations(changed(lambda it: it["paths"]["/health"].pop("head"))) != served
    assert operations(changed(lambda it: it["paths"].update({"/more": {"get": {}}}))) != served


def test_routes_of_the_template() -> None:
    """API Gateway lets through the document's paths, with every method, and nothing else."""
    assert {(each.method, each.path) for each in read_routes(TEMPLATE)} == {
        ("ANY", path) for path in CONTRACT.document["paths"]
    }


def test_path_parameters() -> None:
    """Each parameter in a path is told, required, and no other is."""
    for method, path, _ in CONTRACT.operations():
        told = {each["name"] for each in CONTRACT.parameters(method, path) if each["in"] == "path"}
        assert told == set(re.findall(r"{(\w+)}", path))


@pytest.mark.parametrize("method", METHODS)
def test_other_methods(method: str) -> None:
    """Each route answers other methods with 405, just as the document says."""
    for path, asked in served_paths().items():
        status, headers, body = ask(asked, method)
        assert status == 405
        assert CONTRACT.faults(method, path, status, headers, body) == []
        assert method in (CONTRACT.response("GET", path, 405) or {})["description"]


def test_head_promises_what_get_does() -> None:
    """HEAD has the parameters, the statuses and the headers of GET, and no body."""
    for path, item in CONTRACT.document["paths"].items():
        get, head = item["get"], item["head"]
        assert head.get("parameters") == get.get("parameters")
        assert head["responses"].keys() == get["responses"].keys()
        for status in get["responses"]:
            responses = [CONTRACT.response(method, path, status) or {} for method in ("GET", "HEAD")]
            names = [set(each["headers"]) for each in responses]
            assert names[0] == names[1], (path, status)
            if status != "405":
                assert "content" not in responses[1]


# ---------------------------------------------------------------- parameters


def allowed_parameters(path: str) -> set[str]:
    """What the code takes at a path, from its own answer to an unknown parameter."""
    status, _, body = ask(path, query={"no-such": ["1"]})
    problem = json.loads(body)
    assert (status, problem["code"]) == (400, "invalid_parameter")
    (fault,) = problem["errors"]
    assert fault["parameter"] == "no-such"
    allowed = re.fullmatch(r"is not a parameter here; allowed: (.+)", fault["reason"])
    assert allowed
    return set() if allowed[1] == "none" else set(allowed[1].split(", "))


def told_parameters(contract: Contract) -> dict[str, set[str]]:
    return {
        path: {each["name"] for each in contract.parameters("GET", path) if each["in"] == "query"}
        for path in contract.document["paths"]
    }


def test_query_parameters() -> None:
    """The document tells just the query parameters that the code takes, route by route."""
    served = {path: allowed_parameters(asked) for path, asked in served_paths().items()}
    assert sum(map(len, served.values())) == 24
    assert told_parameters(CONTRACT) == served
    assert told_parameters(changed(lambda it: it["paths"]["/incidents"]["get"]["parameters"].pop())) == served
    assert (
        told_parameters(changed(lambda it: it["paths"]["/incidents"]["get"]["parameters"].pop(0))) != served
    )


def test_unknown_parameters_are_told_as_promised() -> None:
    """The 400 for an unknown parameter is the documented one, on every route."""
    for path, asked in served_paths().items():
        status, headers, body = ask(asked, query={"no-such": ["1"]})
        assert CONTRACT.faults("GET", path, status, headers, body) == []


def accepts(name: str, *values: str, path: str = "/incidents") -> bool:
    """Whether the code takes a parameter's values."""
    parse_query = (
        parameters.parse_changes_parameters if "changes" in path else parameters.parse_page_parameters
    )
    try:
        parse_query({name: list(values)})
    except problems.InvalidParametersError:
        return False
    return True


def promises(contract: Contract, component: str, value: Any) -> bool:
    """Whether the document says that a parameter may have this value."""
    return contract.schema_faults(parameter(contract, component)["schema"], value) == []


@pytest.mark.parametrize("value", [-1, 0, 1, 2, 99, 500, 501, 1000, 1001, 10**9])
def test_limits(value: int) -> None:
    """The document's limits are the code's: the last number inside and the first one outside."""
    assert promises(CONTRACT, "PageLimit", value) == accepts("limit", str(value))
    assert promises(CONTRACT, "ChangesLimit", value) == accepts("limit", str(value), path="changes")
    worse = changed(lambda it: it["components"]["parameters"]["PageLimit"]["schema"].update(maximum=501))
    assert promises(worse, "PageLimit", 501) != accepts("limit", "501")


def test_defaults() -> None:
    """Defaults are the code's."""
    taken = parameters.parse_changes_parameters({})
    assert parameter(CONTRACT, "ChangesLimit")["schema"]["default"] == taken.limit
    assert parameter(CONTRACT, "Schema")["schema"]["default"] == taken.schema
    assert f"Without it {parameters.DEFAULT_LIMIT}," in parameter(CONTRACT, "PageLimit")["description"]


def test_choices() -> None:
    """Priorities, types and schemas are the code's, in its order."""
    assert schemas(CONTRACT)["Priority"]["enum"] == list(PRIORITIES)
    assert schemas(CONTRACT)["IncidentType"]["enum"] == list(INCIDENT_TYPES)
    assert parameter(CONTRACT, "Schema")["schema"]["enum"] == list(parameters.SCHEMAS)


@given(st.lists(st.lists(st.sampled_from([*PRIORITIES, "urgent", "", "LOW"]), min_size=1, max_size=3)))
def test_filters(lists: list[list[str]]) -> None:
    """A filter is taken repeated and separated by commas, just as the document says."""
    values = [",".join(each) for each in lists]
    assert promises(CONTRACT, "Priority", values) == accepts("priority", *values)
    types = [value.replace("low", "probing").replace("high", "other") for value in values]
    types = [value for value in types if "medium" not in value and "critical" not in value]
    assert promises(CONTRACT, "Type", types) == accepts("type", *types)


RFC3339 = schemas(CONTRACT)["Moment"]["anyOf"][1]["pattern"]
EPOCH = schemas(CONTRACT)["Moment"]["anyOf"][0]["pattern"]
MOMENTS = st.one_of(
    st.from_regex(EPOCH, fullmatch=True),
    st.from_regex(RFC3339, fullmatch=True),
    st.from_regex(r"[0-9]{0,12}\.?[0-9]{0,9}", fullmatch=True),
    st.from_regex(
        r"2[0-9]{3}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|\+[0-9]{2}:[0-9]{2})?",
        fullmatch=True,
    ),
    st.text(max_size=12),
)


@given(MOMENTS)
@example("2026-02-29T00:00:00Z")
@example("2026-11-23T06:00:00Z")
@example("2026-11-23T24:00:00Z")
@example("2016-12-31T23:59:60Z")
@example("1795413600.12345678")
@example("9999999999.9999999")
@example("2026-11-23 06:00:00Z")
@example("2026-11-23T06:00:00")
@example("-1")
def test_moments(text: str) -> None:
    """Whatever the code takes for a moment the document allows; whatever the document allows the code takes,
    but for days that no calendar has and the two ends of its range.
    """
    taken, told = accepts("since", text), promises(CONTRACT, "Since", text)
    if taken:
        assert told
    elif told:
        year = text[:4]
        day = int(text[8:10])
        assert year in ("1970", "2286", "2287", "2288", "2289") or day > 28


@given(st.from_regex(r"[0-9]{0,22}", fullmatch=True) | st.text(max_size=5))
def test_employee_ids(text: str) -> None:
    """The document's employee ids in a path are the code's."""
    try:
        parameters.parse_employee_id(text)
        taken = True
    except problems.InvalidParametersError:
        taken = False
    assert taken == promises(CONTRACT, "EmployeeId", text)


# ---------------------------------------------------------------- problems


def told_codes(contract: Contract) -> dict[tuple[str, str], set[str]]:
    """By path and status (or its range), the codes that a GET's problem may have."""
    told = {}
    for path, item in contract.document["paths"].items():
        for status, response in item["get"]["responses"].items():
            content = contract.resolve(response).get("content", {}).get("application/problem+json")
            if content:
                code = content["schema"]["allOf"][1]["properties"]["code"]
                if status.isdigit():
                    told_status = content["schema"]["allOf"][1]["properties"]["status"]
                    assert told_status == {"const": int(status)}
                told[path, status] = set(code.get("enum", [code.get("const")]))
    return told


def gateway_problem(kind: str) -> dict[str, Any]:
    """The body of one of API Gateway's own answers."""
    text = GATEWAY_RESPONSES[kind]["ResponseTemplates"]["application/json"]
    body: dict[str, Any] = json.loads(text.replace("$context.requestId", "a-request"))
    return body


def test_problem_codes() -> None:
    """The document has every code of the code and of the gateway, each under its own status, and no other."""
    kinds = [*problems.PROBLEMS.values(), problems.INTERNAL]
    own = {kind.code: str(kind.status) for kind in kinds}
    assert len(own) == len(kinds)
    gateway = {gateway_problem(kind)["code"] for kind in GATEWAY_RESPONSES}
    assert len(gateway) > 10
    enum = schemas(CONTRACT)["Problem"]["properties"]["code"]["enum"]
    assert set(enum) == own.keys() | gateway
    assert len(enum) == len(set(enum))
    told = told_codes(CONTRACT)
    assert set().union(*told.values()) == set(enum)
    for (_, status), codes in told.items():
        assert {own[code] for code in codes & own.keys()} <= {status}
    for code, status in own.items():
        assert any(code in codes for (_, at), codes in told.items() if at == status), code
    worse = changed(lambda it: it["components"]["responses"]["NotAcceptable"]["content"].clear())
    assert set().union(*told_codes(worse).values()) != set(enum)


def gateway_faults(contract: Contract, kind: str) -> list[str]:
    """Why one of API Gateway's own answers is not the documented one, on any path."""
    response, body = GATEWAY_RESPONSES[kind], gateway_problem(kind)
    status = str(response.get("StatusCode", kind.removeprefix("DEFAULT_")))
    names = {name.lower() for name in response["ResponseParameters"]["Headers"]} - {"content-type"}
    found = []
    for path in contract.document["paths"]:
        told = contract.response("GET", path, status)
        if told is None:
            found.append(f"{path}: {status} is not documented")
            continue
        schema = told["content"]["application/problem+json"]["schema"]
        found += [f"{path}: {each}" for each in contract.schema_faults(schema, body)]
        required = {
            name.lower() for name, each in told["headers"].items() if contract.resolve(each).get("required")
        }
        if not required <= names <= {name.lower() for name in told["headers"]}:
            found.append(f"{path}: headers {sorted(names)}")
    return found


@pytest.mark.parametrize("kind", GATEWAY_RESPONSES)
def test_what_the_gateway_answers_by_itself(kind: str) -> None:
    """Each of API Gateway's own answers has a documented status, code, shape and headers."""
    assert gateway_faults(CONTRACT, kind) == []
    status = str(GATEWAY_RESPONSES[kind].get("StatusCode", kind.removeprefix("DEFAULT_")))
    worse = changed(lambda it: it["paths"]["/health"]["get"]["responses"].pop(status))
    assert gateway_faults(worse, kind) == [f"/health: {status} is not documented"]
    told = GATEWAY_RESPONSES[kind]["ResponseParameters"]["Headers"]["Content-Type"]
    assert told == f"'{problems.CONTENT_TYPE}'"


def test_headers_of_problems() -> None:
    """Retry-After and Allow are told where the code or the gateway sends them, and only there."""
    by_status: dict[str, set[str]] = {"429": {"Retry-After"}}
    for kind in problems.PROBLEMS.values():
        by_status.setdefault(str(kind.status), set()).update(kind.headers)
    for path, status in told_codes(CONTRACT):
        response = CONTRACT.response("GET", path, status) or {}
        assert response["headers"].keys() & {"Retry-After", "Allow"} == by_status.get(status, set())


@pytest.mark.parametrize("error", [*problems.PROBLEMS, RuntimeError], ids=lambda each: each.__name__)
def test_every_problem_has_the_documented_shape(error: type[Exception]) -> None:
    """What is rendered for each problem is a Problem; one without a code is not."""
    made = (
        error(problems.ParameterFault("limit", "must be a whole number"))
        if error is problems.InvalidParametersError
        else error("a reason")
    )
    body = json.loads(problems.render_problem(made, request_id="a-request"))
    schema = {"$ref": "#/components/schemas/Problem"}
    assert CONTRACT.schema_faults(schema, body) == []
    assert body["status"] == problems.problem_kind(made).status
    assert body["type"] == f"urn:security-incident-api:problem:{body['code']}"
    assert CONTRACT.schema_faults(schema, {**body, "more": 1})
    for name in body.keys() - {"status"}:
        assert CONTRACT.schema_faults(schema, {key: value for key, value in body.items() if key != name}), (
            name
        )


def test_the_local_gateways_own_problems(capsys: pytest.CaptureFixture[str]) -> None:
    """What the gateway of the local run answers by itself is documented: 404 and 502."""

    def fail(event: Any, context: Any) -> Any:
        raise RuntimeError

    gateway = Gateway(Function("api", fail, Limits(1, 128)), [Route("GET", "/health")], None)
    for path, expected in (("/nowhere", 404), ("/health", 502)):
        started: list[Any] = []
        environ = {"REQUEST_METHOD": "GET", "REQUEST_URI": path, "QUERY_STRING": ""}
        body = b"".join(gateway(environ, lambda status, headers, to=started: to.append((status, headers))))
        status, headers = int(started[0][0].split()[0]), dict(started[0][1])
        assert status == expected
        assert CONTRACT.faults("GET", "/health", status, headers, body.decode()) == []
    assert "RuntimeError" in capsys.readouterr().err


# ---------------------------------------------------------------- media types and bodies


def media_types(contract: Contract, path: str, status: int | str = 200) -> list[str]:
    return list((contract.response("GET", path, status) or {})["content"])


def test_media_types() -> None:
    """Each route's media types are those that the code chooses from, the preferred one first."""
    assert media_types(CONTRACT, "/incidents") == [formats.JSON]
    assert media_types(CONTRACT, "/employees/{employee_id}/incidents") == [formats.JSON]
    assert media_types(CONTRACT, "/incidents/changes") == list(formats.FLAT)
    assert set(formats.NESTED) < set(formats.FLAT)
    assert media_types(CONTRACT, "/health") == [health.CONTENT_TYPE, formats.JSON]
    assert media_types(CONTRACT, "/health", 503) == [health.CONTENT_TYPE, formats.JSON]
    assert media_types(CONTRACT, "/openapi.json") == [formats.JSON]
    for path, status in told_codes(CONTRACT):
        if status != "503" or path != "/health":
            assert media_types(CONTRACT, path, status) == [problems.CONTENT_TYPE]


def upstream_record(kind: str) -> dict[str, Any]:
    subject = 4506 if kind in ("denial", "misuse", "unauthorized") else "17.99.238.86"
    record = {"priority": "high", SUBJECT_FIELDS[kind]: subject, "timestamp": Decimal("1795413512.0263")}
    return record | ({"source_ip": "203.0.113.7"} if kind in ("denial", "intrusion") else {})


def make_incident(kind: str) -> Incident:
    return normalise(kind, parse(json.dumps(upstream_record(kind), default=float)), now=1795413600)


@pytest.mark.parametrize("kind", INCIDENT_TYPES)
def test_incidents_of_each_type(kind: str) -> None:
    """What is made of an upstream record of each type is the documented one, field by field, as an incident,
    as a change and as a finding; without any of its fields, or as another type, it is not.
    """
    incident = make_incident(kind)
    shown = json.loads(incident.render("4506"))
    schema = {"$ref": "#/components/schemas/Incident"}
    assert CONTRACT.schema_faults(schema, shown) == []
    assert CONTRACT.schema_faults(schema, {**shown, "from_tomorrow": [1]}) == []
    told = schemas(CONTRACT)[f"{kind.capitalize()}Incident"]["properties"].keys()
    assert told | schemas(CONTRACT)["AnyIncident"]["properties"].keys() == shown.keys()
    for name in shown.keys() - {"source_ip"}:
        lost = {key: value for key, value in shown.items() if key != name}
        assert CONTRACT.schema_faults(schema, lost), name
    assert CONTRACT.schema_faults(schema, {**shown, "type": "flood"})

    change = Change(incident, "4506", 42, "2026-11-23T06:00:00Z")
    finding = to_detection_finding(change, version=VERSION)
    for name, row in (("Change", change.flat()), ("DetectionFinding", finding)):
        value = json.loads(render(row))
        assert CONTRACT.schema_faults({"$ref": f"#/components/schemas/{name}"}, value) == []
        for field in value.keys() - {"source_ip"}:
            lost = {key: each for key, each in value.items() if key != field}
            assert CONTRACT.schema_faults({"$ref": f"#/components/schemas/{name}"}, lost), field


def test_the_types_are_all_there() -> None:
    """The seven types, and the way from `type` to their fields."""
    incident = schemas(CONTRACT)["Incident"]
    assert list(incident["discriminator"]["mapping"]) == list(INCIDENT_TYPES)
    assert [{"$ref": each} for each in incident["discriminator"]["mapping"].values()] == incident["oneOf"]
    for kind, subject in SUBJECT_FIELDS.items():
        told = schemas(CONTRACT)[f"{kind.capitalize()}Incident"]
        assert told["properties"]["type"] == {"const": kind}
        # The subject of misuse and unauthorized is the employee_id that all have.
        assert (subject in told["required"]) == (subject != "employee_id")


def test_csv_columns() -> None:
    """The CSV's header line is the documented one, and its rows are changes."""
    change = Change(make_incident("denial"), "4506", 42, "2026-11-23T06:00:00Z")
    odd = Change(
        Incident("0" * 32, "other", "low", "1.5", "7", None, {"identifier": JsonNumber("7"), "x": "=1"}),
        "7", 1, "2026-11-23T06:00:00Z",
    )  # fmt: skip
    content = CONTRACT.document["components"]["responses"]["Changes"]["content"]
    text = formats.render_csv([change.flat(), odd.flat()])
    assert CONTRACT.schema_faults(content["text/csv"]["schema"], text) == []
    assert CONTRACT.schema_faults(content["text/csv"]["schema"], text.replace("id,", "ID,", 1))
    assert text.split("\r\n", 1)[0] == content["text/csv"]["examples"]["native"]["value"].split("\r\n", 1)[0]


def health_document(state: State) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        json.dumps(health.assess_health(state, now=1795413642.5, poll_interval_seconds=300))
    )
    return document


ERROR = PollError("server_error", "the upstream answered 503", 503, 1795413600.5)
FRESH = SourceReport("fresh", 300, 0, 0, 1804, 1, 1795413600.5)
STALE = SourceReport("stale", 300, 1, 2, 1804, 3, 1795413300.5, ERROR)
GOOD = PollReport(1795413600.5, 9120, 1795413600.5, sources=dict.fromkeys(ALL_SOURCES, FRESH))
BAD = PollReport(1795413600.5, 9120, 1795412400.5, 3, ERROR, sources=dict.fromkeys(ALL_SOURCES, STALE))
STATES = {
    "empty": State(),
    "fresh": State(42, "2026-11-23T06:00:00Z", polls=1, report=GOOD),
    "stale": State(42, "2026-11-23T06:00:00Z", report=BAD),
}


def fields(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way to each field of a document."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield (*path, name)
            yield from fields(each, (*path, name))
    elif isinstance(value, list):
        yield from fields(value[0], (*path, "0"))


@pytest.mark.parametrize("state", STATES)
def test_health_field_by_field(state: str) -> None:
    """The health document has the documented fields at every level: each one lost or added is seen."""
    schema = {"$ref": "#/components/schemas/Health"}
    document = health_document(STATES[state])
    assert document["status"] == {"empty": "fail", "fresh": "pass", "stale": "fail"}[state]
    assert CONTRACT.schema_faults(schema, document) == []
    ways = [way for way in fields(document) if way[-1] != "0"]
    assert len(ways) > 100
    for way in ways:
        lost, more = copy.deepcopy(document), copy.deepcopy(document)
        inner_lost, inner_more = lost, more
        for name in way[:-1]:
            inner_lost = inner_lost[int(name) if name == "0" else name]
            inner_more = inner_more[int(name) if name == "0" else name]
        del inner_lost[way[-1]]
        inner_more["new"] = 1
        assert CONTRACT.schema_faults(schema, lost), way
        assert CONTRACT.schema_faults(schema, more), way


def error_classes() -> set[str]:
    """Every class that the poller gives an error, from its source."""
    found: set[str] = set()
    for path in (PROJECT / "functions" / "poller").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("UpstreamError", "PollError"):
                first = node.args[0]
                found |= {first.value} if isinstance(first, ast.Constant) else set()
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "error_class":
                found |= {each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)}
    return found


def test_error_classes() -> None:
    """The classes of the poller's errors are the documented ones."""
    told = schemas(CONTRACT)["PollError"]["properties"]["class"]["enum"]
    assert set(told) == error_classes()
    assert told == sorted(told)
