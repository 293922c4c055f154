"""What `make run` says to settings that it can't use."""

import pytest

from local.settings import Settings, SettingsError, read_settings

EXTERNAL = {
    "UPSTREAM_BASE_URL": "https://incidents.example.com/v1/",
    "UPSTREAM_USERNAME": "reader",
    "UPSTREAM_PASSWORD": "pass word",
}


@pytest.mark.parametrize(
    "environment", [{}, {"PORT": "", "UPSTREAM_BASE_URL": "", "SIMULATOR": "", "POLL_INTERVAL_SECONDS": " "}]
)
def test_defaults(environment: dict[str, str]) -> None:
    """Without settings, or with empty ones, it polls the simulator every 10 s and serves on port 9000."""
    assert read_settings(environment) == Settings(9000, None, "simulator", "simulator", 10)


def test_external_upstream() -> None:
    """A named upstream is polled with its own credentials, with or without SIMULATOR=off."""
    expected = Settings(9001, "https://incidents.example.com/v1", "reader", "pass word", 3)
    environment = EXTERNAL | {"PORT": "9001", "POLL_INTERVAL_SECONDS": "3"}
    assert read_settings(environment) == expected
    assert read_settings(environment | {"SIMULATOR": "OFF"}) == expected


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"PORT": "70000"}, "PORT"),
        ({"PORT": "-1"}, "PORT"),
        ({"PORT": "nine"}, "PORT"),
        ({"PORT": "9_000"}, "PORT"),
        ({"POLL_INTERVAL_SECONDS": "0"}, "POLL_INTERVAL_SECONDS"),
        ({"POLL_INTERVAL_SECONDS": "1.5"}, "POLL_INTERVAL_SECONDS"),
        ({"POLL_INTERVAL_SECONDS": "86401"}, "POLL_INTERVAL_SECONDS"),
        ({"SIMULATOR": "yes"}, "SIMULATOR"),
        ({"SIMULATOR": "off"}, "UPSTREAM_BASE_URL"),
        (EXTERNAL | {"SIMULATOR": "on"}, "SIMULATOR=on"),
        (EXTERNAL | {"UPSTREAM_PASSWORD": ""}, "UPSTREAM_PASSWORD"),
        ({"UPSTREAM_BASE_URL": "https://incidents.example.com"}, "UPSTREAM_USERNAME and UPSTREAM_PASSWORD"),
        (EXTERNAL | {"UPSTREAM_BASE_URL": "incidents.example.com"}, "UPSTREAM_BASE_URL"),
        (EXTERNAL | {"UPSTREAM_BASE_URL": "ftp://incidents.example.com"}, "UPSTREAM_BASE_URL"),
        (EXTERNAL | {"UPSTREAM_BASE_URL": "https://:8080"}, "UPSTREAM_BASE_URL"),
        (EXTERNAL | {"UPSTREAM_BASE_URL": "https://incidents.example.com:99999"}, "UPSTREAM_BASE_URL"),
        (EXTERNAL | {"UPSTREAM_BASE_URL": "https://[::1"}, "UPSTREAM_BASE_URL"),
        (EXTERNAL | {"UPSTREAM_BASE_URL": "https://me:hush@incidents.example.com"}, "UPSTREAM_USERNAME"),
        (EXTERNAL | {"UPSTREAM_BASE_URL": "https://incidents.example.com?type=all"}, "query"),
    ],
)
def test_unusable_settings(environment: dict[str, str], named: str) -> None:
    """Each is refused with one line that names the variable; a password is never repeated."""
    with pytest.raises(SettingsError) as refusal:
        read_settings(environment)
    text = str(refusal.value)
    assert named in text
    assert "\n" not in text
    assert "hush" not in text
    assert "pass word" not in text
