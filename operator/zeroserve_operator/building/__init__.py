"""Building: from the objects known now to the model.

Pure and deterministic: objects, settings and the time go in, hosts, endpoints, certificates and diagnostics
come out. Each part is remembered by the digests of its inputs, so that a change builds what it touches.
"""
