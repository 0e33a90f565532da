"""What a row of the ABI's helper table says; the rows are in `abi` and `abi_plugins`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag


class Argument(Enum):
    """Type of a helper's argument, as the verifier checks it."""

    NONE = "none"
    ROW = "row"
    """Any scalar; the helper traps when the table has no such row."""
    SCALAR = "scalar"
    READ = "read"
    """Pointer to readable memory (window or constants); the next argument is its LENGTH."""
    WRITE = "write"
    """Pointer to writable memory (window); the next argument is its LENGTH."""
    LENGTH = "length"
    DIGEST = "digest"
    """Pointer to DIGEST_BYTES writable bytes (window)."""


DIGEST_BYTES = 32


class Use(Enum):
    """Who may call a helper; the engine traps what others call, `zeroserve plugin build` refuses it."""

    ROUTE = "route"
    PLUGIN = "plugin"
    BOTH = "both"


class Capability(IntFlag):
    """What a plugin may do beyond computing and reading the request's head; none is granted by default."""

    REQUEST_WRITE = 1
    """Change method, path, query and fields of the request."""
    RESPONSE_WRITE = 2
    """Change the answer, or answer by itself."""
    REQUEST_BODY = 4
    """Read the beginning of the request's body."""
    OUTBOUND_HTTP = 8
    """Send requests to the upstreams that it is granted."""
    SECRETS = 16
    """Read the secrets that it is granted."""
    KEY_VALUE = 32
    """Keep values between requests, and count events, within its bounds."""
    CALL_PLUGINS = 64
    """Call functions of other plugins of its namespace."""
    PROXY = 128
    """Send the request to one of the upstreams that it is granted."""


@dataclass(frozen=True, slots=True)
class Helper:
    """One helper function: its number, name, arguments, fuel and meaning."""

    number: int
    name: str
    arguments: tuple[Argument, ...]
    fuel: int
    meaning: str
    use: Use = Use.ROUTE
    capability: Capability | None = None
    """What a plugin must be granted to call it."""
    bytes_per_fuel: int = 0
    """The sum of its LENGTH arguments, divided by this and rounded up, is charged too; 0: nothing."""

    @property
    def is_charged_by_length(self) -> bool:
        """Whether its fuel depends on its arguments."""
        return self.bytes_per_fuel > 0

    def measure_fuel(self, values: tuple[int, ...]) -> int:
        """Return the fuel of a call with these arguments."""
        if not self.bytes_per_fuel:
            return self.fuel
        lengths = zip(self.arguments, values, strict=False)
        total = sum(value for argument, value in lengths if argument is Argument.LENGTH)
        return self.fuel + min(-(-total // self.bytes_per_fuel), LENGTH_FUEL_MAX)


LENGTH_FUEL_MAX = 1 << 40
"""No length costs more: what is longer than any memory is refused by the helper anyway."""
