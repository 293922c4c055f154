"""Clients of others get every incident once and go on where they were, by what `integrations/` has."""

from collections.abc import Iterable
from decimal import Decimal

import pytest

from tests.integration.clients.conftest import Programs
from tests.integration.clients.pullers import (
    PAGE_SIZE,
    Airbyte,
    Cel,
    Dlt,
    Meltano,
    Puller,
    Record,
    Script,
    Singer,
)
from tests.integration.clients.service import (
    API_KEY,
    CHANGES,
    EXPIRED,
    INCIDENTS,
    THROTTLED,
    UNFINISHED,
    Pulled,
)

ROUTES = {"changes": CHANGES, "incidents": INCIDENTS}
PULLERS = {each.__name__.lower(): each for each in (Dlt, Singer, Meltano, Airbyte, Script, Cel)}
# What walks /incidents, too; the others have the feed alone.
WALKERS = ("dlt", "singer", "airbyte")
# Meltano runs the tap that Singer's command line runs: that it keeps its state is what is left to show.
WITHOUT_MELTANO = [name for name in PULLERS if name != "meltano"]
# Filebeat's HTTP client asks again, not the program that is evaluated here.
PATIENT = [name for name in WITHOUT_MELTANO if name != "cel"]


@pytest.fixture
def puller(request: pytest.FixtureRequest, programs: Programs) -> Puller:
    """One of them, new."""
    made: Puller = PULLERS[request.param](programs)
    return made


def _ids(incidents: Iterable[Record]) -> list[str]:
    return sorted(each["id"] for each in incidents)


@pytest.mark.parametrize(
    ("puller", "stream"),
    [*((name, "changes") for name in WITHOUT_MELTANO), *((name, "incidents") for name in WALKERS)],
    indirect=["puller"],
)
def test_every_incident_arrives_once(puller: Puller, pulled: Pulled, stream: str) -> None:
    """Over many pages: none is left out, none comes twice, each with all that it has."""
    delivered = puller.pull(stream)
    there = pulled.walk()
    assert len(there) > 5 * PAGE_SIZE
    assert _ids(delivered) == sorted(there)
    arrived = puller.arrived(stream)
    assert _ids(arrived) == sorted(there)
    for each in arrived:
        mine = there[each["id"]]
        kept = {name: value for name, value in each.items() if name in mine and value is not None}
        lacking = {"sequence", "ingested_at"} if stream == "incidents" else set()
        assert kept.keys() == mine.keys() - lacking
        # A number among texts is a text in a column of a database.
        wanted = {name: str(mine[name]) for name in kept}
        assert {name: str(value) for name, value in kept.items()} | {"timestamp": mine["timestamp"]} == wanted
        assert float(each["timestamp"]) == float(mine["timestamp"])
    # Said on each client's page: all digits arrive, or the nearest floating point numbers.
    exact = [Decimal(str(each["timestamp"])) == Decimal(there[each["id"]]["timestamp"]) for each in arrived]
    assert all(exact) is puller.keeps_digits
    asked = [each for each in pulled.requests if each.path == ROUTES[stream]]
    assert len(asked) > 2
    assert {each.status for each in asked} == {200}
    assert {each.headers["x-api-key"] for each in asked} == {API_KEY}
    assert {each.query["limit"] for each in asked} == {str(PAGE_SIZE)}


@pytest.mark.parametrize("puller", PULLERS, indirect=True)
def test_a_second_sync_brings_what_is_new(puller: Puller, pulled: Pulled) -> None:
    """Only that; and nothing where nothing is new."""
    first = puller.pull("changes")
    pulled.poll(later_hours=6)
    new = pulled.walk().keys() - {each["id"] for each in first}
    assert 3 < len(new) < len(first)
    assert _ids(puller.pull("changes")) == sorted(new)
    assert puller.pull("changes") == []
    assert _ids(puller.arrived("changes")) == sorted(pulled.walk())


@pytest.mark.parametrize("puller", PULLERS, indirect=True)
def test_a_killed_sync_goes_on(puller: Puller, pulled: Pulled) -> None:
    """Killed between two pages, and more comes before it is begun again: all is there once at the end."""
    puller.pull_killed("changes", answers=5)
    pulled.poll(later_hours=6)
    pulled.forget_requests()
    delivered = [each["id"] for each in puller.pull("changes")]
    assert len(delivered) == len(set(delivered))
    assert _ids(puller.arrived("changes")) == sorted(pulled.walk())
    # Said on each client's page: from which token, and how much comes once more.
    assert ("token" in pulled.requests[0].query) is puller.goes_on
    if puller.goes_on:
        pages = len(pulled.walk()) // PAGE_SIZE + 1
        assert len(delivered) <= (pages - 5 + puller.repeats) * PAGE_SIZE


@pytest.mark.parametrize("puller", PATIENT, indirect=True)
def test_trouble_is_lived_through(puller: Puller, pulled: Pulled) -> None:
    """A search that is not finished, and API Gateway's throttling, cost a wait and nothing else."""
    pulled.trouble(UNFINISHED, 2).trouble(THROTTLED, 4)
    delivered = puller.pull("changes")
    assert _ids(delivered) == sorted(pulled.walk())
    statuses = [each.status for each in pulled.requests]
    assert (statuses.count(503), statuses.count(429)) == (1, 1)


@pytest.mark.parametrize("puller", WITHOUT_MELTANO, indirect=True)
def test_a_page_without_incidents_is_not_the_end(puller: Puller, pulled: Pulled) -> None:
    """Where there is more after it, that comes too; by the next interval at the latest."""
    pulled.empty(3)
    delivered = [*puller.pull("changes"), *puller.pull("changes")]
    assert _ids(delivered) == sorted(pulled.walk())


@pytest.mark.parametrize("puller", WITHOUT_MELTANO, indirect=True)
def test_an_expired_token_is_an_error_and_nothing_is_forgotten(puller: Puller, pulled: Pulled) -> None:
    """Nobody begins anew in silence: the sync fails, and what it knew stays."""
    before = puller.pull("changes")
    pulled.poll(later_hours=6)
    pulled.trouble(EXPIRED, 1)
    puller.pull_in_vain("changes")
    new = pulled.walk().keys() - {each["id"] for each in before}
    assert _ids(puller.pull("changes")) == sorted(new)


def test_airbytes_own_check_passes(programs: Programs) -> None:
    """What the button of the Connector Builder asks for; and the key is a secret there."""
    assert Airbyte(programs).check()["status"] == "SUCCEEDED"


def test_the_script_sends_another_header_if_it_is_given_one(programs: Programs, pulled: Pulled) -> None:
    """As a stack with a bearer token wants it."""
    script = Script(programs)
    (programs.folder / "key").write_text("Authorization: Bearer made-up\n")
    assert script.pull("changes")
    assert {each.headers["authorization"] for each in pulled.requests} == {"Bearer made-up"}
    assert not any("x-api-key" in each.headers for each in pulled.requests)
