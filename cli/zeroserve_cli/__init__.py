"""The command line: arguments in, exit codes and text out.

Composes the IR, the operator and the data plane into the `zeroserve` command; the only package that
imports both sides. It parses, calls and prints, and decides nothing.
"""
