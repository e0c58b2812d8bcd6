"""What an address is to a permit: a URL, a file or a program in the one form that globs are read against.

What it is not: lenient.  What could mean another place than it seems to has no address at all,
and a permit that limits addresses does not allow it.
"""

import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit


_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?\.?|\[[0-9a-f:.]+\]")
_PORTS = {"http": 80, "https": 443}


def url_address(url: str) -> str | None:
    """Scheme, host, port if it is not the usual one, and path of a URL; None where it has none.

    Query and fragment are left out.  There is no address for a URL with a user name, with
    backslashes, with ``.`` or ``..`` as a part of its path (written as ``%2e`` as well), or with a
    host that is not plain: each of them is read as two different places by two different readers.

    Raises:
        Nothing.
    """
    if not url.isprintable() or "\\" in url or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.netloc.rpartition("@")[2].lower(), parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    name = host if port is None else host.rpartition(":")[0]
    if scheme not in _PORTS or "@" in parts.netloc or not _HOST.fullmatch(name.rstrip(":")):
        return None
    if not _plain(unquote(parts.path)):
        return None
    at = "" if port is None or port == _PORTS[scheme] else f":{port}"
    return f"{scheme}://{name.rstrip(':')}{at}{parts.path or '/'}"


def file_address(path: str) -> str | None:
    """A path below the folder of its plan, without ``./``; None for one that leaves it.

    Raises:
        Nothing.
    """
    if not path or not path.isprintable() or "\\" in path or path.startswith("/"):
        return None
    if ".." in PurePosixPath(path).parts:
        return None
    return str(PurePosixPath(path))


def _plain(path: str) -> bool:
    parts = path.split("/")
    return "\\" not in path and "." not in parts and ".." not in parts
