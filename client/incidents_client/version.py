"""The client's version; nothing else names it."""

VERSION = "0.1.0"
