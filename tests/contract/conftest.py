"""The two DynamoDBs that the store's contract is tested against."""

import functools
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

import local.emulator
from local.emulator import REGION, create_table
from local.template import load_template
from shared.store.table import Table
from tests.contract.model import Dump

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

BACKENDS = ("ministack", "moto")


_load_template_once = functools.cache(load_template)


@dataclass(frozen=True)
class Backend:
    """One DynamoDB: makes tables of the template, and shows everything that is in one."""

    client: "DynamoDBClient"

    def make(self) -> Table:
        """A fresh, empty table."""
        name = f"contract-{uuid.uuid4().hex}"
        create_table(self.client, name)
        return Table(name, client=self.client)

    def dump(self, table: Table) -> Dump:
        """All items by key (the store itself never scans)."""
        pages = self.client.get_paginator("scan").paginate(TableName=table.name, ConsistentRead=True)
        return {(item["pk"]["S"], item["sk"]["S"]): item for page in pages for item in page["Items"]}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of the contract on both, but for those that say why moto can't be asked."""
    if "backend" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("ministack_only")
        if mark and not mark.kwargs.get("reason"):
            pytest.fail(f"{metafunc.definition.nodeid}: ministack_only needs a reason")
        metafunc.parametrize("backend", BACKENDS[:1] if mark else BACKENDS, indirect=True)


@pytest.fixture(scope="module", autouse=True)
def template_once() -> Iterator[None]:
    """These tests make hundreds of tables: parsing the template for each would be most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local.emulator, "load_template", _load_template_once)
        yield


@pytest.fixture(scope="session")
def moto_client() -> Any:
    """A client that moto answers while it is on, and the blocked sockets refuse otherwise."""
    return boto3.client(
        "dynamodb", region_name=REGION, aws_access_key_id="testing", aws_secret_access_key="testing"
    )


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """One of the two: ministack over loopback, or moto inside this process."""
    if request.param == "ministack":
        yield Backend(request.getfixturevalue("dynamodb"))
        return
    client = request.getfixturevalue("moto_client")
    with mock_aws():
        yield Backend(client)


@pytest.fixture
def store(backend: Backend) -> Table:
    """A fresh, empty table of the backend."""
    return backend.make()


@pytest.fixture
def dump(backend: Backend) -> Callable[[Table], Dump]:
    """Shows everything that is in a table."""
    return backend.dump
