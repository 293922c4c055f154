"""The table of faults, by the names under which a person or a test asks for them.

A new one is a row here, `"a list": body(b"[]")`, and a row in `tests/integration/test_hostile_upstream.py`,
which says what the service makes of it: docs/upstream-faults.md is held to that.
"""

import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from email.utils import formatdate
from functools import cache
from types import MappingProxyType
from typing import Final

from local.simulator.content_faults import (
    WHO,
    adding,
    adding_seconds,
    every,
    identities,
    lacking,
    newest,
    records,
    repeating,
    setting,
)
from local.simulator.exchange import Exchange, Reply
from local.simulator.faults import (
    Fault,
    body,
    cut_off,
    dripping,
    hang,
    mangled,
    raw,
    redirect,
    reset,
    slow_body,
    slow_start,
    status,
    stuck,
)

_HANG_SECONDS: Final = 30.0
_DROP_SECONDS: Final = 0.05
_BOMB_BYTES: Final = 64 * 1024 * 1024
_TEN_MEGABYTES: Final = 10_000_000
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def _packed(change: Callable[[bytes], bytes]) -> Fault:
    """The usual body gzipped, and then changed."""

    def play(exchange: Exchange) -> None:
        content = change(gzip.compress(exchange.reply.body, mtime=0))
        exchange.send(replace(exchange.reply, body=content, headers=(("Content-Encoding", "gzip"),)))

    return Fault("gzip, changed", play)


def _with_head(lines: bytes) -> Fault:
    """The usual body under a head of these lines, and then the end of the connection."""

    def play(exchange: Exchange) -> None:
        exchange.write(_OK + lines + b"\r\n" + exchange.reply.body)
        exchange.close()

    return Fault("another head", play)


def _in_chunks(content: bytes) -> Fault:
    return raw(_OK + b"Transfer-Encoding: chunked\r\n\r\n" + content)


@cache
def _bomb() -> bytes:
    packer = zlib.compressobj(level=9, wbits=31)
    return packer.compress(b'{"results": [' + b" " * _BOMB_BYTES) + packer.flush()


def _ten_megabytes(record: str) -> str:
    return setting(WHO, f'"{"9" * _TEN_MEGABYTES}"')(record)


def _to_nobody(identity: str) -> str:
    return f"{identity.partition(':')[0]}: null"


