"""The reader: answers from what the poller laid out."""
