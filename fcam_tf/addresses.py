"""Reading from addresses of the web, as fsspec does it."""

from __future__ import annotations

from typing import Any


def stream_options(address: str, *, whole: bool = True) -> dict[str, Any]:
    """Return what `fsspec.open` is given for an address; nothing but for http and https.

    Args:
        address: of a file.
        whole: read it as one stream, from the beginning; not every server gives parts.
    """
    if not address.lower().startswith(("http://", "https://")):
        return {}
    import aiohttp  # noqa: PLC0415 - other protocols do without

    # As long as something comes; aiohttp itself gives a download five minutes in all.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    return {"client_kwargs": {"timeout": timeout}, **({"block_size": 0} if whole else {})}
