"""The attribute that DynamoDB's TTL looks at."""

from shared.domain.retention import Retention
from shared.store.table import Item


def expiry(retention: Retention, moment: float) -> Item:
    """``expires_at`` for an item about ``moment`` (epoch seconds); nothing where all is kept."""
    expires_at = retention.expires_at(moment)
    return {} if expires_at is None else {"expires_at": {"N": str(expires_at)}}
