"""The last good identities, for polls that can't fetch them.

One compressed item; what is too large for one is cut into chunks under a name made of the time of fetching
and the content's digest, and the pointer moves to them last.
"""

import json
import zlib
from itertools import batched

from shared.domain.attribution import Identities, make_identities
from shared.store.keys import IDENTITIES, IDENTITIES_KEY
from shared.store.table import Item, Table

# DynamoDB's limit of an item is 400 KB.
MAX_CHUNK_BYTES = 350_000


def read_identities(table: Table) -> tuple[Identities, float] | None:
    """The identities that were stored last and when they were fetched (epoch seconds), or None."""
    pointer = table.get(IDENTITIES_KEY)
    if pointer is None:
        return None
    body = pointer["body"]["B"] if "body" in pointer else _read_chunks(table, pointer)
    if body is None:
        return None
    identities = make_identities(json.loads(zlib.decompress(body)))
    return identities, float(pointer["fetched_at"]["N"])


def store_identities(table: Table, identities: Identities, *, fetched_at: float) -> None:
    """Keep the identities, unless others that were fetched later are kept already."""
    text = json.dumps(identities.employee_by_ip, separators=(",", ":"), sort_keys=True)
    body = zlib.compress(text.encode(), 9)
    chunks = [bytes(chunk) for chunk in batched(body, MAX_CHUNK_BYTES, strict=False)]
    name = f"{fetched_at:020.6f}#{identities.digest}"
    pk, sk = IDENTITIES_KEY
    pointer: Item = {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "name": {"S": name},
        "digest": {"S": identities.digest},
        "fetched_at": {"N": f"{fetched_at:.6f}"},
    }
    if len(chunks) == 1:
        pointer["body"] = {"B": body}
    else:
        pointer["chunks"] = {"N": str(len(chunks))}
        for number, chunk in enumerate(chunks):
            table.put_many([_chunk_item(name, number, chunk)])
    moved = table.put(
        pointer,
        condition="attribute_not_exists(pk) OR fetched_at < :fetched_at",
        values={":fetched_at": pointer["fetched_at"]},
    )
    if moved:
        _delete_earlier_chunks(table, name)


def _read_chunks(table: Table, pointer: Item) -> bytes | None:
    """The chunks joined; None if one is gone, which a poll that stored others meanwhile can bring about."""
    name, count = pointer["name"]["S"], int(pointer["chunks"]["N"])
    chunks = [table.get(_chunk_key(name, number)) for number in range(count)]
    found = [chunk["body"]["B"] for chunk in chunks if chunk]
    return b"".join(found) if len(found) == count else None


def _delete_earlier_chunks(table: Table, name: str) -> None:
    """Those of identities fetched earlier; a later poll may be writing its own at this moment."""
    earlier = table.query(IDENTITIES, between=("CHUNK#", f"CHUNK#{name}"), attributes=("sk",))
    table.delete_many([(IDENTITIES, item["sk"]["S"]) for item in earlier])


def _chunk_key(name: str, number: int) -> tuple[str, str]:
    return IDENTITIES, f"CHUNK#{name}#{number:04}"


def _chunk_item(name: str, number: int, body: bytes) -> Item:
    pk, sk = _chunk_key(name, number)
    return {"pk": {"S": pk}, "sk": {"S": sk}, "body": {"B": body}}
