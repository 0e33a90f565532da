"""Plugins: eBPF ELF files that people compile on their own machines, made into programs like any other.

`objects` reads the file, `linking` makes one program of it, `reading` does both in a process without rights.
"""
