"""The template, samconfig.toml, the sample events and the packages' requirements say what they must say."""

import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.stack import Stack

ROOT = Path(__file__).parents[2]
FUNCTIONS = {"PollerFunction": "poller", "ApiFunction": "api"}
PATHS = {
    "/incidents",
    "/incidents/unattributed",
    "/incidents/changes",
    "/employees",
    "/employees/{employee_id}/incidents",
    "/summary",
    "/health",
    "/openapi.json",
}
METHODS = {"get", "head", "x-amazon-apigateway-any-method"}
AUTHORIZERS = {
    "IAM": {},
    "API_KEY": {},
    "COGNITO": {
        "AuthorizerArn": "arn:aws:cognito-idp:eu-central-1:123456789012:userpool/eu-central-1_a1B2c3D4e"
    },
    "LAMBDA": {"AuthorizerArn": "arn:aws:lambda:eu-central-1:123456789012:function:judge"},
}

type Node = dict[str, Any]


class _TemplateLoader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: `!Sub x` becomes `{"Fn::Sub": "x"}`, and so on."""


def _intrinsic(loader: _TemplateLoader, suffix: str, node: yaml.Node) -> Node:
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    return {name: node.value.split(".", 1) if name == "Fn::GetAtt" else node.value}


_TemplateLoader.add_multi_constructor("!", _intrinsic)


def _load_template() -> Node:
    return yaml.load((ROOT / "template.yaml").read_text(), Loader=_TemplateLoader)  # noqa: S506 - a SafeLoader


TEMPLATE = _load_template()
PARAMETERS: Node = TEMPLATE["Parameters"]
RESOURCES: Node = TEMPLATE["Resources"]
SAMCONFIG = tomllib.loads((ROOT / "samconfig.toml").read_text())


def properties(logical_id: str) -> Node:
    return RESOURCES[logical_id]["Properties"]


def of_type(resource_type: str) -> Node:
    return {name: it["Properties"] for name, it in RESOURCES.items() if it["Type"] == resource_type}


def events(logical_id: str, event_type: str) -> list[Node]:
    return [it["Properties"] for it in properties(logical_id)["Events"].values() if it["Type"] == event_type]


def strings(node: object) -> Iterator[str]:
    """Every text in a node, keys left out."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)


# ---------------------------------------------------------------- names that others rely on


def test_the_promised_logical_ids_have_the_promised_types() -> None:
    """Outside checks find the functions, the table and the API under the names of the design."""
    promised = {
        "PollerFunction": "AWS::Serverless::Function",
        "ApiFunction": "AWS::Serverless::Function",
        "IncidentTable": "AWS::DynamoDB::Table",
        "IncidentApi": "AWS::Serverless::Api",
    }
    assert {name: RESOURCES[name]["Type"] for name in promised} == promised


@pytest.mark.parametrize(("function", "name"), FUNCTIONS.items())
def test_handlers_have_one_import_path_everywhere(function: str, name: str) -> None:
    """`functions.<name>.handler` and `shared` are what a test imports and what Lambda imports."""
    assert properties(function)["Handler"] == f"functions.{name}.handler.lambda_handler"
    assert properties(function)["CodeUri"] == f"functions/{name}/"
    assert RESOURCES[function]["Metadata"]["BuildProperties"] == {
        "ParentPackageMode": "explicit",
        "ParentPackages": f"functions.{name}",
    }
    assert {"Ref": "SharedLayer"} in TEMPLATE["Globals"]["Function"]["Layers"]
    assert RESOURCES["SharedLayer"]["Metadata"]["BuildProperties"] == {
        "ParentPackageMode": "explicit",
        "ParentPackages": "shared",
    }


