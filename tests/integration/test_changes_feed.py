"""The changes feed: whoever comes back with a token gets all that is new, in order, once."""

import csv
import io
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from functions.api import changes
from shared.domain import journal
from shared.domain.incident import INCIDENT_TYPES, PRIORITIES, SUBJECT_FIELDS
from shared.domain.retention import Retention
from tests.fakes import Clock

DAY = 86_400
BEGINNING = 4_000_001_234
LAMBDA_LIMIT = 6_291_556
PATH = "/incidents/changes"
EMPLOYEES = ("0", "7", "4506", "9" * 20)
IPS = tuple(f"10.0.0.{number}" for number in range(6))

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
FORMS = ((JSON, "native"), (NDJSON, "native"), (CSV, "native"), (JSON, "ocsf"), (NDJSON, "ocsf"))

type Row = dict[str, Any]
type Form = tuple[str, str]


def exact_json(text: str) -> Any:
    """JSON with each number as its text."""
    return json.loads(text, parse_float=str, parse_int=str)


def ask(reader: Any, form: Form = FORMS[0], **query: str) -> Any:
    media_type, schema = form
    if schema != "native":
        query["schema"] = schema
    return reader.get(PATH, headers={"Accept": media_type}, **query)


def rows_of(answer: Any, form: Form) -> list[Row]:
    """The incidents of an answer, flat, each number as its text, whatever the form."""
    media_type, schema = form
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == media_type
    if media_type == CSV:
        return [from_cells(cells) for cells in csv.DictReader(io.StringIO(answer.text, newline=""))]
    if media_type == NDJSON:
        assert answer.text == "" or answer.text.endswith("\n")
        rows = [exact_json(line) for line in answer.text.splitlines()]
    else:
        document = exact_json(answer.text)
        assert list(document) == ["data", "next_token", "has_more"]
        assert document["next_token"] == answer.headers["X-Next-Token"]
        assert document["has_more"] is (answer.headers["X-Has-More"] == "true")
        rows = document["data"]
    if schema == "ocsf":
        for row in rows:
            flat = row["unmapped"]
            assert (row["class_uid"], row["metadata"]["uid"]) == ("2004", flat["id"])
            assert row["metadata"]["original_time"] == flat["timestamp"]
            assert row["resources"][0]["uid"] == flat["employee_id"]
        return [row["unmapped"] for row in rows]
    return list(rows)


def from_cells(cells: dict[str, str]) -> Row:
    other = cells.pop("other")
    row: Row = {name: text for name, text in cells.items() if text}
    return row | (exact_json(other) if other else {})


def next_place(answer: Any) -> tuple[str, bool]:
    return answer.headers["X-Next-Token"], answer.headers["X-Has-More"] == "true"


def read_to_the_end(reader: Any, form: Form = FORMS[0], **query: str) -> list[Row]:
    rows: list[Row] = []
    while True:
        answer = ask(reader, form, **query)
        rows += rows_of(answer, form)
        query["token"], has_more = next_place(answer)
        if not has_more:
            return rows


def visible(history: Any) -> list[Row]:
    """What the journal has for readers now: the oracle."""
    projected = history.state()["projected"]
    return [row for row in history.attributed() if int(row["sequence"]) <= projected]


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(INCIDENT_TYPES),
        st.sampled_from(EMPLOYEES),
        st.sampled_from(IPS),
        st.sampled_from(PRIORITIES),
        st.integers(0, 40),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)
IDENTITIES = st.dictionaries(st.sampled_from(IPS), st.sampled_from(EMPLOYEES), max_size=2)


