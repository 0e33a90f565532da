"""Attached plugins: their request and response hooks as calls around what follows.

In: an `AttachPlugin` and the functions of its plugin. Out: handlers of the tree that lowering knows. Called
by drafting and the operator. Rules: response hooks see whatever answers from there on, also a request hook's
own answer; a plugin without hooks is called by a name that it has not, which answers 500.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from zeroserve_ir import tree
from zeroserve_ir.plugins.modules import Hook, PluginFunction
from zeroserve_ir.program.plugin_calls import NO_FUNCTION
from zeroserve_ir.sources import NOWHERE, Span

Call = tree.CallPlugin | tree.AttachPlugin
Value = TypeVar("Value")


def replace_calls(value: Value, change: Callable[[Call], tree.CallPlugin | tree.Subroute]) -> Value:
    """Return routes, or a part of them, with what stands for each call and attachment, at any depth."""
    return cast("Value", _replace(value, change))


def _replace(value: Any, change: Callable[[Call], tree.CallPlugin | tree.Subroute]) -> Any:
    if isinstance(value, Call):
        return change(value)
    if isinstance(value, tuple):
        made = tuple(_replace(item, change) for item in value)
        return value if all(new is old for new, old in zip(made, value, strict=True)) else made
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        old = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        new = {name: _replace(item, change) for name, item in old.items()}
        changed = {name: item for name, item in new.items() if item is not old[name]}
        return dataclasses.replace(value, **changed) if changed else value
    return value


def list_hooks(functions: Iterable[PluginFunction]) -> tuple[PluginFunction, ...]:
    """Return the functions that run by themselves where their plugin is attached."""
    return tuple(function for function in functions if function.hook is not Hook.FUNCTION)


def list_callable(functions: Iterable[PluginFunction]) -> tuple[str, ...]:
    """Return the names that `zeroserve_call` takes, sorted."""
    return tuple(sorted(function.name for function in functions if function.hook is Hook.FUNCTION))


def expand_attachment(
    attached: tree.AttachPlugin,
    plugin: str,
    functions: Iterable[PluginFunction],
    upstreams: tuple[tuple[str, tree.Upstream], ...] = (),
    span: Span = NOWHERE,
) -> tree.Subroute:
    """Return the calls that an attachment stands for, of the plugin resource of a name."""

    def call(function: str) -> tree.CallPlugin:
        return tree.CallPlugin(plugin, function, attached.config, upstreams)

    hooks = list_hooks(functions)
    answers = tuple(tree.Route((call(hook.name),), span=span) for hook in hooks if hook.hook is Hook.RESPONSE)
    requests = tuple(call(hook.name) for hook in hooks if hook.hook is Hook.REQUEST)
    handlers: tuple[tree.Handler, ...] = requests
    if answers:
        handlers = (tree.Intercept((tree.ResponseHandler(routes=answers),)), *requests)
    return tree.Subroute((tree.Route(handlers or (call(NO_FUNCTION),), span=span),))


def find_attachments(
    written: Iterable[tree.Route], expanded: Iterable[tree.Route]
) -> Iterator[tuple[tuple[tree.MatcherSet, ...], tree.Subroute]]:
    """Yield matchers and calls of the attachments that stand in a list of routes, not those further in."""
    for before, after in zip(written, expanded, strict=True):
        for old, new in zip(before.handlers, after.handlers, strict=True):
            if isinstance(old, tree.AttachPlugin) and isinstance(new, tree.Subroute):
                yield before.matchers, new


def watch_errors(
    expanded: Iterable[tuple[tuple[tree.MatcherSet, ...], tree.Subroute]], errors: tuple[tree.Route, ...]
) -> tuple[tree.Route, ...]:
    """Return a site's error routes with the response hooks of its attachments, each with its matchers.

    An error leaves the handlers around it; without this, hooks would miss the answers to errors. What no
    error route answers is answered as it would have been, by the bare status.
    """
    watching = tuple(
        tree.Route((handler,), matchers=matchers, span=route.span)
        for matchers, attachment in expanded
        for route in attachment.routes
        for handler in route.handlers
        if isinstance(handler, tree.Intercept)
    )
    if not watching:
        return errors
    bare = tree.StaticResponse(status="{http.error.status_code}")
    return (*watching, *errors, tree.Route((bare,)))
