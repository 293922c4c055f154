"""`make soak`: one simulated year of hourly polls; prints what was seen."""

import argparse
import sys

from tests.soak.describe import describe
from tests.soak.model import BrokenPromiseError
from tests.soak.soak import Settings, Soak


def main() -> int:
    """Give the exit status: 0 when every promise was kept."""
    defaults = Settings()
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--days", type=int, default=defaults.days)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--retention-days", type=int, default=defaults.retention_days)
    parser.add_argument("--records", type=int, default=defaults.records)
    parser.add_argument("--identities", type=int, default=defaults.identities)
    parser.add_argument("--checkpoint-days", type=int, default=defaults.checkpoint_days)
    parser.add_argument("--outage-day", type=int, default=defaults.outage_day)
    options = parser.parse_args()
    soak = Soak(Settings(**vars(options)), say=lambda line: print(line, flush=True))
    try:
        soak.run()
    except BrokenPromiseError as broken:
        print(f"BROKEN {broken}", file=sys.stderr)
        return 1
    print(describe(soak))
    return 0


if __name__ == "__main__":
    sys.exit(main())