class Feed(RuleBasedStateMachine):
    """Polls of all kinds, and readers who stop and go on: each answer is told exactly by the journal."""

    tokens = Bundle("tokens")

    def __init__(self, history: Any, make_reader: Callable[[], Any], seen: dict[str, int]) -> None:
        super().__init__()
        self.history = history
        self.make_reader = make_reader
        self.reader = make_reader()
        self.seen = seen
        self.served: set[tuple[str, ...]] = set()

    @initialize(target=tokens, records=RECORDS)
    def begin(self, records: Sequence[Any]) -> tuple[str | None, int]:
        assert ask(self.reader).json["code"] == "no_data_yet"
        self.serve(records, {}, frozenset())
        self.history.poll()
        return (None, 0)

    @rule(
        records=RECORDS,
        identities=IDENTITIES,
        broken=st.frozensets(st.sampled_from([*INCIDENT_TYPES, "identities"]), max_size=2),
    )
    def poll(self, records: Sequence[Any], identities: dict[str, str], broken: frozenset[str]) -> None:
        self.serve(records, identities, broken)
        self.history.poll()

    @rule(records=RECORDS, identities=IDENTITIES, at=st.integers(1, 20), takes_effect=st.booleans())
    def poll_and_die(
        self, records: Sequence[Any], identities: dict[str, str], at: int, takes_effect: bool
    ) -> None:
        self.serve(records, identities, frozenset())
        self.history.poll_dying(at=at, takes_effect=takes_effect)
        self.count("committed, not laid out", len(self.history.attributed()) > len(visible(self.history)))

    @rule(records=RECORDS, more=RECORDS, identities=IDENTITIES, at=st.integers(1, 15))
    def polls_overlap(
        self, records: Sequence[Any], more: Sequence[Any], identities: dict[str, str], at: int
    ) -> None:
        self.serve(records, identities, frozenset())
        self.history.polls_overlapping(at=at, between=lambda: self.serve(more, {}, frozenset()))

    @rule(days=st.sampled_from([0.01, 1, 31]))
    def time_passes(self, days: float) -> None:
        self.history.clock.now += days * DAY

    @rule()
    def another_container(self) -> None:
        self.reader = self.make_reader()

    @rule(
        target=tokens,
        token=tokens,
        form=st.sampled_from(FORMS),
        limit=st.none() | st.integers(1, 7) | st.just(1000),
    )
    def read(self, token: tuple[str | None, int], form: Form, limit: int | None) -> tuple[str, int]:
        """From any token, also one that was used before, comes just what stands behind it."""
        text, position = token
        query = ({"token": text} if text else {}) | ({"limit": str(limit)} if limit else {})
        answer = ask(self.reader, form, **query)
        expected = visible(self.history)
        rows = rows_of(answer, form)
        assert rows == expected[position : position + (limit or 500)]
        new_text, has_more = next_place(answer)
        new_position = position + len(rows)
        assert has_more is (new_position < len(expected))
        self.count("something after a token", bool(text and rows))
        return new_text, new_position

    def teardown(self) -> None:
        """After one whole poll everything that was ever served and can be attributed is there, once."""
        if not self.served:
            return
        self.serve([], {}, frozenset())
        self.history.poll()
        rows = read_to_the_end(self.reader, limit="7")
        assert len({row["id"] for row in rows}) == len(rows)
        known = {*EMPLOYEES, *self.history.upstream.identities}
        expected = sorted(each for each in self.served if each[2] in known)
        assert expected == sorted(identity(row) for row in rows)
        assert [int(row["sequence"]) for row in rows] == sorted(int(row["sequence"]) for row in rows)

    def serve(self, records: Sequence[Any], identities: dict[str, str], broken: frozenset[str]) -> None:
        upstream = self.history.upstream
        upstream.broken = broken
        upstream.identities |= identities
        for kind, employee, ip, priority, age, by_ip in records:
            named = kind in ("denial", "misuse", "unauthorized") or (kind == "other" and not by_ip)
            who = employee if named else ip
            timestamp = f"{BEGINNING - age}.25"
            upstream.records.setdefault(kind, []).append(
                json.dumps(
                    {"priority": priority, SUBJECT_FIELDS[kind]: who, "text": 'a "ü",\n', "more": [{}]}
                )[:-1]
                + f',"timestamp":{timestamp}}}'
            )
            self.served.add((kind, priority, who, timestamp))

    def count(self, what: str, times: int) -> None:
        self.seen[what] = self.seen.get(what, 0) + int(times)


