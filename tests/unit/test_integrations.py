"""The ready-made configurations are true to the contract and to what their tools document.

What runs here is run by tests/integration/clients; this is what can be told by reading.
"""

import ast
import configparser
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.api.parameters import MAX_LIMIT
from incidents_client.cli import build_parser
from scripts.openapi import load_contract

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "integrations"
TOOLS = sorted(path.name for path in FOLDER.iterdir())
INDEX = (ROOT / "docs/integrations.md").read_text("utf-8")
HEADINGS = [
    "What to fill in",
    "Route",
    "Credentials",
    "How far it got",
    "When it is refused",
    "Limits",
    "Checked here",
    "Sources",
]
CONTRACT = load_contract()
SCRIPT = FOLDER / "splunk/TA-security-incidents/bin/pull_incidents.py"
CHANGES, INCIDENTS = "/incidents/changes", "/incidents"


def read(path: str) -> str:
    return (FOLDER / path).read_text("utf-8")


def resolve(node: Any) -> Any:
    """What a reference of the contract leads to."""
    while isinstance(node, dict) and "$ref" in node:
        found: Any = CONTRACT
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def parameters_of(route: str) -> set[str]:
    """Names of the query's parameters."""
    found = [resolve(each) for each in CONTRACT["paths"][route]["get"]["parameters"]]
    return {each["name"] for each in found if each["in"] == "query"}


def answer_of(route: str) -> tuple[set[str], set[str]]:
    """Members of the JSON answer, and headers."""
    response = resolve(CONTRACT["paths"][route]["get"]["responses"]["200"])
    schema = resolve(response["content"]["application/json"]["schema"])
    return set(schema["properties"]), set(response["headers"])


def fields_of_a_change() -> set[str]:
    """Every field that an incident of the feed has, whatever its type."""

    def collect(node: Any) -> set[str]:
        node = resolve(node)
        names = set(node.get("properties", {}))
        for each in (*node.get("allOf", []), *node.get("oneOf", [])):
            names |= collect(each)
        return names

    return collect({"$ref": "#/components/schemas/Change"})


# ---------------------------------------------------------------- the pages


@pytest.mark.parametrize("tool", TOOLS)
def test_every_configuration_has_a_page_of_the_same_form(tool: str) -> None:
    """Whoever looks for the credentials, the state or what was checked finds it under the same heading."""
    page = read(f"{tool}/README.md")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS
    parts = dict(zip(HEADINGS, re.split(r"^## .+$", page, flags=re.MULTILINE)[1:], strict=True))
    assert all(len(text.strip()) > 20 for text in parts.values())
    assert "SigV4" in parts["Credentials"]
    assert "410" in parts["When it is refused"]
    assert re.findall(r"\]\(https://", parts["Sources"])
    # A page that does not say what was not shown would promise it.
    assert re.search(r"\b([Nn]ot|Only)\b", parts["Checked here"])


def test_the_index_names_every_configuration() -> None:
    """docs/integrations.md has a row for each, and none that is not there."""
    rows = re.findall(r"^\| \[[^]]+\]\(\.\./integrations/(\w+)/README\.md\) \|", INDEX, re.MULTILINE)
    assert sorted(rows) == TOOLS


