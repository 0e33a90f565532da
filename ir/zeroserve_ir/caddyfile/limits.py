"""Bounds of everything that reads a Caddyfile; one past a bound is diagnostic ZS0202, never a hang.

Read by lexer, parser and imports. Each bound has its reason beside it.
"""

from __future__ import annotations

TEXT_LENGTH_MAX = 64 * 1024 * 1024
"""Characters of one file after environment substitution: 100,000 sites are some 26 MB."""

TENANT_TEXT_LENGTH_MAX = 256 * 1024
"""Characters of a Caddyfile in a Kubernetes object; etcd refuses objects over 1.5 MiB anyhow."""

DEPTH_MAX = 64
"""Nested blocks and nested matchers: keeps recursion far from the interpreter's own limit."""

TOKENS_MAX = 10_000_000
"""Tokens of a configuration with all imports expanded: stops snippets that double each other."""

IMPORTS_MAX = 10_000
"""Import directives expanded in one configuration."""

PORTS_MAX = 1_000
"""Upstreams that one port range may expand to."""