def identity(row: Row) -> tuple[str, ...]:
    """What makes a record that one: its type, priority, subject and time."""
    subject = SUBJECT_FIELDS[row["type"]]
    return (row["type"], row["priority"], row.get(subject, row["employee_id"]), row["timestamp"])


def test_a_reader_who_stops_and_goes_on_gets_all_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch, make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """Random polls, whole, dying before and after any write, and overlapping; random readers with any limit
    in any form, with tokens used at once, later and again, over months in which keys rotate: each answer is
    just what the journal has behind the token, and nothing that was ever served is missing or doubled.
    """
    monkeypatch.setattr(journal, "MAX_ENTRY_RECORDS", 4)
    seen: dict[str, int] = {}

    def machine() -> Feed:
        history = make_history(clock=Clock(BEGINNING))
        return Feed(history, lambda: make_reader(history.client, clock=history.clock), seen)

    run_state_machine_as_test(
        machine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True)
    )
    assert seen["committed, not laid out"]
    assert seen["something after a token"]


def misuse(employee: str, number: int, **more: Any) -> str:
    return (
        json.dumps({"employee_id": int(employee), "priority": "low", **more})[:-1]
        + f',"timestamp":{BEGINNING - 50_000 + number}.5}}'
    )


@pytest.fixture
def history(make_history: Callable[..., Any]) -> Any:
    """A table that no poll has been at yet."""
    return make_history(clock=Clock(BEGINNING))


def test_who_waits_for_a_name_comes_when_there_is_one(history: Any, make_reader: Callable[..., Any]) -> None:
    """An unattributed incident is not in the feed; once its IP is known it comes, behind what came before."""
    reader = make_reader(history.client, clock=history.clock)
    history.upstream.records["probing"] = [
        f'{{"ip":"10.0.0.1","priority":"high","timestamp":{BEGINNING - 900}}}'
    ]
    history.upstream.records["misuse"] = [misuse("7", 1)]
    history.poll()
    first = ask(reader)
    assert [row["type"] for row in first.json["data"]] == ["misuse"]
    token = first.json["next_token"]
    waiting = ask(reader, token=token).json
    assert (waiting["data"], waiting["has_more"]) == ([], False)
    history.upstream.records["misuse"].append(misuse("7", 2))
    history.poll()
    history.upstream.identities["10.0.0.1"] = "8"
    history.poll()
    for each in (token, waiting["next_token"]):
        rows = ask(reader, token=each).json["data"]
        assert [(row["type"], row["employee_id"], row["sequence"]) for row in rows] == [
            ("misuse", "7", 2),
            ("probing", "8", 3),
        ]