# One row a fault, ready to use; tests run through the whole table.
FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        # Another status than 200.
        "status 204": status(204, content=b""),
        "status 206": Fault(
            "status 206", lambda exchange: exchange.send(replace(exchange.reply, status=206))
        ),
        "status 401": status(401, {"WWW-Authenticate": 'Basic realm="simulator"'}),
        "status 403": status(403),
        "status 404": status(404),
        "status 408": status(408),
        "status 429": status(429, {"Retry-After": "1"}),
        "status 429 for an hour": status(429, {"Retry-After": "3600"}),
        "status 429 until a date": Fault(
            "status 429 until a date",
            lambda exchange: exchange.send(
                Reply(429, headers=(("Retry-After", formatdate(usegmt=True)),)),
            ),
        ),
        "status 429 until whenever": status(429, {"Retry-After": "-soon"}),
        "status 500": status(500),
        "status 502": status(502),
        "status 503": status(503, {"Retry-After": "1"}),
        "status 504": status(504),
        "redirect to itself": Fault(
            "redirect to itself",
            lambda exchange: exchange.send(Reply(301, headers=(("Location", exchange.path),))),
        ),
        "redirect to another path": redirect("/identities/", 302),
        # An address for documentation: nobody is there.
        "redirect to another host": redirect("http://192.0.2.1/incidents/", 307),
        # The connection.
        "reset": reset(),
        "reset in the body": reset(after=0.5),
        "cut off": cut_off(0.5),
        "closed without an answer": hang(0.0),
        "no answer": hang(_HANG_SECONDS),
        "stuck in the body": stuck(0.5, _HANG_SECONDS),
        "slow body": slow_body(0.5),
        "slow start": slow_start(0.5),
        "dripping body": dripping(
            _OK + b'Content-Length: 9999\r\n\r\n{"results": [',
            b" ",
            every=_DROP_SECONDS,
            seconds=_HANG_SECONDS,
        ),
        "dripping headers": dripping(_OK, b"X-Drop: 1\r\n", every=0.3, seconds=_HANG_SECONDS),
        "100 Continue without end": dripping(
            b"", b"HTTP/1.1 100 Continue\r\n\r\n", every=_DROP_SECONDS, seconds=_HANG_SECONDS
        ),
        # HTTP.
        "not HTTP": raw(b"SSH-2.0-simulator\r\n"),
        "a header of 100 KB": _with_head(b"X-Long: " + b"x" * 100_000 + b"\r\n"),
        "200 headers": _with_head(b"X-Many: 1\r\n" * 200),
        "Content-Length too long": _with_head(b"Content-Length: 9999999\r\n"),
        "Content-Length too short": _with_head(b"Content-Length: 100\r\nConnection: close\r\n"),
        "Content-Length twice": _with_head(b"Content-Length: 100\r\nContent-Length: 200\r\n"),
        "Content-Length no number": _with_head(b"Content-Length: plenty\r\n"),
        "chunks of no size": _in_chunks(b"zz\r\n{}\r\n0\r\n\r\n"),
        "chunks without an end": _in_chunks(b'e\r\n{"results": []\r\n'),
        "gzip cut off": _packed(lambda packed: packed[: len(packed) // 2]),
        "gzip without its checksum": _packed(lambda packed: packed[:-8]),
        "gzip with a wrong checksum": _packed(lambda packed: packed[:-8] + bytes(8)),
        "gzip bomb": Fault(
            "gzip bomb",
            lambda exchange: exchange.send(Reply(200, _bomb(), (("Content-Encoding", "gzip"),))),
        ),
        "not gzip though it says so": body(b'{"results": []}', headers={"Content-Encoding": "gzip"}),
        # The body as a whole.
        "empty body": body(b""),
        "html": body(b"<html><body>Service unavailable</body></html>", content_type="text/html"),
        "html as JSON": body(b"<html><body>Log in</body></html>"),
        "half of the JSON": mangled("half of the JSON", lambda content: content[: len(content) // 2]),
        "something behind the JSON": mangled(
            "something behind the JSON", lambda content: content + b"<!-- -->"
        ),
        "UTF-16": mangled("UTF-16", lambda content: content.decode().encode("utf-16")),
        "Latin-1": mangled("Latin-1", lambda content: content.replace(b"}]", b', "name": "M\xfcller"}]')),
        "a BOM": mangled("a BOM", lambda content: b"\xef\xbb\xbf" + content),
        "100,000 open lists": body(b'{"results": ' + b"[" * 100_000),
        "two million values": body(b'{"results": [' + b"0," * 2_000_000 + b"0]}"),
        "a list": body(b"[]"),
        "an error with status 200": body(b'{"error": "database is down"}'),
        "results are an object": body(b'{"results": {"1": {"priority": "low"}}}'),
        "results are null": body(b'{"results": null}'),
        "results twice": mangled(
            "results twice", lambda content: content.replace(b'{"results"', b'{"results": [], "results"')
        ),
        # The window.
        "an empty window": body(b'{"results": []}'),
        "the older half": records(lambda usual: usual[: len(usual) // 2]),
        "the newer half": records(lambda usual: usual[len(usual) // 2 :]),
        "unsorted": records(lambda usual: usual[::-1]),
        "each record three times": records(lambda usual: usual * 3),
        "all records replaced": every(adding_seconds(-1)),
        "records of another type": every(lacking(WHO)),
        "a clock an hour ahead": newest(adding_seconds(3_600)),
        "a clock two days ahead": newest(adding_seconds(2 * 86_400)),
        # One record.
        "records that are no objects": records(lambda usual: [*usual, "null", '"high"', "7", "[]", "true"]),
        "NaN": newest(setting("timestamp", "NaN")),
        "Infinity": newest(setting("timestamp", "-Infinity")),
        "a timestamp of 1e400": newest(setting("timestamp", "1e400")),
        "a negative timestamp": newest(setting("timestamp", "-1.5")),
        "a timestamp in milliseconds": newest(setting("timestamp", "1700000000000")),
        "a timestamp in 2100": newest(setting("timestamp", "4102444800")),
        "a timestamp of 5,000 digits": newest(setting("timestamp", "9" * 5_000)),
        "a timestamp as text": newest(setting("timestamp", '"2026-11-23T06:00:00Z"')),
        "no timestamp": newest(lacking("timestamp")),
        "a timestamp that is null": newest(setting("timestamp", "null")),
        "an unknown priority": newest(setting("priority", '"urgent"')),
        "a priority in capitals": newest(setting("priority", '"HIGH"')),
        "a priority with a line break": newest(setting("priority", r'"high\n"')),
        "no priority": newest(lacking("priority")),
        "nobody": newest(lacking(WHO)),
        "null for whom it is about": newest(setting(WHO, "null")),
        "a list for whom it is about": newest(setting(WHO, '["42"]')),
        "an employee of 31 digits": newest(setting(WHO, "1" + "0" * 30)),
        "an employee with decimals": newest(setting(WHO, "42.0")),
        "a negative employee": newest(setting(WHO, "-42")),
        "control characters in an id": newest(setting(WHO, r'"4\u00002\u001b[2J"')),
        "a key's separator in an id": newest(setting(WHO, '"42#low"')),
        "digits of another script": newest(setting(WHO, r'"\u0664\u0662"')),
        "an id of 10 MB": newest(_ten_megabytes),
        "an IPv6 address": newest(setting(WHO, '"2001:0DB8:0:0::1"')),
        "an IPv6 address with a zone": newest(setting(WHO, '"fe80::1%eth0"')),
        "an IP padded with zeros": newest(setting(WHO, '"017.001.002.003"')),
        "an IP padded with blanks": newest(setting(WHO, '" 17.1.2.3 "')),
        "an IP with a port": newest(setting(WHO, '"17.1.2.3:443"')),
        "an IP as a number": newest(setting(WHO, "285278723")),
        "a record nested 60 deep": newest(adding(f'"more": {"[" * 60}{"]" * 60}')),
        "two records nested 500 deep": records(
            lambda usual: [*usual[:-2], *map(adding(f'"more": {"[" * 500}{"]" * 500}'), usual[-2:])],
        ),
        "a record of 20 KB": newest(adding(f'"more": "{"x" * 20_000}"')),
        "a key twice": newest(repeating("priority", '"urgent"')),
        "a key twice, alike": records(
            lambda usual: [f"{record[:-1]}, {record[1:]}" for record in usual],
        ),
        "whom it is about twice": newest(repeating(WHO, "42")),
        "unknown fields": every(
            adding(r'"type": "phishing", "id": 1, "score": 1e400, "name": "\ud800\u0000"')
        ),
        # The identities.
        "identities: empty": identities(lambda usual: []),
        "identities: half of them": identities(lambda usual: usual[::2]),
        "identities: a list": body(b'["17.1.2.3"]'),
        "identities: nobody": identities(lambda usual: map(_to_nobody, usual)),
        "identities: some rubbish": identities(
            lambda usual: [*usual, '"": 1', '"localhost": 2', '"10.0.0.1": "-"']
        ),
    }
)
