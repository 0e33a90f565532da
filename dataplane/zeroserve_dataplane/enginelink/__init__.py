"""The agent's link to the engine's supervisor: frames, sealed images, the connection itself."""