def test_a_stretch_without_anything_to_give_is_read_in_portions(
    history: Any, make_reader: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the time is up the answer ends, if need be with nothing, and the next one goes on further: through
    forty entries that only wait there is an end, nothing before, behind or among them is skipped or doubled.
    """
    history.upstream.records["misuse"] = [misuse("7", 1)]
    history.poll()
    for number in range(40):
        if number == 35:
            history.upstream.records["misuse"].append(misuse("8", 2))
        history.upstream.records["probing"] = [
            f'{{"ip":"10.0.0.{number}","priority":"high","timestamp":{BEGINNING - 900 + number}}}'
        ]
        history.poll()
    history.upstream.records["misuse"].append(misuse("9", 3))
    history.poll()
    now = itertools.count()
    # Each look at the clock is a second later, so that every request is the last that there is time for.
    reader = make_reader(history.client, clock=history.clock, monotonic=lambda: float(next(now)))
    monkeypatch.setattr(changes, "READ_SECONDS", 0.5)
    answers, token = [], None
    for _ in range(10):
        answers.append(ask(reader, **({"token": token} if token else {})).json)
        token = answers[-1]["next_token"]
        if not answers[-1]["has_more"]:
            break
    employees = [[row["employee_id"] for row in answer["data"]] for answer in answers]
    assert employees == [["7"], [], ["8", "9"]]
    assert [answer["has_more"] for answer in answers] == [True, True, False]


def test_a_restored_table_is_not_taken_for_what_it_was(
    history: Any, make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """Restored to an earlier time, the table comes to the same sequence by other entries: who has the answer
    of before is given the new one, not told that it is the same.
    """
    history.upstream.records["misuse"] = [misuse("7", 1)]
    history.poll()
    restored = make_history(clock=history.clock)
    restored.client.load(history.dump().values())
    etags, rows = [], []
    for number, each in enumerate((history, restored)):
        history.clock.now += 60
        each.upstream.records["misuse"] = [misuse("7", 1), misuse("8", 2 + number)]
        each.poll()
        answer = ask(make_reader(each.client, clock=history.clock))
        etags.append(answer.headers["ETag"])
        rows.append(answer.json["data"])
    assert [len(each) for each in rows] == [2, 2]
    assert rows[0] != rows[1]
    assert etags[0] != etags[1]


def test_findings_of_another_version_are_another_answer(
    history: Any, make_reader: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finding names the version of the service that made it: after a deployment it is not the same."""
    history.upstream.records["misuse"] = [misuse("7", 1)]
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    before = ask(reader, (JSON, "ocsf"))
    monkeypatch.setattr(changes, "VERSION", "99.0.0")
    after = ask(reader, (JSON, "ocsf"))
    assert before.text != after.text
    assert before.headers["ETag"] != after.headers["ETag"]


def test_every_form_gives_the_same_incidents(history: Any, make_reader: Callable[..., Any]) -> None:
    """JSON, NDJSON and CSV, and the findings in two of them: the same rows, the same next token, the token
    in the headers too; a finding is not served as CSV.
    """
    reader = make_reader(history.client, clock=history.clock)
    texts = [
        "",
        "a,b",
        'say "no"',
        "two\r\nlines",
        "ünï\U0001f600",
        "tab\there",
        "\\n",
        "null",
        "\u2028",
        "\u0085",
    ]
    history.upstream.records["misuse"] = [
        misuse("7", number, text=text, deep={"list": [1, None, True, text]})
        for number, text in enumerate(texts)
    ]
    history.upstream.records["denial"] = [
        f'{{"reported_by":8,"source_ip":"1.2.3.4","priority":"high","n":1.50,"timestamp":{BEGINNING}.0000001}}'
    ]
    history.poll()
    expected = visible(history)
    assert len(expected) == len(texts) + 1
    for form in FORMS:
        assert read_to_the_end(reader, form, limit="4") == expected
    answers = [ask(reader, form, limit="3") for form in FORMS]
    assert len({next_place(answer) for answer in answers}) == 1
    assert len({answer.headers["ETag"] for answer in answers}) == len(FORMS)
    assert ask(reader, (CSV, "ocsf")).status == 406
    # Lines of a shell: as many as there are rows.
    assert ask(reader, (NDJSON, "native")).text.count("\n") == len(expected)


def test_without_a_token_it_begins_with_the_oldest_that_is_kept(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """A token is good for the whole retention; then 410 `token_expired`, and who begins anew gets all that is
    kept. A token that leads to something kept is never refused.
    """
    retention = Retention(7)
    history = make_history(clock=Clock(BEGINNING), retention=retention)
    reader = make_reader(history.client, clock=history.clock, retention=retention)
    tokens = []
    for day in range(4):
        history.clock.now = BEGINNING + day * DAY
        history.upstream.records["misuse"] = [misuse("7", day)]
        history.poll()
        tokens.append(ask(reader, limit="1", **({"token": tokens[-1]} if tokens else {})).json["next_token"])
    for days in (7, 8):
        history.clock.now = BEGINNING + days * DAY
        history.delete_expired()
        assert [row["sequence"] for row in ask(reader, token=tokens[0]).json["data"]] == [2, 3, 4]
    history.clock.now = gone_at(history, 2)
    history.delete_expired()
    for token, status in zip(tokens, (410, 200, 200, 200), strict=True):
        assert ask(reader, token=token, limit="1").status == status
        answer = ask(reader, token=token)
        assert answer.status == status, answer.text
        assert status == 200 or answer.json["code"] == "token_expired"
    assert [row["sequence"] for row in ask(reader).json["data"]] == [3, 4]
    history.clock.now = BEGINNING + 200 * DAY
    history.delete_expired()
    assert ask(reader).json["data"] == []
    assert ask(reader, token=tokens[-1]).json["data"] == []


def gone_at(history: Any, sequence: int) -> float:
    """When time to live has deleted an entry."""
    return float(history.dump()["JOURNAL", f"{sequence:020}"]["expires_at"]["N"]) + 1


def test_a_token_that_is_far_too_old_has_expired(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """However long the reader was away, it hears that its token has expired, never that it was made up."""
    retention = Retention(7)
    history = make_history(clock=Clock(BEGINNING), retention=retention)
    told = 0
    for day in range(0, 90, 5):
        history.clock.now = BEGINNING + day * DAY
        history.upstream.records["misuse"] = [
            f'{{"employee_id":7,"priority":"low","timestamp":{BEGINNING + day * DAY}}}'
        ]
        history.poll()
        history.delete_expired()
        reader = make_reader(history.client, clock=history.clock)
        if day == 0:
            token = ask(reader).json["next_token"]
        elif ("JOURNAL", f"{2:020}") not in history.dump():
            answer = ask(reader, token=token)
            assert (answer.status, answer.json["code"]) == (410, "token_expired"), f"on day {day}"
            told += 1
    assert told > 3


def test_what_time_to_live_deletes_out_of_order_stops_nobody(
    make_history: Callable[..., Any], make_reader: Callable[..., Any]
) -> None:
    """DynamoDB deletes what has expired within days and in no order: who asks without a token gets what is
    kept, whichever of the expired entries are gone.
    """
    retention = Retention(7)
    history = make_history(clock=Clock(BEGINNING), retention=retention)
    for day in (0, 0.1, 0.2, 5, 6):
        history.clock.now = BEGINNING + day * DAY
        history.upstream.records["misuse"] = [misuse("7", int(day * 10))]
        history.poll()
    history.clock.now = gone_at(history, 3)
    second = {"pk": {"S": "JOURNAL"}, "sk": {"S": f"{2:020}"}}
    history.client.delete_item(TableName="incidents", Key=second)
    reader = make_reader(history.client, clock=history.clock, retention=retention)
    answer = ask(reader)
    assert answer.status == 200, answer.text
    assert [row["sequence"] for row in answer.json["data"]][-2:] == [4, 5]


def test_a_token_outlives_the_keys(make_history: Callable[..., Any], make_reader: Callable[..., Any]) -> None:
    """Keys rotate every 30 days; a token is good for the whole retention, in any container."""
    retention = Retention(365)
    history = make_history(clock=Clock(BEGINNING), retention=retention)
    tokens = []
    for day in range(0, 361, 12):
        history.clock.now = BEGINNING + day * DAY
        history.upstream.records["misuse"] = [
            f'{{"employee_id":7,"priority":"low","timestamp":{BEGINNING + day * DAY}}}'
        ]
        history.poll()
        history.delete_expired()
        reader = make_reader(history.client, clock=history.clock)
        tokens.append(ask(reader, limit="1000").json["next_token"])
        for number, token in enumerate(tokens, start=2):
            answer = ask(reader, token=token)
            assert answer.status == 200, f"{answer.text} on day {day}"
            assert len(answer.json["data"]) == len(tokens) + 1 - number
    keys = json.loads(history.dump()["CURSOR_KEYS", "CURSOR_KEYS"]["keys"]["S"])
    assert len(keys) > 8


@pytest.mark.parametrize("seconds", [5, 55, 61])
def test_containers_understand_each_other_while_a_key_rotates(
    history: Any, make_reader: Callable[..., Any], seconds: float
) -> None:
    """A container that read the keys just before they rotated takes what one says that read them after."""
    history.upstream.records["misuse"] = [misuse("7", number) for number in range(5)]
    history.poll()
    history.clock.now += 31 * DAY
    early = make_reader(history.client, clock=history.clock)
    assert ask(early).status == 200
    history.clock.now += 1
    history.poll()
    late = make_reader(history.client, clock=history.clock)
    token = ask(late, limit="2").json["next_token"]
    cursor = late.get("/employees/7/incidents", limit="1").json.get("next_cursor")
    history.clock.now += seconds
    answer = ask(early, token=token)
    assert answer.status == 200, answer.text
    assert len(answer.json["data"]) == 3
    assert cursor is None


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "1e2"}, "limit"),
        ({"limit": ""}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"token": ""}, "token"),
        ({"schema": "OCSF"}, "schema"),
        ({"cursor": "x"}, "cursor"),
        ({"priority": "low"}, "priority"),
    ],
)
def test_bounds_are_told(
    history: Any, make_reader: Callable[..., Any], query: dict[str, str], parameter: str
) -> None:
    """1 to 1,000 a call; what can't be served is named, filters that this route does not have included."""
    history.upstream.records["misuse"] = [misuse("7", number) for number in range(1_200)]
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    answer = reader.get(PATH, **query)
    assert (answer.status, answer.json["code"]) == (400, "invalid_parameter")
    assert [fault["parameter"] for fault in answer.json["errors"]] == [parameter]
    for limit, expected in (({}, 500), ({"limit": "1"}, 1), ({"limit": "1000"}, 1000)):
        assert len(reader.get(PATH, **limit).json["data"]) == expected


