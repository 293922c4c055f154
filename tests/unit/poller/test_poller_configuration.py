"""The poller's environment: what is wrong with it is said by name, without quoting a secret."""

import traceback

import pytest

from functions.poller.configuration import PollerConfiguration, read_configuration
from shared.configuration import ConfigurationError
from shared.domain.retention import Retention
from shared.domain.risk import RiskScale

GOOD = {
    "TABLE_NAME": "incidents",
    "UPSTREAM_BASE_URL": "https://incidents.example.com",
    "UPSTREAM_SECRET_ARN": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:upstream-AbCdEf",
}


def refusal(environ: dict[str, str]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(environ)
    return caught.value


def read_base_url(text: str) -> str:
    return read_configuration(GOOD | {"UPSTREAM_BASE_URL": text}).upstream_base_url


def test_least_environment_is_enough() -> None:
    """Three variables suffice; the others have their defaults."""
    assert read_configuration(GOOD) == PollerConfiguration(
        table_name="incidents",
        upstream_base_url="https://incidents.example.com",
        upstream_secret=GOOD["UPSTREAM_SECRET_ARN"],
        upstream_concurrency=4,
        retention=Retention(0),
        risk_scale=RiskScale((1, 3, 7, 15), 30),
        notification_topic="",
        notify_priorities=("critical",),
        metrics_namespace="SecurityIncidentApi",
        dashboard_metrics=True,
    )


def test_everything_can_be_set() -> None:
    """Each variable has its effect; blanks around a value don't count."""
    configuration = read_configuration(
        GOOD | {"UPSTREAM_CONCURRENCY": " 8 ", "RETENTION_DAYS": "400", "TABLE_NAME": " other "}
    )
    assert configuration.upstream_concurrency == 8
    assert configuration.retention == Retention(400)
    assert configuration.table_name == "other"


@pytest.mark.parametrize(
    ("lowest", "told"),
    [
        ("low", ("low", "medium", "high", "critical")),
        ("high", ("high", "critical")),
        ("critical", ("critical",)),
        (" critical ", ("critical",)),
        ("", ("critical",)),
        ("off", ()),
    ],
)
def test_priorities_from_the_lowest_on_are_told_of(lowest: str, told: tuple[str, ...]) -> None:
    """The priority that is named and those above it; off is none."""
    assert read_configuration(GOOD | {"NOTIFY_PRIORITY": lowest}).notify_priorities == told


@pytest.mark.parametrize("lowest", ["urgent", "High", "low,high", "none"])
def test_an_unknown_priority_is_named(lowest: str) -> None:
    """A misspelt priority must not turn notifications off silently."""
    with pytest.raises(ConfigurationError, match="NOTIFY_PRIORITY must be low"):
        read_configuration(GOOD | {"NOTIFY_PRIORITY": lowest})


@pytest.mark.parametrize("value", [None, "", "   "])
@pytest.mark.parametrize("name", GOOD)
def test_missing_variable_is_named(name: str, value: str | None) -> None:
    """A variable that is missing or empty is named, and no other."""
    environ = {key: each for key, each in GOOD.items() if key != name}
    if value is not None:
        environ[name] = value
    error = refusal(environ)
    assert name in str(error)
    assert "not set" in str(error)
    assert all(other not in str(error) for other in GOOD if other != name)


@pytest.mark.parametrize(
    ("name", "bounds", "value"),
    [
        *(
            ("UPSTREAM_CONCURRENCY", "from 1 to 8", value)
            for value in ("0", "9", "-1", "4.0", "four", "٤", "1e1", "0x4", "4 4", "99999999999999999999")
        ),
        *(("RISK_HALF_LIFE_DAYS", "from 1 to 3650", value) for value in ("0", "3651", "half")),
        *(("RETENTION_DAYS", "from 0 to 36500", value) for value in ("-1", "36501", "ever", "1.5", "²")),
    ],
)
def test_number_out_of_bounds_is_named_with_the_bounds(name: str, bounds: str, value: str) -> None:
    """A number that can't be used is quoted beside the variable's name and what it may be."""
    error = refusal(GOOD | {name: value})
    assert str(error) == f"{name} must be a whole number {bounds}, not {value!r}"


@pytest.mark.parametrize(("name", "values"), [("UPSTREAM_CONCURRENCY", "18"), ("RETENTION_DAYS", "0")])
def test_bounds_themselves_are_taken(name: str, values: str) -> None:
    """The lowest and the highest allowed values are allowed."""
    for value in values:
        read_configuration(GOOD | {name: value})
    assert read_configuration(GOOD | {"RETENTION_DAYS": "36500"}).retention == Retention(36_500)


def test_the_scale_of_scores_can_be_set() -> None:
    """Four weights with commas, the lowest priority first; blanks don't count; half a life in whole days."""
    scale = {"RISK_WEIGHTS": " 0, 1,50, 1000 ", "RISK_HALF_LIFE_DAYS": "7"}
    assert read_configuration(GOOD | scale).risk_scale == RiskScale((0, 1, 50, 1000), 7)


@pytest.mark.parametrize(
    "text", ["1,3,7", "1,3,7,15,31", "1,3,7,1001", "1,3,7,-1", "1;3;7;15", "a,b,c,d", ",,,"]
)
def test_weights_that_are_none_are_refused(text: str) -> None:
    """Whoever is told what is wrong is told what would be right."""
    assert str(refusal(GOOD | {"RISK_WEIGHTS": text})) == (
        "RISK_WEIGHTS must be 4 whole numbers from 0 to 1000 with commas between them, for low, medium, high,"
        f" critical; not {text!r}"
    )


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        ("https://incidents.example.com/", "https://incidents.example.com"),
        ("https://incidents.example.com/v1/", "https://incidents.example.com/v1"),
        ("https://incidents.example.com/v1//", "https://incidents.example.com/v1"),
        (" http://127.0.0.1:9100 ", "http://127.0.0.1:9100"),
        ("http://[::1]:9100", "http://[::1]:9100"),
        ("HTTPS://Incidents.Example.com:8443", "HTTPS://Incidents.Example.com:8443"),
    ],
)
def test_address_is_taken_without_its_last_slash(text: str, base_url: str) -> None:
    """Any http address of a host is good; paths are put to it with just one slash between."""
    assert read_base_url(text) == base_url