def test_every_configuration_is_of_a_kind_that_is_parsed() -> None:
    """JSON, YAML and Python are read as such; the rest is Splunk's."""
    kinds = set()
    for path in (each for each in FOLDER.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        kinds.add(path.suffix)
        text = path.read_text("utf-8")
        match path.suffix:
            case ".json":
                json.loads(text)
            case ".yaml" | ".yml":
                yaml.safe_load(text)
            case ".py":
                ast.parse(text)
            case ".conf" | ".meta":
                # Splunk's name for "everything here", which Python's parser does not take.
                configparser.RawConfigParser(strict=True).read_string(text.replace("[]", "[everything]"))
    assert kinds == {".json", ".yaml", ".yml", ".py", ".conf", ".meta", ".md"}


# ---------------------------------------------------------------- the contract


def resources_of_sentinel() -> dict[str, Any]:
    """The template's resources by the last part of their types."""
    template = json.loads(read("sentinel/azuredeploy.json"))
    return {each["type"].rpartition("/")[2]: each for each in template["resources"]}


@dataclass
class Asked:
    """What a configuration asks for, what it reads of an answer, and the size of a page.

    Those in Python are run instead: the service refuses what it does not know.
    """

    address: str
    parameters: set[str]
    members: set[str]
    size: int


def asked_by_sentinel() -> Asked:
    connector = resources_of_sentinel()["dataConnectors"]["properties"]
    paging, query = connector["paging"], connector["request"]["queryParameters"]
    paths = [*connector["response"]["eventsJsonPaths"], paging["nextPageTokenJsonPath"]]
    members = {path.removeprefix("$.") for path in (*paths, paging["hasNextFlagJsonPath"])}
    address = connector["request"]["apiEndpoint"].removesuffix("')]")
    return Asked(address, {*query, paging["nextPageParaName"]}, members, query["limit"])


def asked_by_cribl() -> Asked:
    collector = json.loads(read("cribl/collector.json"))["collector"]["conf"]
    (rule,) = json.loads(read("cribl/breaker.json"))["rules"]
    address, _, query = collector["collectUrl"].partition("?")
    members = {*collector["pagination"]["attribute"], rule["jsonArrayField"]}
    parameters = re.findall(r"(?:^|&)(\w+)=", query.replace("'", ""))
    return Asked(address, set(parameters), members, int(query.removeprefix("limit=").partition("$")[0]))


def asked_by_cel() -> Asked:
    (settings,) = yaml.safe_load(read("elastic/filebeat-cel.yml"))["filebeat.inputs"]
    parameters = re.findall(r"[?&](\w+)=", settings["program"])
    members = re.findall(r"\bbody\.(\w+)", settings["program"])
    return Asked(settings["resource.url"], set(parameters), set(members), int(settings["state"]["page_size"]))


def asked_by_httpjson() -> Asked:
    (settings,) = yaml.safe_load(read("elastic/filebeat-httpjson.yml"))["filebeat.inputs"]
    values = {each["set"]["target"]: each["set"]["value"] for each in settings["request.transforms"]}
    parameters = {name.removeprefix("url.params.") for name in values if name.startswith("url.params.")}
    members = re.findall(r"\bbody\.(\w+)", json.dumps(settings))
    return Asked(settings["request.url"], parameters, set(members), int(values["url.params.limit"]))


def asked_by_airbyte(name: str) -> Asked:
    streams = yaml.safe_load(read("airbyte/manifest.yaml"))["streams"]
    (retriever,) = (each["retriever"] for each in streams if each["name"] == name)
    pages = retriever["paginator"]
    strategy = pages["pagination_strategy"]
    expressions = strategy["cursor_value"] + strategy["stop_condition"]
    size = re.fullmatch(r".*, (\d+)\) }}", strategy["page_size"])
    assert size
    return Asked(
        retriever["requester"]["path"],
        {pages["page_size_option"]["field_name"], pages["page_token_option"]["field_name"]},
        {
            retriever["record_selector"]["extractor"]["field_path"][0],
            *re.findall(r"response\['(\w+)'\]", expressions),
        },
        int(size[1]),
    )


ASKED = {
    "sentinel": asked_by_sentinel(),
    "cribl": asked_by_cribl(),
    "cel": asked_by_cel(),
    "httpjson": asked_by_httpjson(),
    "airbyte changes": asked_by_airbyte("changes"),
}


@pytest.mark.parametrize("name", ASKED)
def test_the_feed_is_asked_as_the_contract_has_it(name: str) -> None:
    """Its route, its parameters, the members that a client needs to go on, and a page that is allowed."""
    asked = ASKED[name]
    assert asked.address.endswith(CHANGES)
    assert asked.parameters == {"limit", "token"} <= parameters_of(CHANGES)
    assert asked.members == {"data", "next_token", "has_more"} <= answer_of(CHANGES)[0]
    largest = resolve(CONTRACT["components"]["parameters"]["ChangesLimit"])["schema"]["maximum"]
    assert asked.size == largest


def test_the_walk_is_asked_as_the_contract_has_it() -> None:
    """The same for `/incidents`."""
    asked = asked_by_airbyte("incidents")
    assert asked.address == INCIDENTS
    assert asked.parameters == {"limit", "cursor"} <= parameters_of(INCIDENTS)
    assert asked.members == {"incidents", "next_cursor", "has_more"} <= answer_of(INCIDENTS)[0]
    assert asked.size == MAX_LIMIT


def test_fields_are_those_of_the_contract() -> None:
    """Whoever declares columns declares all, and none that is not there."""
    fields = fields_of_a_change()
    assert {"id", "sequence", "machine_ip", "identifier"} < fields
    manifest = yaml.safe_load(read("airbyte/manifest.yaml"))
    for stream in manifest["streams"]:
        declared = set(stream["schema_loader"]["schema"]["properties"])
        assert declared == (fields if stream["name"] == "changes" else fields - {"sequence", "ingested_at"})
    tap = read("meltano/tap_security_incidents.py")
    assert (
        set(re.findall(r'th\.Property\(\s*"(\w+)", th\.', tap))
        - {
            "base_url",
            "api_key",
            "page_size",
            "employees_per_page",
        }
        == fields
    )
    rule = resources_of_sentinel()["dataCollectionRules"]["properties"]
    (stream,) = rule["streamDeclarations"].values()
    assert {each["name"] for each in stream["columns"]} == fields


def test_every_configuration_sends_the_key_as_the_service_takes_it() -> None:
    """In `X-Api-Key`: the header of `Authorizer=API_KEY`; and no configuration has a key in it."""
    for tool in TOOLS:
        texts = [path.read_text("utf-8") for path in (FOLDER / tool).rglob("*") if path.is_file()]
        assert tool == "vector" or any("X-Api-Key" in text for text in texts), tool


# ---------------------------------------------------------------- one by one


def test_sentinel_has_what_the_documentation_requires() -> None:
    """The required members of a RestApiPoller and of its connection, with values that are allowed."""
    template = json.loads(read("sentinel/azuredeploy.json"))
    assert template["parameters"]["apiKey"]["type"] == "securestring"
    found = resources_of_sentinel()
    kinds = {
        "dataCollectionEndpoints",
        "tables",
        "dataCollectionRules",
        "dataConnectorDefinitions",
        "dataConnectors",
    }
    assert found.keys() == kinds
    assert all({"apiVersion", "name", "properties"} <= each.keys() for each in found.values())
    connector = found["dataConnectors"]
    assert connector["kind"] == "RestApiPoller"
    properties = connector["properties"]
    assert {
        "auth",
        "request",
        "response",
        "paging",
        "dcrConfig",
        "connectorDefinitionName",
    } < properties.keys()
    assert {"apiEndpoint"} < properties["request"].keys()
    assert 1 <= properties["request"]["retryCount"] <= 6
    # Longer than API Gateway takes, 29 seconds, and within what is allowed.
    assert 29 < properties["request"]["timeoutInSeconds"] <= 180
    assert properties["auth"] == {
        "type": "APIKey",
        "ApiKey": "[parameters('apiKey')]",
        "ApiKeyName": "X-Api-Key",
        "ApiKeyIdentifier": "",
    }
    assert properties["response"] == {"eventsJsonPaths": ["$.data"], "format": "json"}
    assert properties["paging"]["pagingType"] == "PersistentToken"
    assert properties["dcrConfig"].keys() == {
        "dataCollectionEndpoint",
        "dataCollectionRuleImmutableId",
        "streamName",
    }
    definition = found["dataConnectorDefinitions"]
    assert definition["kind"] == "Customizable"
    assert definition["properties"]["connectorUiConfig"]["connectivityCriteria"] == [
        {"type": "HasDataConnectors"}
    ]


def test_sentinels_stream_rule_and_table_have_the_same_columns() -> None:
    """What the rule takes is declared, what it gives has a column of the same type; Azure takes the names."""
    template, found = json.loads(read("sentinel/azuredeploy.json")), resources_of_sentinel()
    variables, rule = template["variables"], found["dataCollectionRules"]["properties"]
    ((name, stream),) = rule["streamDeclarations"].items()
    assert name == variables["stream"]
    assert name.startswith("Custom-")
    assert variables["table"].endswith("_CL")
    (flow,) = rule["dataFlows"]
    assert flow["streams"] == [name]
    taken = dict(re.findall(r"(\w+) = \['?(\w+)'?\]", flow["transformKql"]))
    taken |= dict(re.findall(r"(TimeGenerated) = (\w+)", flow["transformKql"]))
    given = {each["name"]: each["type"] for each in stream["columns"]}
    columns = {each["name"]: each["type"] for each in found["tables"]["properties"]["schema"]["columns"]}
    assert {column: given[field] for column, field in taken.items()} == columns
    assert set(taken.values()) == set(given)
    # Log Analytics has these for itself.
    assert not {each.lower() for each in columns} & {"id", "type", "tenantid", "title", "uniqueid"}


# As https://vector.dev/docs/reference/configuration/sources/exec/ has them.
EXEC = {
    "clear_environment",
    "command",
    "decoding",
    "environment",
    "framing",
    "include_stderr",
    "maximum_buffer_size_bytes",
    "mode",
    "scheduled",
    "streaming",
    "type",
    "working_directory",
}


def test_vector_runs_the_command_with_options_that_both_have() -> None:
    """One run after the other, however long one takes, and what it complains of is no event.

    The command finds out from Vector's own environment whom to ask, and keeps how far it got.
    """
    source = yaml.safe_load(read("vector/vector.yaml"))["sources"]["incidents"]
    assert source["type"] == "exec"
    assert source.keys() <= EXEC
    assert source["mode"] == "streaming"
    assert source["streaming"].keys() == {"respawn_on_exit", "respawn_interval_secs"}
    assert source["include_stderr"] is False
    assert source["clear_environment"] is False
    assert source["framing"] == {"method": "newline_delimited"}
    program, *arguments = source["command"]
    assert program in read("vector/README.md").replace("bin/pip", "bin/incidents")
    given = build_parser().parse_args(arguments)
    assert (given.command, given.output) == ("changes", "ndjson")
    assert str(given.token_file) in read("vector/README.md")
    variables = set(re.findall(r"`((?:INCIDENTS|AWS)_[A-Z_]+)`", read("vector/README.md")))
    documented = (ROOT / "client/README.md").read_text("utf-8")
    assert all(f"| `{name}` |" in documented for name in variables)
    assert {"INCIDENTS_URL", "INCIDENTS_API_KEY", "INCIDENTS_TOKEN", "AWS_PROFILE"} == variables


# As Filebeat's pages on the two inputs and their common options have them.
CEL = {
    "interval",
    "program",
    "state",
    "redact.fields",
    "resource.url",
    "resource.headers",
    "resource.retry.max_attempts",
}
HTTPJSON = {
    "interval",
    "request.url",
    "request.retry.max_attempts",
    "request.transforms",
    "response.split",
    "response.pagination",
    "cursor",
}
COMMON = {"type", "id", "processors"}


@pytest.mark.parametrize(("file", "options"), [("cel", CEL), ("httpjson", HTTPJSON)])
def test_filebeat_has_options_that_the_input_has(file: str, options: set[str]) -> None:
    """No other; and the incident's id becomes the document's."""
    (settings,) = yaml.safe_load(read(f"elastic/filebeat-{file}.yml"))["filebeat.inputs"]
    assert settings.keys() == options | COMMON
    assert settings["type"] == file
    assert settings["processors"][0]["decode_json_fields"]["document_id"] == "id"


def test_cribl_keeps_the_token_and_passes_it_on() -> None:
    """State is the answers' header, which exists; the next run's URL carries it; times filter nothing out."""
    collector = json.loads(read("cribl/collector.json"))
    breaker = json.loads(read("cribl/breaker.json"))
    assert collector["input"]["breakerRulesets"] == [breaker["id"]]
    tracking = collector["schedule"]["run"]["stateTracking"]
    assert tracking["enabled"] is True
    (header,) = set(re.findall(r"resHeaders\['([\w-]+)'\]", tracking["stateUpdateExpression"]))
    assert header in {each.lower() for each in answer_of(CHANGES)[1]}
    settings = collector["collector"]["conf"]
    assert settings["captureHeaders"] is True
    assert settings["disableTimeFilter"] is True
    assert "state.token" in settings["collectUrl"]
    assert settings["pagination"]["maxPages"] == 0
    assert {429, 503} <= set(settings["retryRules"]["codes"])
    (rule,) = breaker["rules"]
    assert rule["type"] == "json_array"
    assert rule["jsonTimeField"] in fields_of_a_change()


def test_splunk_runs_the_script_that_is_there() -> None:
    """Off until somebody fills in the address; one line is one event, whose time is the incident's."""
    folder = FOLDER / "splunk/TA-security-incidents"
    inputs = configparser.RawConfigParser()
    inputs.read(folder / "default/inputs.conf")
    (stanza,) = inputs.sections()
    assert stanza.startswith(f"script://$SPLUNK_HOME/etc/apps/{folder.name}/bin/{SCRIPT.name} ")
    assert len(stanza.split()) == 1 + 3
    assert inputs[stanza]["disabled"] == "1"
    props = configparser.RawConfigParser()
    props.read(folder / "default/props.conf")
    assert props.sections() == [inputs[stanza]["sourcetype"]]
    settings = props[inputs[stanza]["sourcetype"]]
    assert settings["SHOULD_LINEMERGE"] == "false"
    line = '{"type": "misuse", "timestamp": 1795181602.7148474, "sequence": 1}'
    assert re.split(settings["TIME_PREFIX"], line)[1].startswith("1795181602.714847")


def test_the_script_runs_by_the_python_that_splunk_brings() -> None:
    """Python 3.7's syntax, and nothing but its own library."""
    tree = ast.parse(SCRIPT.read_text("utf-8"), feature_version=(3, 7))
    assert imported(tree) <= set(sys.stdlib_module_names)
    with pytest.raises(SyntaxError):
        ast.parse("match 1:\n    case 1: pass", feature_version=(3, 7))


def imported(tree: ast.AST) -> set[str]:
    names: list[Iterable[str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.append(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.append([(node.module or "").partition(".")[0]])
    return {name for each in names for name in each}
