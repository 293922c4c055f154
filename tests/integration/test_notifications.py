"""New incidents at or above a priority are published: each at least once, and once but for crashes."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from functions.poller import notify
from local.simulator import Simulator, SimulatorSettings
from shared.domain import journal
from shared.store.keys import NOTIFIED_KEY
from shared.store.notifications import Notified, claim, move, read_notified, start_notified
from shared.store.table import Table
from tests.fakes import Clock

BEGINNING = 1_795_413_600.0


@pytest.fixture
def history(make_history: Callable[..., Any]) -> Any:
    """A table that no poll has been at yet."""
    return make_history(clock=Clock(BEGINNING))


def misuse(number: int, priority: str = "critical") -> str:
    return f'{{"employee_id":{number},"priority":"{priority}","timestamp":{BEGINNING - 9000 + number}}}'


def told(history: Any) -> list[int]:
    """Employees, in the order in which they were told of."""
    return [int(each["employee_id"]) for each in history.sns.incidents()]


def poll_later(history: Any, seconds: float = 300.0) -> Any:
    history.clock.now += seconds
    return history.poll()


def test_what_is_new_is_told_of_once(history: Any) -> None:
    """One message for a poll's new incidents of the priority, in the order of time; without any none."""
    history.upstream.records["misuse"] = [misuse(2), misuse(1), misuse(3, "high")]
    assert history.poll().notified == 2
    assert (told(history), len(history.sns.published)) == ([1, 2], 1)
    assert poll_later(history).notified == 0
    history.upstream.records["misuse"] += [misuse(4), misuse(5, "low")]
    assert poll_later(history).notified == 1
    history.upstream.records["misuse"] += [misuse(6, "low")]
    assert poll_later(history).notified == 0
    assert (told(history), len(history.sns.published)) == ([1, 2, 4], 2)
    assert history.sns.published[0]["TopicArn"] == "arn:topic"
    assert history.sns.published[0]["MessageAttributes"]["highest_priority"]["StringValue"] == "critical"