@pytest.mark.parametrize(("text", "expected"), [(None, True), ("", True), ("true", True), ("false", False)])
def test_metrics_of_the_dashboard_are_left_out_when_told(text: str | None, expected: bool) -> None:
    """Nobody who was not asked loses a number."""
    environ = GOOD | ({} if text is None else {"DASHBOARD_METRICS": text})
    assert read_configuration(environ).dashboard_metrics is expected


@pytest.mark.parametrize("text", ["yes", "0", "False", "no"])
def test_a_switch_is_true_or_false(text: str) -> None:
    """What may be meant either way is refused."""
    assert "DASHBOARD_METRICS must be true or false" in str(refusal(GOOD | {"DASHBOARD_METRICS": text}))


@pytest.mark.parametrize(
    "text",
    [
        "incidents.example.com",
        "incidents.example.com:443",
        "ftp://incidents.example.com",
        "file:///etc/passwd",
        "https://",
        "https:///incidents",
        "https:incidents.example.com",
        "/incidents",
        "//incidents.example.com",
        "https://:443",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """What is no http address is refused with an example of one."""
    error = refusal(GOOD | {"UPSTREAM_BASE_URL": text})
    assert "UPSTREAM_BASE_URL" in str(error)
    assert "https://incidents.example.com" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "https://benutzerin:geheim@incidents.example.com",
        "https://geheim@incidents.example.com/",
        "https://:geheim@incidents.example.com/",
        "https://incidents.example.com/?key=geheim",
        "https://incidents.example.com/#geheim",
        "https://benutzerin:ge?heim@incidents.example.com",
        "https://benutzerin:ge#heim@incidents.example.com",
        "https://geheim:@incidents.example.com",
    ],
)
def test_credentials_in_the_address_are_refused_unquoted(text: str) -> None:
    """Credentials, which logs would show, are refused: the error says where they go, and quotes none."""
    assert_unquoted(refusal(GOOD | {"UPSTREAM_BASE_URL": text}))


def assert_unquoted(error: ConfigurationError) -> None:
    assert "UPSTREAM_BASE_URL" in str(error)
    assert "secret" in str(error)
    everything = "\n".join([str(error), repr(error), *traceback.format_exception(error)])
    for part in ("geheim", "ge?heim", "ge#heim", "benutzerin"):
        assert part not in everything


@pytest.mark.parametrize(
    "text",
    [
        "https://benutzerin:geheim/7@incidents.example.com",
        "https://benutzerin:1234/geheim@incidents.example.com",
        "https://benutzerin/geheim@incidents.example.com",
    ],
)
def test_credentials_with_a_slash_are_refused_unquoted(text: str) -> None:
    """A password with a slash in it is noticed as well: it would make the user name the host."""
    assert_unquoted(refusal(GOOD | {"UPSTREAM_BASE_URL": text}))


@pytest.mark.parametrize(
    "text",
    [
        "https://[",
        "https://benutzerin:ge[heim@incidents.example.com",
        "https://benutzerin:geheim℀@incidents.example.com",
        "https://[incidents.example.com]",
    ],
)
def test_what_can_not_be_parsed_is_refused_unquoted(text: str) -> None:
    """An address that urlsplit refuses is refused by the variable's name, with nothing of it quoted."""
    error = refusal(GOOD | {"UPSTREAM_BASE_URL": text})
    assert "UPSTREAM_BASE_URL" in str(error)
    assert "heim" not in "\n".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "text",
    [
        "https://incidents.example.com:99999",
        "https://incidents.example.com:abc",
        "https://incidents.example.com?",
        "https://incidents.example.com/v1?",
        "https://incidents.example.com#",
        "https://incidents example.com",
        "https://incidents\n.example.com",
    ],
)
def test_address_that_can_not_be_asked_is_refused_at_the_start(text: str) -> None:
    """An address that every single request would fail with, or mean another, is refused before the first."""
    assert "UPSTREAM_BASE_URL" in str(refusal(GOOD | {"UPSTREAM_BASE_URL": text}))
