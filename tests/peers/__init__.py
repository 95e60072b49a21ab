"""Real peers for tests: brokers, interpreters, clients."""
