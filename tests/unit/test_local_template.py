"""What the local run takes from template.yaml."""

from pathlib import Path

import pytest

from local.function_environment import build_base_environment, build_function_environment
from local.template import (
    Limits,
    Route,
    TemplateError,
    load_template,
    read_handler,
    read_limits,
    read_minimum_compression,
    read_routes,
    read_table,
    read_time_to_live,
)

EXAMPLE = """
Parameters:
  Memory: {Type: Number, Default: 256}
  Upstream: {Type: String}
Globals:
  Function:
    Timeout: 20
    Environment: {Variables: {LEVEL: INFO, EVERYWHERE: "1"}}
Resources:
  IncidentTable:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
      Tags: [{Key: a, Value: !Sub "${AWS::StackName}-a"}]
  ApiFunction:
    Type: AWS::Serverless::Function
    Properties:
      Handler: functions.api.handler.lambda_handler
      MemorySize: !Ref Memory
      Role: !GetAtt ApiRole.Arn
      Environment: {Variables: {LEVEL: DEBUG, TABLE: !Ref IncidentTable, COUNT: 3}}
      Events:
        One: {Type: Api, Properties: {Path: "/a/{id}", Method: get, RestApiId: !Ref IncidentApi}}
        Two: {Type: Api, Properties: {Path: /b, Method: any}}
        Tick: {Type: Schedule, Properties: {Schedule: rate(1 minute)}}
  IncidentApi: {Type: AWS::Serverless::Api, Properties: {MinimumCompressionSize: 1024}}
  Deaf: {Type: AWS::Serverless::Function, Properties: {Timeout: !If [Slow, 30, 3]}}
"""


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "template.yaml"
    path.write_text(EXAMPLE)
    return path


def test_example(example: Path) -> None:
    """Intrinsic functions are understood, globals and parameter defaults filled in, other events left out."""
    template = load_template(example)
    assert read_routes(template) == (Route("GET", "/a/{id}"), Route("ANY", "/b"))
    assert read_limits(template, "ApiFunction") == Limits(20, 256)
    assert read_handler(template, "ApiFunction") == "functions.api.handler.lambda_handler"
    assert read_minimum_compression(template) == 1024
    assert read_time_to_live(template) is None
    assert read_table(template) == {
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    }


def test_what_needs_cloudformation_is_refused(example: Path) -> None:
    """What can't be worked out here is an error that names it, never a guess."""
    template = load_template(example)
    with pytest.raises(TemplateError, match="Fn::If"):
        read_limits(template, "Deaf")
    with pytest.raises(TemplateError, match="Nobody"):
        read_routes(template, "Nobody")
    with pytest.raises(TemplateError, match="no event of type Api"):
        read_routes(template, "Deaf")


@pytest.mark.parametrize("text", ["", "Resources: []", "a: [", "- 1"])
def test_no_template(tmp_path: Path, text: str) -> None:
    """A file that is no template is refused by name."""
    path = tmp_path / "template.yaml"
    path.write_text(text)
    with pytest.raises(TemplateError, match=r"template\.yaml"):
        load_template(path)
    with pytest.raises(TemplateError, match="can't be read"):
        load_template(tmp_path / "missing" / "template.yaml")


def test_function_environment(example: Path) -> None:
    """A function gets what the template declares for it, no more; a declared one without value is refused."""
    template = load_template(example)
    values = {"TABLE": "incidents", "NOT_DECLARED": "x"}
    environment = build_function_environment(
        template, "ApiFunction", base={}, aws={"AWS_REGION": "r"}, values=values
    )
    assert environment == {
        "AWS_REGION": "r",
        "AWS_LAMBDA_FUNCTION_NAME": "ApiFunction",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "LEVEL": "DEBUG",
        "EVERYWHERE": "1",
        "TABLE": "incidents",
        "COUNT": "3",
    }
    with pytest.raises(TemplateError, match="TABLE"):
        build_function_environment(template, "ApiFunction", base={}, aws={}, values={})


def test_base_environment() -> None:
    """A person's AWS profile and upstream password reach no function; a proxy stays out of loopback calls."""
    environment = {
        "PATH": "/bin",
        "AWS_PROFILE": "production",
        "UPSTREAM_PASSWORD": "hush",
        "POLL_INTERVAL_SECONDS": "7",
        "HTTPS_PROXY": "http://proxy",
        "NO_PROXY": "intranet",
    }
    assert build_base_environment(environment) == {
        "PATH": "/bin",
        "HTTPS_PROXY": "http://proxy",
        "NO_PROXY": "intranet,127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
    }


def test_our_own_template() -> None:
    """Everything that the local run needs stands in the project's template, in a form that it can read."""
    template = load_template()
    assert {"AttributeName": "pk", "KeyType": "HASH"} in read_table(template)["KeySchema"]
    assert read_time_to_live(template) == {"AttributeName": "expires_at", "Enabled": True}
    routes = read_routes(template)
    for path in ("/incidents", "/incidents/changes", "/employees/{employee_id}/incidents", "/health"):
        assert Route("ANY", path) in routes
    assert read_handler(template, "PollerFunction") == "functions.poller.handler.lambda_handler"
    assert read_handler(template, "ApiFunction") == "functions.api.handler.lambda_handler"
    assert read_limits(template, "PollerFunction").timeout_seconds > 30
