"""Putting the poller together: the only place that makes its clients and reads its environment."""

import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from functions.poller.configuration import read_configuration
from functions.poller.credentials import CredentialsSource
from functions.poller.metrics import MetricsEmitter
from functions.poller.notify import Notifier, Topic
from functions.poller.poll import Poller
from functions.poller.upstream import Upstream
from shared.aws import make_dynamodb, make_secretsmanager, make_sns
from shared.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient


def build(
    environ: Mapping[str, str],
    *,
    dynamodb: "DynamoDBClient | None" = None,
    secretsmanager: "SecretsManagerClient | None" = None,
    sns: "SNSClient | None" = None,
) -> Poller:
    """A poller of this environment; clients may come from outside.

    Raises :class:`shared.configuration.ConfigurationError` that names what is missing.
    """
    configuration = read_configuration(environ)
    dynamodb = dynamodb or make_dynamodb(read_timeout=10, attempts=5)
    secretsmanager = secretsmanager or make_secretsmanager(read_timeout=5, attempts=3)
    topic = None
    if configuration.notification_topic:
        topic = Topic(configuration.notification_topic, client=sns or make_sns(read_timeout=3, attempts=2))
    table = Table(configuration.table_name, client=dynamodb)
    emitter = MetricsEmitter(configuration.metrics_namespace, for_dashboard=configuration.dashboard_metrics)
    return Poller(
        table=table,
        upstream=Upstream(
            configuration.upstream_base_url,
            credentials=CredentialsSource(configuration.upstream_secret, client=secretsmanager),
        ),
        notifier=Notifier(table, topic, configuration.notify_priorities),
        retention=configuration.retention,
        scale=configuration.risk_scale,
        concurrency=configuration.upstream_concurrency,
        observe=emitter.emit_poll,
        observe_told=emitter.emit_told,
        observe_settled=emitter.emit_settled,
    )


@cache
def built() -> Poller:
    """The poller of this container, made once."""
    return build(os.environ)
