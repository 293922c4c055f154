"""AWS clients that give up in time and try again meanwhile.

They are botocore's, which is what boto3's clients are: importing boto3 besides would add its resources and
transfers to each cold start, and nothing here uses them (docs/decisions/0013-small-packages.md).
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

from shared.raw_answers import take_raw_answers
from shared.version import VERSION

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient

USER_AGENT = f"security-incident-api/{VERSION}"
# The build leaves the models of all others out of the packages (scripts/build.py).
SERVICES = frozenset({"dynamodb", "secretsmanager", "sns"})
# Of a small request botocore spends a quarter on putting together who asks, twice, and a tenth on checking
# requests that the store alone makes: DynamoDB checks them as well, and so do the store's contract tests.
_LEAN = Config(user_agent=USER_AGENT, parameter_validation=False)


def make_dynamodb(*, read_timeout: float, attempts: int, connections: int = 10) -> "DynamoDBClient":
    """A DynamoDB client; ``read_timeout`` in seconds, ``attempts`` of one call in all."""
    config = _config(read_timeout, attempts, connections).merge(_LEAN)
    client: DynamoDBClient = make_client("dynamodb", config=config)
    take_raw_answers(client)
    return client


def make_secretsmanager(*, read_timeout: float, attempts: int) -> "SecretsManagerClient":
    """A Secrets Manager client; ``read_timeout`` in seconds, ``attempts`` of one call in all."""
    client: SecretsManagerClient = make_client("secretsmanager", config=_config(read_timeout, attempts, 1))
    return client


def make_sns(*, read_timeout: float, attempts: int) -> "SNSClient":
    """An SNS client; ``read_timeout`` in seconds, ``attempts`` of one call in all."""
    client: SNSClient = make_client("sns", config=_config(read_timeout, attempts, 1))
    return client


def make_client(service: str, *, config: Config) -> Any:
    """A client of one of ``SERVICES``; region, credentials and endpoint are the environment's."""
    return session().create_client(service, config=config)


@cache
def session() -> botocore.session.Session:
    """The one session of this process, made when it is first needed."""
    return botocore.session.get_session()


def _config(read_timeout: float, attempts: int, connections: int) -> Config:
    # "standard" backs off with jitter on throttling, 5xx and time-outs.
    return Config(
        connect_timeout=2,
        read_timeout=read_timeout,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=connections,
    )
