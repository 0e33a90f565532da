"""The innermost package: what a configuration means, from its text to its route programs.

In: Caddyfile text, or a model that the operator built. Out: typed sites (`tree`), their Caddyfile
surface (`caddyfile`), and route programs with their tables (`program`). Pure: no sockets, no clock,
no Kubernetes types; operator and data plane both import it and it imports neither.
"""