def test_a_token_of_another_kind_is_invalid(history: Any, make_reader: Callable[..., Any]) -> None:
    """A cursor is no token and a token is no cursor; changed by a character it is `token_invalid`."""
    history.upstream.records["misuse"] = [misuse(str(number), number) for number in range(9)]
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    token = ask(reader, limit="3").json["next_token"]
    cursor = reader.get("/incidents", limit="3").json["next_cursor"]
    changed = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in (0, 30)]
    for wrong in (cursor, token[:-1], token + "A", *changed, "x"):
        answer = ask(reader, token=wrong)
        assert (answer.status, answer.json["code"]) == (400, "token_invalid")
    answer = reader.get("/incidents", cursor=token)
    assert (answer.status, answer.json["code"]) == (400, "cursor_invalid")
    assert len(ask(reader, token=token).json["data"]) == 6


WORST = {"quotes": '"', "backslashes": "\\", "line ends": "\r\n", "controls": "\x00", "emoji": "\U0001f600"}


@pytest.mark.parametrize(
    ("field", "content"), [*(("text", content) for content in WORST), ("source_ip", "quotes")]
)
@pytest.mark.parametrize(("size", "count"), [(2_200, 1_100), (15_900, 400)], ids=["many", "large"])
def test_an_answer_is_never_too_large_for_lambda(
    history: Any, make_reader: Callable[..., Any], field: str, content: str, size: int, count: int
) -> None:
    """Many records of the worst content, up to 16 KB each, in the largest answers that may be asked for:
    in each form each is under Lambda's limit, body as a JSON string included, and none is lost on the way.
    """
    unit = WORST[content]
    text = unit * (size // (len(json.dumps(unit)) - 2))
    history.upstream.records["denial"] = [
        misuse("7", number, reported_by=7, **{field: text}) for number in range(count)
    ]
    history.poll()
    reader = make_reader(history.client, clock=history.clock)
    expected = [row["id"] for row in visible(history)]
    assert len(expected) == count
    largest: dict[Form, int] = {}
    for form in FORMS:
        query = {"limit": "1000"}
        found: list[str] = []
        has_more = True
        while has_more:
            answer = ask(reader, form, **query)
            largest[form] = max(largest.get(form, 0), len(json.dumps(answer.proxy)))
            found += [row["id"] for row in rows_of(answer, form)]
            query["token"], has_more = next_place(answer)
        assert found == expected
    assert {form: size for form, size in largest.items() if size >= LAMBDA_LIMIT} == {}
