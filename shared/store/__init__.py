"""The one table: a journal and its projection (DESIGN.md, section 4). Only this package knows its keys."""
