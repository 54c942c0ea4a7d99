"""Who asks: from the connection, or from the headers of the one proxy that stands before the server."""

import ipaddress

from starlette.datastructures import Headers
from starlette.types import Scope

SUBSCRIBER_BITS = 64
"""Of an IPv6 address, which one client has 2 ** 64 of."""


def client_address(scope: Scope, *, is_behind_proxy: bool) -> str:
    """The address that limits count by: the connection's, or the one that the proxy saw, which it wrote last into X-Forwarded-For.

    What stands before it there is the client's own word. IPv6 addresses of one subscriber are one client.
    """
    address = str(scope["client"][0]) if scope.get("client") else ""
    if is_behind_proxy:
        said = Headers(scope=scope).getlist("x-forwarded-for")
        address = _bare(said[-1].rpartition(",")[2].strip()) or address if said else address
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(known, ipaddress.IPv6Address):
        return str(known.ipv4_mapped or ipaddress.ip_network((int(known), SUBSCRIBER_BITS), strict=False).network_address)
    return str(known)


def _bare(address: str) -> str:
    """The address without brackets and port, or "" where it is none."""
    bare = address[1:].partition("]")[0] if address.startswith("[") else address.partition(":")[0] if address.count(":") == 1 else address
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return ""