def test_the_layer_is_built_for_the_functions_processor() -> None:
    """`sam build` takes x86_64 for a layer unless it is told: one parameter decides for all three."""
    architecture = {"Ref": "Architecture"}
    assert RESOURCES["SharedLayer"]["Metadata"]["BuildArchitecture"] == architecture
    assert properties("SharedLayer")["CompatibleArchitectures"] == [architecture]
    assert TEMPLATE["Globals"]["Function"]["Architectures"] == [architecture]
    assert PARAMETERS["Architecture"]["Default"] == "arm64"
    assert properties("SharedLayer")["CompatibleRuntimes"] == [TEMPLATE["Globals"]["Function"]["Runtime"]]
    assert RESOURCES["SharedLayer"]["Metadata"]["BuildMethod"] == TEMPLATE["Globals"]["Function"]["Runtime"]


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (
            "PollerFunction",
            {
                "TABLE_NAME",
                "UPSTREAM_BASE_URL",
                "UPSTREAM_SECRET_ARN",
                "UPSTREAM_CONCURRENCY",
                "NOTIFICATION_TOPIC_ARN",
                "NOTIFY_PRIORITY",
                "RETENTION_DAYS",
                "RISK_WEIGHTS",
                "RISK_HALF_LIFE_DAYS",
                "POWERTOOLS_SERVICE_NAME",
                "POWERTOOLS_METRICS_NAMESPACE",
                "DASHBOARD_METRICS",
                "POWERTOOLS_LOG_LEVEL",
                "AWS_ENDPOINT_URL_DYNAMODB",
                "AWS_ENDPOINT_URL_SECRETS_MANAGER",
                "AWS_ENDPOINT_URL_SNS",
            },
        ),
        (
            "ApiFunction",
            {
                "TABLE_NAME",
                "RETENTION_DAYS",
                "POLL_INTERVAL_SECONDS",
                "POWERTOOLS_SERVICE_NAME",
                "POWERTOOLS_LOG_LEVEL",
                "AWS_ENDPOINT_URL_DYNAMODB",
            },
        ),
    ],
)
def test_each_function_gets_exactly_its_environment(function: str, names: set[str]) -> None:
    """A function sees the variables it reads and no other; a new one is added here on purpose."""
    assert "Environment" not in TEMPLATE["Globals"]["Function"]
    assert properties(function)["Environment"]["Variables"].keys() == names


def test_an_empty_endpoint_never_hides_the_emulators() -> None:
    """`AWS_ENDPOINT_URL` is left to the platform: empty, it would send an emulator's functions to AWS."""
    for function in FUNCTIONS:
        variables = properties(function)["Environment"]["Variables"]
        endpoints = {name: value for name, value in variables.items() if name.startswith("AWS_ENDPOINT_URL")}
        assert endpoints
        assert "AWS_ENDPOINT_URL" not in endpoints
        assert all(value == {"Ref": "AwsEndpointUrl"} for value in endpoints.values())
    assert PARAMETERS["AwsEndpointUrl"]["Default"] == ""


def test_a_deployed_stack_never_talks_to_an_emulator() -> None:
    """CloudFormation refuses a stack whose functions would send incidents to another address."""
    (assertion,) = TEMPLATE["Rules"]["NoEmulatorInAws"]["Assertions"]
    assert assertion["Assert"] == {"Fn::Equals": [{"Ref": "AwsEndpointUrl"}, ""]}
    assert "RuleCondition" not in TEMPLATE["Rules"]["NoEmulatorInAws"]


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_is_described_and_bounded(name: str) -> None:
    """A wrong value is refused before anything is made, and what is meant stands beside it."""
    parameter = PARAMETERS[name]
    assert len(parameter["Description"]) > 20
    if "AllowedValues" in parameter:
        return
    if parameter["Type"] == "Number":
        assert (
            parameter["MinValue"] <= parameter.get("Default", parameter["MinValue"]) <= parameter["MaxValue"]
        )
    else:
        assert parameter["Type"] == "String"
        assert parameter["AllowedPattern"].startswith("^")
        assert parameter["AllowedPattern"].endswith("$")
        assert parameter["MaxLength"]
        assert parameter["ConstraintDescription"].startswith("must be ")


