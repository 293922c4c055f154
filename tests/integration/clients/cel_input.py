"""Filebeat's CEL input, as far as the program of `integrations/elastic/filebeat-cel.yml` needs it.

    cel_input.py CONFIGURATION STATE_FILE

One interval: evaluates the program until it wants no more, prints each event as a line, and keeps the cursor
once the events before it are out. The language is cel-python's. The functions of Elastic's library mito are
made here as its documentation has them (https://pkg.go.dev/github.com/elastic/mito/lib). Run by the Python of
`.tools/clients`.
"""

import json
import os
import pathlib
import re
import sys
import urllib.error
import urllib.request
from typing import Any

import celpy
import yaml
from celpy import celtypes


def main(configuration: str, state_file: str) -> None:
    """Run one interval."""
    text = os.path.expandvars(pathlib.Path(configuration).read_text("utf-8"))
    (settings,) = yaml.safe_load(text)["filebeat.inputs"]
    headers = {name: value for name, (value,) in settings["resource.headers"].items()}
    environment = celpy.Environment()
    functions = {
        "get": lambda url: get(str(url), headers),
        "decode_json": lambda body: celpy.json_to_cel(json.loads(bytes(body))),
        "encode_json": lambda value: celtypes.StringType(json.dumps(value, cls=celpy.CELJSONEncoder)),
        "with": lambda old, new: celtypes.MapType({**old, **new}),
    }
    program = environment.program(environment.compile(expand_as(settings["program"])), functions=functions)
    path = pathlib.Path(state_file)
    state: dict[str, Any] = {**settings["state"], "url": settings["resource.url"]}
    if path.exists():
        state["cursor"] = json.loads(path.read_text("utf-8"))
    while True:
        result = program.evaluate({"state": celpy.json_to_cel(state)})
        state = json.loads(json.dumps(result, cls=celpy.CELJSONEncoder))
        events = state.pop("events")
        if isinstance(events, dict):
            sys.exit(f"one object instead of a list is an error: {events}")
        for event in events:
            print(event["message"])
        sys.stdout.flush()
        if "cursor" in state:
            path.write_text(json.dumps(state["cursor"]), "utf-8")
        if not state.pop("want_more") or not events:
            return


def get(url: str, headers: dict[str, str]) -> celtypes.MapType:
    """Mito's HTTP response, with what the program looks at."""
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the test's own address
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    return celtypes.MapType(
        {
            celtypes.StringType("StatusCode"): celtypes.IntType(status),
            celtypes.StringType("Body"): celtypes.BytesType(body),
        }
    )


def expand_as(program: str) -> str:
    """`x.as(name, expression)` as mito defines it: `[x].map(name, expression)[0]`."""
    while found := re.search(r"\.as\(", program):
        end = _closing(program, found.end() - 1)
        begin = _receiver(program, found.start())
        receiver, arguments = program[begin : found.start()], program[found.end() : end]
        program = f"{program[:begin]}[{receiver}].map({arguments})[0]{program[end + 1 :]}"
    return program


def _closing(text: str, opening: int) -> int:
    """Where the parenthesis that opens there is closed."""
    depth = 0
    for position in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise ValueError("a parenthesis is not closed")


def _receiver(text: str, end: int) -> int:
    """Where the operand that ends there begins: names, points and calls."""
    position, depth = end, 0
    while position > 0:
        character = text[position - 1]
        depth += {")": 1, "(": -1}.get(character, 0)
        if depth < 0 or (depth == 0 and not (character.isalnum() or character in "_.()")):
            return position
        position -= 1
    return position


if __name__ == "__main__":
    main(*sys.argv[1:])
