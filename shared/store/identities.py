"""The last good identities, for polls that can't fetch them.

A small pointer, and the compressed map in chunks under a name made of the time of fetching and the content's
digest; the pointer moves to them last.
"""

import json
import zlib
from itertools import batched

from shared.domain.attribution import Identities, make_identities
from shared.store.keys import IDENTITIES, IDENTITIES_KEY
from shared.store.table import Item, Table

# DynamoDB's limit of an item is 400 KB; 5,000 identities take 43 KB.
MAX_CHUNK_BYTES = 350_000


def read_identities(table: Table) -> tuple[Identities, float] | None:
    """The identities that were stored last and when they were fetched (epoch seconds), or None."""
    pointer = table.get(IDENTITIES_KEY)
    if pointer is None:
        return None
    name = pointer["name"]["S"]
    chunks = [table.get(_chunk_key(name, number)) for number in range(int(pointer["chunks"]["N"]))]
    body = b"".join(chunk["body"]["B"] for chunk in chunks if chunk)
    if not all(chunks):
        return None
    return make_identities(json.loads(zlib.decompress(body))), float(pointer["fetched_at"]["N"])


def store_identities(table: Table, identities: Identities, *, fetched_at: float) -> None:
    """Keep the identities, unless they are kept already or others that were fetched later are.

    Costs one small read when nothing has changed.
    """
    pointer = table.get(IDENTITIES_KEY)
    if pointer and pointer["digest"]["S"] == identities.digest:
        return
    text = json.dumps(identities.employee_by_ip, separators=(",", ":"), sort_keys=True)
    chunks = list(batched(zlib.compress(text.encode(), 9), MAX_CHUNK_BYTES, strict=False))
    name = f"{fetched_at:020.6f}#{identities.digest}"
    for number, chunk in enumerate(chunks):
        table.put_many([_chunk_item(name, number, bytes(chunk))])
    pk, sk = IDENTITIES_KEY
    moved = table.put(
        {
            "pk": {"S": pk},
            "sk": {"S": sk},
            "name": {"S": name},
            "digest": {"S": identities.digest},
            "chunks": {"N": str(len(chunks))},
            "fetched_at": {"N": f"{fetched_at:.6f}"},
        },
        condition="attribute_not_exists(pk) OR fetched_at < :fetched_at",
        values={":fetched_at": {"N": f"{fetched_at:.6f}"}},
    )
    if moved:
        _delete_earlier_chunks(table, name)


def _delete_earlier_chunks(table: Table, name: str) -> None:
    """Those of identities fetched earlier; a later poll may be writing its own at this moment."""
    earlier = table.query(IDENTITIES, between=("CHUNK#", f"CHUNK#{name}"), attributes=("sk",))
    table.delete_many([(IDENTITIES, item["sk"]["S"]) for item in earlier])


def _chunk_key(name: str, number: int) -> tuple[str, str]:
    return IDENTITIES, f"CHUNK#{name}#{number:04}"


def _chunk_item(name: str, number: int, body: bytes) -> Item:
    pk, sk = _chunk_key(name, number)
    return {"pk": {"S": pk}, "sk": {"S": sk}, "body": {"B": body}}
