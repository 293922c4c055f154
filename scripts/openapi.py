"""`make openapi`: functions/api/openapi.json, which is served, from openapi.yaml, written by hand."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

PROJECT_PATH = Path(__file__).resolve().parents[1]
SOURCE_PATH = PROJECT_PATH / "openapi.yaml"
SERVED_PATH = PROJECT_PATH / "functions" / "api" / "openapi.json"


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a name given twice in one mapping: the first of them would be lost silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping; raises ConstructorError for a repeated or non-text name."""
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        for (key, _), name in zip(node.value, names, strict=True):
            if not isinstance(name, str) or names.count(name) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name!r} is given twice or is not text", key.start_mark
                )
        return super().construct_mapping(node, deep)


def load_contract(path: Path = SOURCE_PATH) -> dict[str, Any]:
    """The document as plain data. Raises yaml.YAMLError."""
    document: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=_Loader)  # nosec B506  # noqa: S506 - a SafeLoader
    return document


def render_contract(document: dict[str, Any]) -> str:
    """The document as it is served: compact ASCII, in the order in which it is written."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False) + "\n"


def main() -> int:
    """Write the served document; give the exit status."""
    text = render_contract(load_contract())
    SERVED_PATH.write_text(text, encoding="ascii")
    print(f"{SERVED_PATH.relative_to(PROJECT_PATH)}: {len(text):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
