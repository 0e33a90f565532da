"""The Caddyfile, surface of the route tree: read it, print it, format it, adapt it to Caddy's JSON.

`lexer` -> `parser` -> `meaning` gives the tree with diagnostics; `printer` and `adapting` go the other
way; `formatter` works on text; `commands` is what the command line calls.
"""