def test_every_parameter_is_shown_in_a_group() -> None:
    """The console and `sam deploy --guided` show no parameter without its place."""
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(PARAMETERS)


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("https://incidents.example.com", True),
        ("https://incidents.example.com/", True),
        ("http://127.0.0.1:8123/api/v1", True),
        ("http://[::1]:8123", True),
        ("https://user:password@incidents.example.com", False),
        ("https://incidents.example.com/a@b", False),
        ("https://incidents.example.com/?key=1", False),
        ("https://incidents.example.com/#top", False),
        ("https://", False),
        ("https:///path", False),
        ("ftp://incidents.example.com", False),
        ("incidents.example.com", False),
        ("https://incidents.example.com /x", False),
        ("https://incidents.example.com\nx", False),
        ("", False),
    ],
)
def test_the_upstreams_address_carries_no_credentials(value: str, accepted: bool) -> None:
    """Credentials live in Secrets Manager; an address that holds some is refused at deployment."""
    assert "Default" not in PARAMETERS["UpstreamBaseUrl"]
    assert bool(re.fullmatch(PARAMETERS["UpstreamBaseUrl"]["AllowedPattern"], value)) is accepted


def test_the_stage_is_never_guessed() -> None:
    """Parameters on a command line replace samconfig's: without a default a forgotten stage is an error."""
    assert "Default" not in PARAMETERS["Stage"]
    assert PARAMETERS["Stage"]["AllowedValues"] == ["dev", "staging", "prod"]


def test_the_poll_interval_means_the_same_everywhere() -> None:
    """The schedule's minutes are the API's seconds, for every value allowed, and divide an hour evenly."""
    minutes = PARAMETERS["PollIntervalMinutes"]["AllowedValues"]
    assert [int(value) for value in minutes] == [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30]
    assert all(60 % int(value) == 0 for value in minutes)
    # Text, because `sam local` looks a number up in vain.
    assert all(isinstance(value, str) for value in [*minutes, PARAMETERS["PollIntervalMinutes"]["Default"]])
    assert TEMPLATE["Mappings"]["PollIntervals"] == {
        value: {
            "Seconds": str(60 * int(value)),
            "ThreeInSeconds": str(180 * int(value)),
            "ThreeInMinutes": str(3 * int(value)),
        }
        for value in minutes
    }
    assert properties("ApiFunction")["Environment"]["Variables"]["POLL_INTERVAL_SECONDS"] == {
        "Fn::FindInMap": ["PollIntervals", {"Ref": "PollIntervalMinutes"}, "Seconds"]
    }
    (schedule,) = events("PollerFunction", "Schedule")
    assert schedule["Schedule"] == {"Fn::Sub": "cron(0/${PollIntervalMinutes} * * * ? *)"}
    assert schedule["Enabled"] is True


# ---------------------------------------------------------------- data


def test_the_table_has_the_keys_of_the_design_and_outlives_the_stack() -> None:
    """One table, `pk` and `sk`; its data survives a deleted stack and a bad write."""
    (name,) = of_type("AWS::DynamoDB::Table")
    table = properties(name)
    assert table["KeySchema"] == [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ]
    assert {it["AttributeName"]: it["AttributeType"] for it in table["AttributeDefinitions"]} == {
        "pk": "S",
        "sk": "S",
    }
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert RESOURCES[name]["DeletionPolicy"] == RESOURCES[name]["UpdateReplacePolicy"] == "Retain"
    assert table["DeletionProtectionEnabled"] == {"Fn::If": ["IsProduction", True, False]}
    assert TEMPLATE["Conditions"]["IsProduction"] == {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}
    assert "TableName" not in table


def test_no_stack_update_can_overwrite_the_filled_in_credentials() -> None:
    """CloudFormation knows no value of the secret: it has none to put back, and none looks valid."""
    (name,) = of_type("AWS::SecretsManager::Secret")
    assert not {"SecretString", "GenerateSecretString", "Name"} & properties(name).keys()
    existing = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:theirs-AbCdEf"
    for parameters, secret in (({}, f"incidents-dev-{name}"), ({"UpstreamSecretArn": existing}, existing)):
        stack = Stack(parameters)
        assert stack.outputs["UpstreamSecretArn"] == secret
        assert stack.outputs["FillUpstreamSecretCommand"] == (
            "aws secretsmanager put-secret-value --region eu-central-1 "
            f"--secret-id {secret} --secret-string file:///dev/stdin"
        )
        variables = stack.resources["PollerFunction"]["Properties"]["Environment"]["Variables"]
        assert variables["UPSTREAM_SECRET_ARN"] == secret
        assert (name in stack.resources) == (not parameters)


