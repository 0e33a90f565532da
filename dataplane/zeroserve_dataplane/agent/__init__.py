"""The node's agent: from a snapshot draft to what the engine serves."""
