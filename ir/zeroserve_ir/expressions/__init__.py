"""CEL as Caddy's `expression` matcher configures it: parsed and checked here, evaluated by the engine.

In: an expression's text. Out: a typed tree, or one error with its place. The language is that of
https://github.com/google/cel-spec (doc/langdef.md) with cel-go's strings, lists, math and bindings; the
matcher functions are Caddy's (caddyhttp/celmatcher.go).
"""
