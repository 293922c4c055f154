"""boto3 clients that give up in time and try again meanwhile."""

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from shared.raw_answers import take_raw_answers
from shared.version import VERSION

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient

# Of a small request botocore spends a quarter on putting together who asks, twice, and a tenth on checking
# requests that the store alone makes: DynamoDB checks them as well, and so do the store's contract tests.
_LEAN = Config(user_agent=f"security-incident-api/{VERSION}", parameter_validation=False)


def make_dynamodb(*, read_timeout: float, attempts: int, connections: int = 10) -> "DynamoDBClient":
    """A DynamoDB client; ``read_timeout`` in seconds, ``attempts`` of one call in all."""
    client = boto3.client("dynamodb", config=_config(read_timeout, attempts, connections).merge(_LEAN))
    take_raw_answers(client)
    return client


def make_secretsmanager(*, read_timeout: float, attempts: int) -> "SecretsManagerClient":
    """A Secrets Manager client; ``read_timeout`` in seconds, ``attempts`` of one call in all."""
    return boto3.client("secretsmanager", config=_config(read_timeout, attempts, 1))


def make_sns(*, read_timeout: float, attempts: int) -> "SNSClient":
    """An SNS client; ``read_timeout`` in seconds, ``attempts`` of one call in all."""
    return boto3.client("sns", config=_config(read_timeout, attempts, 1))


def _config(read_timeout: float, attempts: int, connections: int) -> Config:
    # "standard" backs off with jitter on throttling, 5xx and time-outs.
    return Config(
        connect_timeout=2,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
