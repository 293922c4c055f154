"""The last good identities, for polls that can't fetch them.

One compressed item; what is too large for one is cut into chunks under the content's digest, and the
pointer moves to them last.
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
    body = zlib.compress(json.dumps(identities.employee_by_ip, separators=(",", ":")).encode(), 9)
    chunks = [bytes(chunk) for chunk in batched(body, MAX_CHUNK_BYTES, strict=False)]
    pk, sk = IDENTITIES_KEY
    pointer: Item = {
        "pk": {"S": pk},
        "sk": {"S": sk},
        "digest": {"S": identities.digest},
        "fetched_at": {"N": f"{fetched_at:.6f}"},
    }
    if len(chunks) == 1:
        pointer["body"] = {"B": body}
    else:
        pointer["chunks"] = {"N": str(len(chunks))}
        for number, chunk in enumerate(chunks):
            table.put_many([_chunk_item(identities.digest, number, chunk)])
    moved = table.put(
        pointer,
        condition="attribute_not_exists(pk) OR fetched_at < :fetched_at",
        values={":fetched_at": pointer["fetched_at"]},
    )
    if moved:
        _delete_other_chunks(table, identities.digest)


def _read_chunks(table: Table, pointer: Item) -> bytes | None:
    """The chunks joined; None if one is gone, which a poll that stored others meanwhile can bring about."""
    digest, count = pointer["digest"]["S"], int(pointer["chunks"]["N"])
    chunks = [table.get(_chunk_key(digest, number)) for number in range(count)]
    found = [chunk["body"]["B"] for chunk in chunks if chunk]
    return b"".join(found) if len(found) == count else None


def _delete_other_chunks(table: Table, digest: str) -> None:
    keys = [
        item["sk"]["S"] for item in table.query(IDENTITIES, between=("CHUNK#", "CHUNK$"), attributes=("sk",))
    ]
    table.delete_many((IDENTITIES, sk) for sk in keys if not sk.startswith(f"CHUNK#{digest}#"))


def _chunk_key(digest: str, number: int) -> tuple[str, str]:
    return IDENTITIES, f"CHUNK#{digest}#{number:04}"


def _chunk_item(digest: str, number: int, body: bytes) -> Item:
    pk, sk = _chunk_key(digest, number)
    return {"pk": {"S": pk}, "sk": {"S": sk}, "body": {"B": body}}