def test_many_go_into_few_messages(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also across the entries of a poll: as many messages as it takes, nobody twice."""
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", 60)
    monkeypatch.setattr(notify, "MAX_INCIDENTS", 25)
    history.upstream.records["misuse"] = [misuse(number) for number in range(1, 211)]
    assert history.poll().sequence == 4
    assert told(history) == list(range(1, 211))
    assert len(history.sns.published) == 9


def test_an_unknown_employee_is_no_reason_to_wait(history: Any) -> None:
    """Told of at once, with the address, and not again when the employee becomes known."""
    history.upstream.records["probing"] = [
        f'{{"ip":"10.0.0.1","priority":"critical","timestamp":{BEGINNING - 900}}}'
    ]
    history.poll()
    (only,) = history.sns.incidents()
    assert (only["employee_id"], only["ip"], only["sequence"]) == (None, "10.0.0.1", 1)
    history.upstream.identities["10.0.0.1"] = "7"
    assert poll_later(history).attributed_late == 1
    assert len(history.sns.incidents()) == 1


def test_turning_it_on_tells_nothing_of_the_past(make_history: Callable[..., Any]) -> None:
    """Neither of a table that is older than the pointer, nor of the time when notifications were off."""
    history = make_history(clock=Clock(BEGINNING), priorities=())
    history.upstream.records["misuse"] = [misuse(1)]
    history.poll()
    history.client.delete_item(
        TableName="incidents",
        Key=dict(zip(("pk", "sk"), ({"S": each} for each in NOTIFIED_KEY), strict=True)),
    )
    history.priorities = ("critical",)
    history.upstream.records["misuse"] += [misuse(2)]
    poll_later(history)
    history.priorities = ()
    history.upstream.records["misuse"] += [misuse(3)]
    poll_later(history)
    history.priorities = ("high", "critical")
    history.upstream.records["misuse"] += [misuse(4, "high")]
    poll_later(history)
    assert told(history) == [2, 4]


def test_a_topic_that_refuses_does_not_fail_the_poll(history: Any) -> None:
    """The poll has succeeded, its summary tells the error, and a later poll tells of everything."""
    history.upstream.records["misuse"] = [misuse(1), misuse(2)]
    history.sns.failing = 2
    summary = history.poll()
    assert (summary.outcome, summary.new_incidents, summary.notified) == ("succeeded", 2, 0)
    assert summary.notification_error == "InternalError"
    history.upstream.records["misuse"] += [misuse(3)]
    assert poll_later(history).notification_error == "InternalError"
    summary = poll_later(history)
    assert (summary.notified, summary.notification_error) == (3, "")
    assert told(history) == [1, 2, 3]


def test_what_was_taken_is_not_told_again(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the topic refuses in the middle, only what it had not answered for is told again."""
    monkeypatch.setattr(notify, "MAX_INCIDENTS", 10)
    history.upstream.records["misuse"] = [misuse(number) for number in range(1, 46)]
    publish, refusing = history.sns.publish, [3]

    def refuse_the_third(**request: Any) -> Any:
        refusing[0] -= 1
        history.sns.failing = int(refusing[0] == 0)
        history.sns.takes_effect = True
        return publish(**request)

    history.sns.publish = refuse_the_third
    assert history.poll().notified == 20
    assert poll_later(history).notified == 25
    assert Counter(told(history)) == Counter(range(1, 46)) + Counter(range(21, 31))


@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_crash_repeats_one_message_at_most(
    make_history: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, takes_effect: bool
) -> None:
    """A poll dies at every write that it makes, in turn: the next ones tell of everything, and of nothing
    more than a message twice.
    """
    monkeypatch.setattr(notify, "MAX_INCIDENTS", 2)
    deaths = 0
    for at in range(1, 100):
        history = make_history(clock=Clock(BEGINNING))
        history.upstream.records["misuse"] = [misuse(1)]
        history.poll()
        history.upstream.records["misuse"] = [misuse(number) for number in range(1, 8)]
        history.clock.now += 300
        history.poll_dying(at=at, takes_effect=takes_effect)
        died = history.summaries[1].outcome == "crashed"
        # While the dead poll might be alive still, nobody else publishes what it may be publishing.
        for seconds in (60, 300):
            poll_later(history, seconds)
        counts = Counter(told(history))
        assert set(counts) == set(range(1, 8)), at
        assert counts.total() - len(counts) <= 2, at
        if not died:
            break
        deaths += 1
    assert deaths > 15


def test_of_polls_that_overlap_one_publishes(make_history: Callable[..., Any]) -> None:
    """A poll is paused at each of its writes while another one does its work: nobody is told of twice."""
    for at in range(1, 40):
        history = make_history(clock=Clock(BEGINNING))
        history.upstream.records["misuse"] = [misuse(number) for number in range(1, 5)]
        history.polls_overlapping(at=at)
        poll_later(history)
        assert sorted(told(history)) == [1, 2, 3, 4], at


def test_without_time_the_next_poll_goes_on(history: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is no time to publish is published by the next poll."""
    monkeypatch.setattr("functions.poller.poll._LAST_SECONDS", 240.0)
    history.upstream.records["misuse"] = [misuse(1)]
    assert (history.poll().notified, told(history)) == (0, [])
    monkeypatch.undo()
    assert poll_later(history, 1).notified == 1
    assert told(history) == [1]


def test_one_lease_at_a_time(table: Table) -> None:
    """Who claims first has it until it is over or given back; a pointer that has moved can't be claimed at
    its old place; who lost the lease can't move the pointer.
    """
    start_notified(table, Notified(5))
    start_notified(table, Notified(9))
    seen = read_notified(table)
    assert seen == Notified(5)
    assert claim(table, seen, poll_id="a", now=100.0, until=340.0)
    assert not claim(table, seen, poll_id="b", now=339.0, until=400.0)
    assert move(table, Notified(5, 3), poll_id="a", until=340.0)
    assert not claim(table, seen, poll_id="b", now=341.0, until=400.0)
    assert claim(table, Notified(5, 3), poll_id="b", now=341.0, until=400.0)
    assert not move(table, Notified(7), poll_id="a", until=0.0)
    assert read_notified(table) == Notified(5, 3)
    assert move(table, Notified(6), poll_id="b", until=0.0)
    assert claim(table, Notified(6), poll_id="c", now=342.0, until=400.0)


def test_through_real_topics(
    make_service: Callable[[Simulator], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler publishes to SNS, and who subscribes gets each new incident of the priority, once."""
    moment = Simulator().clock() - 86_400
    simulator = Simulator(SimulatorSettings(seed=3, records_per_type=40), clock=lambda: moment)
    service = make_service(simulator)
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="incidents")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"seen-{service.table_name}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    monkeypatch.setenv("NOTIFICATION_TOPIC_ARN", topic)
    monkeypatch.setenv("NOTIFY_PRIORITY", "high")
    service.forget_clients()
    first = service.poll()
    simulator.clock = lambda: moment + 7200
    second = service.poll()
    assert second["notified"] > 0
    bodies: list[Any] = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        for message in messages:
            bodies.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    ids = [each["id"] for body in bodies for each in body["incidents"]]
    expected = {each["id"] for each in service.incidents() if each["priority"] in ("high", "critical")}
    assert len(ids) == len(set(ids)) == first["notified"] + second["notified"]
    assert set(ids) >= expected
    assert len(expected) > 50
