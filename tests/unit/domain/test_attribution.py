"""Whose incident it is, by what the upstream says of addresses, and only by that."""

from pathlib import Path

import pytest

from shared.domain.attribution import (
    Identities,
    MalformedIdentitiesError,
    attribute,
    make_identities,
    parse_identities,
)
from shared.domain.exact_json import parse
from shared.domain.incident import INCIDENT_TYPES, SUBJECT_FIELDS, Incident, normalise

CAPTURE = Path(__file__).parents[4] / "shared" / "upstream-capture"


def identities(document: str) -> Identities:
    return parse_identities(parse(document))


def incident(incident_type: str, subject: str) -> Incident:
    document = f'{{"priority":"low","timestamp":1.5,"source_ip":"10.0.0.9","{SUBJECT_FIELDS[incident_type]}":'
    return normalise(incident_type, parse(document + subject + "}"), now=10)


def test_identities_are_read_in_their_one_spelling() -> None:
    """Addresses and employee ids are known by one spelling, whichever the upstream uses."""
    known = identities(
        '{"17.48.188.237": 97, "2001:DB8:0::1": "007", "::": "0", "10.0.0.1": 12345678901234567890}'
    )
    assert known.employee_by_ip == {
        "17.48.188.237": "97",
        "2001:db8::1": "7",
        "::": "0",
        "10.0.0.1": "12345678901234567890",
    }
    assert known.ignored == 0


@pytest.mark.parametrize(
    "junk",
    [
        '"": 1',
        '"abc": 1',
        '" 10.0.0.2": 1',
        '"10.0.0.2 ": 1',
        '"010.0.0.2": 1',
        '"10.0.0.2/32": 1',
        '"fe80::1%eth0": 1',
        r'"10.0.0.2\u0000": 1',
        r'"\ud800": 1',
        '"10.0.0.2": null',
        '"10.0.0.2": true',
        '"10.0.0.2": -1',
        '"10.0.0.2": 1.0',
        '"10.0.0.2": 1e3',
        '"10.0.0.2": ""',
        '"10.0.0.2": "7 "',
        '"10.0.0.2": "7#"',
        '"10.0.0.2": "\u0667"',
        '"10.0.0.2": [7]',
        '"10.0.0.2": {"id": 7}',
        '"10.0.0.2": 123456789012345678901',
    ],
)
def test_junk_entry_is_counted_and_the_rest_is_taken(junk: str) -> None:
    """An entry that is no address or no employee id is left out and counted; it spoils no other."""
    known = identities(f'{{"10.0.0.1": 5, {junk}, "10.0.0.3": 6}}')
    assert known.employee_by_ip == {"10.0.0.1": "5", "10.0.0.3": "6"}
    assert known.ignored == 1
    assert known.digest == identities('{"10.0.0.3": 6, "10.0.0.1": 5}').digest


@pytest.mark.parametrize(
    "document",
    [
        *("null", "[]", '"x"', "1", "true", '[{"10.0.0.1": 1}]'),
        *('{"results": []}', '{"error": "try later"}', '{"10.0.0.1": null, "a": 1}'),
    ],
)
def test_an_answer_without_identities_is_not_taken(document: str) -> None:
    """An error page or another form is never taken for identities: it would replace the good ones."""
    with pytest.raises(MalformedIdentitiesError):
        identities(document)


def test_no_identities_are_identities_too() -> None:
    """An upstream that knows nobody yet says so with an empty object."""
    assert identities("{}") == make_identities({})


def test_digest_is_of_the_content() -> None:
    """The digest stays the same in any order and changes with any entry; its form never changes."""
    content = {f"10.0.{number}.1": str(number) for number in range(100)}
    digest = make_identities(content).digest
    backwards = dict(reversed(content.items()))
    assert list(backwards) != list(content)
    assert make_identities(backwards).digest == digest
    digests = {make_identities({**content, ip: "9999"}).digest for ip in (*content, "10.0.100.1")}
    digests |= {make_identities({ip: content[ip] for ip in content if ip != gone}).digest for gone in content}
    assert len(digests | {digest, make_identities({}).digest}) == 100 + 1 + 100 + 2
    assert (
        identities('{"17.48.188.237":97,"2001:DB8::0:1":"007"}').digest == "5c5ee26ab7b713b02b2caf69e4ff40f4"
    )


@pytest.mark.parametrize("spellings", [("::1", "0::1"), ("2001:db8::1", "2001:DB8::1", "2001:db8:0::1")])
def test_an_address_that_is_disputed_is_nobodys(spellings: tuple[str, ...]) -> None:
    """One address in several spellings with different employees attributes nothing, in any order."""
    entries = {"10.0.0.1": "5"} | {spelling: str(number) for number, spelling in enumerate(spellings)}
    known = parse_identities(entries)
    assert known.employee_by_ip == {"10.0.0.1": "5"}
    assert known.ignored == len(spellings)
    assert parse_identities(dict(reversed(entries.items()))) == known
    agreeing = parse_identities({"10.0.0.1": "5", **dict.fromkeys(spellings, "07")})
    assert list(agreeing.employee_by_ip.values()) == ["5", "7"]


def test_an_address_that_is_there_twice_is_nobodys() -> None:
    """The same spelling twice, with different employees, costs that address alone, whichever comes last."""
    text = '{"10.0.0.1": 5, "10.0.0.2": 6, "10.0.0.1": 7, "10.0.0.3": 8, "10.0.0.3": "08", "10.0.0.4": NaN}'
    assert parse_identities(parse(text, mark_flaws=True)).employee_by_ip == {"10.0.0.2": "6", "10.0.0.3": "8"}


KNOWN = make_identities({"10.0.0.1": "5", "10.0.0.9": "666", "2001:db8::1": "7"})


@pytest.mark.parametrize(
    ("incident_type", "subject", "employee_id"),
    [
        ("denial", "4506", "4506"),
        ("misuse", '"007"', "7"),
        ("unauthorized", "0", "0"),
        ("intrusion", '"10.0.0.1"', "5"),
        ("executable", '"2001:DB8:0::1"', "7"),
        ("probing", '"10.0.0.2"', None),
        ("other", '"4506"', "4506"),
        ("other", '"10.0.0.1"', "5"),
        ("other", '"10.0.0.2"', None),
    ],
)
def test_whose_it_is(incident_type: str, subject: str, employee_id: str | None) -> None:
    """An employee id speaks for itself, an address is looked up, and the attacker's address never counts."""
    assert attribute(incident(incident_type, subject), KNOWN) == employee_id


@pytest.mark.parametrize("incident_type", INCIDENT_TYPES)
def test_without_identities_only_addresses_wait(incident_type: str) -> None:
    """While the identities are missing, who is named is known all the same and who is not waits."""
    for subject, expected in (("7", "7"), ('"10.0.0.1"', None)):
        try:
            each = incident(incident_type, subject)
        except ValueError:
            assert incident_type != "other"
            continue
        assert attribute(each, None) == attribute(each, make_identities({})) == expected


@pytest.mark.skipif(not CAPTURE.is_dir(), reason="the capture of the real upstream is not beside the project")
def test_the_real_identities() -> None:
    """All 5,000 real entries are taken, and their digest is what it was."""
    known = parse_identities(parse((CAPTURE / "identities.json").read_bytes()))
    assert (len(known.employee_by_ip), known.ignored) == (5_000, 0)
    assert known.digest == "f29554774b3dd528e750845ee0d7ac28"
