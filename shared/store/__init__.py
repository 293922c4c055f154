"""The one table: a journal and its projection (docs/data-model.md). Only this package knows its keys."""
