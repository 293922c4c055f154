"""The service's version: that of pyproject.toml, which a test holds it to."""

VERSION = "0.1.0"