# ---------------------------------------------------------------- logs


@pytest.mark.parametrize(
    ("function", "group"), {"PollerFunction": "PollerLogGroup", "ApiFunction": "ApiLogGroup"}.items()
)
def test_logs_are_kept_as_long_as_asked_and_no_longer(function: str, group: str) -> None:
    """Each function writes to a log group of its own whose retention is a parameter."""
    assert properties(function)["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": {"Ref": group}}
    assert properties(group)["RetentionInDays"] == {"Ref": "LogRetentionDays"}
    assert of_type("AWS::Logs::LogGroup").keys() == {"PollerLogGroup", "ApiLogGroup", "ApiAccessLogGroup"}
    assert all(
        it["RetentionInDays"] == {"Ref": "LogRetentionDays"} for it in of_type("AWS::Logs::LogGroup").values()
    )
    names = [it["LogGroupName"]["Fn::Sub"] for it in of_type("AWS::Logs::LogGroup").values()]
    assert len(set(names)) == len(names)


# ---------------------------------------------------------------- functions


def test_lambda_and_eventbridge_never_repeat_a_poll() -> None:
    """A failed or late poll is followed by the next tick, not by a second one at the same time."""
    never = {"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
    assert never.items() <= properties("PollerFunction")["EventInvokeConfig"].items()
    (schedule,) = events("PollerFunction", "Schedule")
    assert schedule["RetryPolicy"] == never
    assert properties("PollerFunction")["Timeout"] == 240


def test_the_api_answers_before_the_gateway_gives_up() -> None:
    """API Gateway waits 29 seconds: the function ends before."""
    assert 0 < properties("ApiFunction")["Timeout"] < 29


def test_every_gateway_error_is_a_problem_document() -> None:
    """What the gateway answers by itself has the form of all other problems: JSON, its status, a code."""
    responses = properties("IncidentApi")["GatewayResponses"]
    assert {"MISSING_AUTHENTICATION_TOKEN", "THROTTLED", "DEFAULT_4XX", "DEFAULT_5XX"} <= responses.keys()
    for kind, response in responses.items():
        (template,) = response["ResponseTemplates"].values()
        document = json.loads(template.replace("$context.requestId", "a-request"))
        assert document["request_id"] == "a-request"
        assert document["type"] == f"urn:security-incident-api:problem:{document['code']}"
        assert document.keys() - {"status"} == {"type", "title", "detail", "code", "request_id"}
        assert document.get("status") == response.get("StatusCode")
        assert ("status" in document) != kind.startswith("DEFAULT_")
        headers = response["ResponseParameters"]["Headers"]
        assert headers["Content-Type"] == "'application/problem+json'"
        assert ("Retry-After" in headers) == (document.get("status") == 429)


def test_every_route_takes_every_method_on_the_one_api() -> None:
    """A wrong method is told by the API, not as missing credentials; GET and HEAD stand for themselves.

    Routes are on IncidentApi by name: without it SAM would make a second API, without our authorizer.
    """
    definition = properties("IncidentApi")["DefinitionBody"]
    assert {path: set(item) for path, item in definition["paths"].items()} == dict.fromkeys(PATHS, METHODS)
    routes = events("ApiFunction", "Api")
    assert {(it["Method"], it["Path"]) for it in routes} == {("any", path) for path in PATHS}
    assert len(routes) == len(PATHS)
    assert all(it["RestApiId"] == {"Ref": "IncidentApi"} for it in routes)


def test_callers_reach_the_published_version() -> None:
    """Each operation calls the alias: a canary, and provisioned concurrency, are for what callers reach."""
    for path, item in Stack().resources["IncidentApi"]["Properties"]["DefinitionBody"]["paths"].items():
        for operation in item.values():
            integration = operation["x-amazon-apigateway-integration"]
            assert integration["uri"].endswith("/functions/incidents-dev-ApiFunction.Alias/invocations"), path
            assert (integration["type"], integration["httpMethod"]) == ("aws_proxy", "POST")
            # Without credentials: the caller's would each need lambda:InvokeFunction.
            assert "credentials" not in integration


@pytest.mark.parametrize("authorizer", AUTHORIZERS)
@pytest.mark.parametrize("scope", ["", "incidents/read"])
def test_no_setting_leaves_data_open(authorizer: str, scope: str) -> None:
    """Whatever is allowed for Authorizer, each operation asks for the credentials that it names, no other."""
    stack = Stack({"Authorizer": authorizer, "AuthorizerScope": scope} | AUTHORIZERS[authorizer])
    definition = stack.resources["IncidentApi"]["Properties"]["DefinitionBody"]
    (scheme,) = definition["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["in"]) == ("apiKey", "header")
    told = scheme.get("x-amazon-apigateway-authtype")
    judge = scheme.get("x-amazon-apigateway-authorizer", {})
    match authorizer:
        case "IAM":
            assert (scheme["name"], told, judge) == ("Authorization", "awsSigv4", {})
        case "API_KEY":
            # Under this name alone API Gateway takes it for its own keys.
            assert (scheme["name"], told, judge) == ("x-api-key", None, {})
        case "COGNITO":
            assert (scheme["name"], told) == ("Authorization", "cognito_user_pools")
            assert judge["type"] == told
            assert judge["providerARNs"] == [*AUTHORIZERS[authorizer].values()]
        case "LAMBDA":
            assert (scheme["name"], told) == ("Authorization", "custom")
            assert judge["type"] == "token"
            assert (
                f"/functions/{AUTHORIZERS[authorizer]['AuthorizerArn']}/invocations" in judge["authorizerUri"]
            )
    scopes = [scope] if scope and authorizer == "COGNITO" else []
    operations = [it for item in definition["paths"].values() for it in item.values()]
    assert len(operations) == len(PATHS) * len(METHODS)
    assert all(it["security"] == [{"caller": scopes}] for it in operations)
    assert definition["components"]["securitySchemes"].keys() == {"caller"}
    assert set(PARAMETERS["Authorizer"]["AllowedValues"]) == AUTHORIZERS.keys()
    assert PARAMETERS["Authorizer"]["Default"] == "IAM"
    keyed = stack.resources.keys() & {"ApiKey", "UsagePlan", "UsagePlanKey"}
    assert len(keyed) == (3 if authorizer == "API_KEY" else 0)
    assert ("AuthorizerPermission" in stack.resources) == (authorizer == "LAMBDA")


@pytest.mark.parametrize(
    ("rule", "given", "needed"),
    [
        ("AuthorizerHasItsArn", "Authorizer", "AuthorizerArn"),
        ("DomainHasItsCertificate", "DomainName", "CertificateArn"),
    ],
)
def test_what_belongs_together_is_asked_for(rule: str, given: str, needed: str) -> None:
    """CloudFormation refuses a stack before it makes anything, and says what is missing."""
    (assertion,) = TEMPLATE["Rules"][rule]["Assertions"]
    assert assertion["Assert"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": needed}, ""]}]}
    assert needed in assertion["AssertDescription"]
    assert given in strings(TEMPLATE["Rules"][rule]["RuleCondition"])


def test_a_new_authorizer_is_deployed() -> None:
    """SAM does not look at the parameters' values: only a deployment each time serves the new one."""
    assert properties("IncidentApi")["AlwaysDeploy"] is True


def test_a_parameter_of_the_readers_makes_a_new_version() -> None:
    """The version's description names each parameter that the function's configuration depends on, no other.

    CloudFormation replaces the version with it, and the alias follows.
    """
    reader = properties("ApiFunction")
    described = set(re.findall(r"\$\{(\w+)\}", reader["VersionDescription"]["Fn::Sub"]))
    configuration = {
        name: reader[name]
        for name in ("Environment", "MemorySize", "Timeout", "Tracing", "SnapStart", "LoggingConfig")
    } | {"Architectures": TEMPLATE["Globals"]["Function"]["Architectures"]}
    used = {name for name in PARAMETERS if name in strings(configuration)}
    used |= {"TracingEnabled"} if "HasTracing" in strings(configuration) else set()
    used |= {"SnapStartEnabled"} if "HasSnapStart" in strings(configuration) else set()
    assert described == used
    assert reader["AutoPublishAliasAllProperties"] is True
    assert properties("SharedLayer")["PublishLambdaVersion"] is True


def test_what_costs_money_is_off_until_asked_for() -> None:
    """A first deployment has no web ACL, domain, canary, tracing, warm readers or reserved concurrency."""
    stack = Stack()
    asked = {
        "WafEnabled": "true",
        "DomainName": "incidents.example.com",
        "CertificateArn": "arn:aws:acm:eu-central-1:123456789012:certificate/a",
        "HostedZoneId": "Z0123456789",
        "CanaryEnabled": "true",
        "GatewayLogRole": "create",
    }
    assert Stack(asked).resources.keys() - stack.resources.keys() == {
        "WebAcl",
        "WebAclAssociation",
        "CustomDomain",
        "BasePathMapping",
        "DomainRecord",
        "UnexpectedErrorsFilter",
        "CanaryAlarm",
        "GatewayRole",
        "GatewayAccount",
    }
    poller, reader = (stack.resources[name]["Properties"] for name in FUNCTIONS)
    assert "ReservedConcurrentExecutions" not in poller
    assert "ProvisionedConcurrencyConfig" not in reader
    assert poller["Tracing"] == reader["Tracing"] == "PassThrough"
    warm = Stack({"ProvisionedConcurrency": "2", "PollerReservedConcurrency": "1", "TracingEnabled": "true"})
    poller, reader = (warm.resources[name]["Properties"] for name in FUNCTIONS)
    assert poller["ReservedConcurrentExecutions"] == "1"
    assert reader["ProvisionedConcurrencyConfig"] == {"ProvisionedConcurrentExecutions": "2"}
    assert "SnapStart" not in reader
    restored = Stack({"SnapStartEnabled": "true"}).resources["ApiFunction"]["Properties"]
    assert restored["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert poller["Tracing"] == reader["Tracing"] == "Active"


def test_the_access_log_holds_no_cursor_no_key_and_no_employee() -> None:
    """One line of JSON a request, of API Gateway's variables alone: no path, no query, no header, no key."""
    setting = Stack().resources["IncidentApi"]["Properties"]["AccessLogSetting"]
    line = json.loads(setting["Format"])
    assert "\n" not in setting["Format"]
    harmless = {
        "authorizer.claims.sub",
        "authorizer.principalId",
        "error.responseType",
        "httpMethod",
        "identity.apiKeyId",
        "identity.sourceIp",
        "identity.userArn",
        "integration.integrationStatus",
        "integration.latency",
        "requestId",
        "requestTimeEpoch",
        # The path as the definition has it, `/employees/{employee_id}/incidents`.
        "resourcePath",
        "responseLatency",
        "responseLength",
        "status",
    }
    assert {value.removeprefix("$context.") for value in line.values()} == harmless
    assert all(value.startswith("$context.") for value in line.values())
    assert (
        "AccessLogSetting" not in Stack({"AccessLogEnabled": "false"}).resources["IncidentApi"]["Properties"]
    )
    (settings,) = properties("IncidentApi")["MethodSettings"]
    assert (settings["LoggingLevel"], settings["DataTraceEnabled"]) == ("OFF", False)


def test_requests_are_limited() -> None:
    """All callers together, and each key, have a rate, a burst and, with a key, a day's quota."""
    stack = Stack({"Authorizer": "API_KEY", "ApiRequestsPerSecond": "7", "ApiBurst": "9"})
    (settings,) = stack.resources["IncidentApi"]["Properties"]["MethodSettings"]
    assert (settings["ResourcePath"], settings["HttpMethod"]) == ("/*", "*")
    assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == ("7", "9")
    plan = stack.resources["UsagePlan"]["Properties"]
    assert plan["Throttle"] == {"RateLimit": "7", "BurstLimit": "9"}
    assert plan["Quota"] == {"Limit": 86400, "Period": "DAY"}


def test_everything_that_takes_tags_carries_its_stage() -> None:
    """Costs and resources of a stage can be told apart."""
    tagged = {"Application": "security-incident-api", "Stage": {"Ref": "Stage"}}
    assert TEMPLATE["Globals"]["Function"]["Tags"] == tagged
    assert properties("IncidentApi")["Tags"] == tagged
    untaggable = {
        "AWS::SNS::TopicPolicy",
        "AWS::SNS::Subscription",
        "AWS::SQS::QueuePolicy",
        "AWS::CloudWatch::Dashboard",
        "AWS::ApiGateway::Account",
        "AWS::ApiGateway::BasePathMapping",
        "AWS::ApiGateway::UsagePlanKey",
        "AWS::Lambda::Permission",
        "AWS::Logs::MetricFilter",
        "AWS::Route53::RecordSet",
        "AWS::WAFv2::WebACLAssociation",
    }
    native = {
        name
        for name, it in RESOURCES.items()
        if not it["Type"].startswith("AWS::Serverless::") and it["Type"] not in untaggable
    }
    assert native
    for name in native:
        assert {it["Key"]: it["Value"] for it in properties(name)["Tags"]} == tagged


def test_outputs_tell_what_to_do_next() -> None:
    """After a deployment one finds API, table and functions, fills the secret and asks for a page."""
    assert TEMPLATE["Outputs"].keys() == {
        "ApiUrl",
        "IncidentApiId",
        "IncidentTableName",
        "PollerFunctionName",
        "ApiFunctionName",
        "AlarmTopicArn",
        "IncidentTopicArn",
        "DeadLetterQueueUrl",
        "DashboardUrl",
        "UpstreamSecretArn",
        "FillUpstreamSecretCommand",
        "ApiKeyId",
        "CurlCommand",
    }
    assert all(it["Description"] for it in TEMPLATE["Outputs"].values())


@pytest.mark.parametrize("domain", ["", "incidents.example.com"])
@pytest.mark.parametrize(
    ("authorizer", "credentials"),
    [
        ("IAM", "--aws-sigv4"),
        ("API_KEY", '--header "X-Api-Key: $('),
        ("COGNITO", '--header "Authorization: Bearer $TOKEN"'),
        ("LAMBDA", '--header "Authorization: Bearer $TOKEN"'),
    ],
)
def test_the_printed_command_asks_with_the_right_credentials(
    authorizer: str, credentials: str, domain: str
) -> None:
    """Whoever may call, the one command that the stack prints is for them, at the stack's address."""
    stack = Stack({"Authorizer": authorizer, "DomainName": domain} | AUTHORIZERS[authorizer])
    url = (
        f"https://{domain}"
        if domain
        else "https://incidents-dev-IncidentApi.execute-api.eu-central-1.amazonaws.com/dev"
    )
    assert stack.outputs["ApiUrl"] == url
    command = stack.outputs["CurlCommand"]
    assert credentials in command
    assert command.startswith("curl --compressed --")
    assert command.endswith(f' "{url}/incidents"')
    assert ("ApiKeyId" in stack.outputs) == (authorizer == "API_KEY")


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("token", ["", "a token/with+blanks=="])
def test_the_signed_request_has_a_token_where_there_is_one(tmp_path: Path, shell: str, token: str) -> None:
    """Keys of `aws configure` have none: curl would sign an empty header and not send it."""
    curl = tmp_path / "curl"
    curl.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    curl.chmod(0o700)
    keys = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "B"}
    done = subprocess.run(  # noqa: S603 - the template's own output
        [shell, "-c", Stack().outputs["CurlCommand"]],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **keys, **({"AWS_SESSION_TOKEN": token} if token else {})},
        capture_output=True,
        text=True,
        check=True,
    )
    credentials = ["--aws-sigv4", "aws:amz:eu-central-1:execute-api", "--user", "A:B"]
    credentials += [f"-Hx-amz-security-token: {token}"] if token else []
    assert done.stdout.splitlines()[:-1] == ["--compressed", *credentials]
    assert done.stdout.splitlines()[-1].startswith("https://")


# ---------------------------------------------------------------- samconfig.toml


@pytest.mark.parametrize(
    ("environment", "stage"), [("default", "dev"), ("dev", "dev"), ("staging", "staging"), ("prod", "prod")]
)
def test_samconfig_deploys_each_stage_into_its_own_stack(environment: str, stage: str) -> None:
    """`--config-env` alone picks stack and stage; nothing of an account is written down."""
    config = SAMCONFIG[environment]
    assert config["global"]["parameters"] == {
        "stack_name": f"security-incident-api-{stage}",
        "parameter_overrides": [f"Stage={stage}"],
    }
    assert config["build"]["parameters"] == {"cached": True, "parallel": True}
    assert config["validate"]["parameters"] == {"lint": True}
    deploy = config["deploy"]["parameters"]
    assert deploy["resolve_s3"] is True
    assert deploy["capabilities"] == "CAPABILITY_IAM"
    assert deploy.get("confirm_changeset", False) is (stage == "prod")
    assert not {"region", "profile", "s3_bucket", "role_arn"} & deploy.keys()


def test_samconfig_knows_every_stage() -> None:
    """A stage that the template allows has its environment, and no other exists."""
    assert SAMCONFIG.keys() - {"version"} == {"default", *PARAMETERS["Stage"]["AllowedValues"]}


# ---------------------------------------------------------------- events/


@pytest.mark.parametrize("name", ["incidents", "employee", "employees", "summary", "health"])
def test_sample_requests_are_for_routes_that_exist(name: str) -> None:
    """What `sam local invoke ApiFunction` is fed matches a route, its path and its parameters."""
    event = json.loads((ROOT / "events" / f"{name}.json").read_text())
    assert event["resource"] in PATHS
    assert event["resource"].format(**(event["pathParameters"] or {})) == event["path"]
    context = event["requestContext"]
    assert (context["resourcePath"], context["httpMethod"]) == (event["resource"], event["httpMethod"])
    assert context["path"] == f"/{context['stage']}{event['path']}"
    many = event["multiValueQueryStringParameters"]
    assert event["queryStringParameters"] == (many and {key: values[-1] for key, values in many.items()})
    assert event["multiValueHeaders"] == {key: [value] for key, value in event["headers"].items()}


def test_the_sample_schedule_is_the_rules() -> None:
    """What `sam local invoke PollerFunction` is fed is what EventBridge sends for the template's rule."""
    event = json.loads((ROOT / "events" / "schedule.json").read_text())
    assert (event["source"], event["detail-type"], event["detail"]) == ("aws.events", "Scheduled Event", {})
    (schedule,) = events("PollerFunction", "Schedule")
    # A name made of the stack's would fail for stacks of long names; CloudFormation makes one that fits.
    assert "Name" not in schedule
    (arn,) = event["resources"]
    assert arn.split(":")[2] == "events"
    assert ":rule/" in arn


def test_every_sample_event_is_checked() -> None:
    """A new sample is added to the tests above on purpose."""
    assert {path.name for path in (ROOT / "events").iterdir()} == {
        "schedule.json",
        "incidents.json",
        "employee.json",
        "employees.json",
        "summary.json",
        "health.json",
    }


# ---------------------------------------------------------------- functions/*/requirements.txt


def _locked(path: Path) -> dict[str, str]:
    """Package to version, of a lock file in which each package has a hash and nothing else stands."""
    text = path.read_text().replace("\\\n", " ")
    versions = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            match = re.fullmatch(r"([a-z0-9-]+)==([^\s;]+)( ; [^-]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", line)
            assert match, line
            versions[match[1]] = match[2]
    return versions


def test_the_poller_carries_what_pyproject_says() -> None:
    """The lock has each package of the extra `poller`, and agrees with the layer on those that both hold."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {re.split(r"[<>=!~ ]", it)[0] for it in pyproject["project"]["optional-dependencies"]["poller"]}
    locked = _locked(ROOT / "functions/poller/requirements.txt")
    layer = _locked(ROOT / "shared/requirements.txt")
    assert wanted
    assert wanted <= locked.keys()
    assert not {"boto3", "botocore", "aws-lambda-powertools"} & locked.keys()
    for package in locked.keys() & layer.keys():
        assert locked[package] == layer[package]


def test_the_api_carries_nothing_but_the_layer() -> None:
    """Each package of its own would be imported at every cold start."""
    assert _locked(ROOT / "functions/api/requirements.txt") == {}
