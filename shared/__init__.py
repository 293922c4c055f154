"""The domain, the store and the configuration that both functions share."""
