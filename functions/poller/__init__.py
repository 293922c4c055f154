"""The poller: brings what is new from the upstream into the table, exactly once."""
