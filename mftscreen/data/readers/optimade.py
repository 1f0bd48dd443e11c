"""Structures from an OPTIMADE provider, page by page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit
from urllib.request import Request, urlopen

from mftscreen.data.readers.documents import read_document
from mftscreen.data.readers.files import Row
from mftscreen.errors import DataError

__all__ = ["iter_optimade", "optimade_url"]

_FIELDS = (
    "cartesian_site_positions,lattice_vectors,species_at_sites,species,"
    "dimension_types,structure_features"
)
_TIMEOUT = 60
_BUSY = {429, 502, 503, 504}
_WAITS = (2, 10, 30)
"""Seconds to wait after the first, second and third refusal of a busy server."""


def iter_optimade(url: str, query: str | None = None) -> Iterator[Row]:
    """Yield the structures that an OPTIMADE provider has for a filter.

    A page is asked for when the one before it is used up. ``optimade-python-tools``'
    own client returns only when it has all pages, so it is not used here.

    Parameters
    ----------
    url : str
        See :func:`optimade_url`.
    query : str, optional
        An OPTIMADE filter, e.g. ``'elements HAS "Si" AND nelements=2'``.

    Yields
    ------
    Row
        Named by the provider's id.

    Raises
    ------
    DataError
        If the provider cannot be reached, refuses the filter, or answers something
        else than OPTIMADE.

    References
    ----------
    OPTIMADE specification v1.2, "JSON Response Schema" and "Pagination".
    """
    page: str | None = optimade_url(url, query)
    while page:
        answer = _get(page)
        entries = answer.get("data")
        if not isinstance(entries, list):
            msg = "does not answer as an OPTIMADE provider: no list 'data'"
            raise DataError(msg, path=page)
        yield from map(read_document, entries)
        page = _next_page(answer, page)


def optimade_url(url: str, query: str | None = None) -> str:
    """Return the address of the first page of structures.

    Parameters
    ----------
    url : str
        A provider's base URL, with or without version and endpoint; ``optimade://``
        stands for ``https://``.
    query : str, optional
        An OPTIMADE filter.

    Returns
    -------
    str

    Raises
    ------
    DataError
        If both the URL and `query` have a filter.

    Examples
    --------
    >>> optimade_url("optimade://example.org/api", "nelements=2").partition("&")[0]
    'https://example.org/api/v1/structures?filter=nelements%3D2'
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if query and options.get("filter"):
        msg = f"a filter in the URL and a query ({query!r}); give one of them"
        raise DataError(msg, path=url)
    if query:
        options["filter"] = query
    options.setdefault("response_fields", _FIELDS)
    path = parts.path.rstrip("/")
    if not path.endswith("/structures"):
        version = path.rpartition("/")[2]
        versioned = version[:1] == "v" and version[1:2].isdecimal()
        path += "/structures" if versioned else "/v1/structures"
    scheme = "https" if parts.scheme == "optimade" else parts.scheme
    return f"{scheme}://{parts.netloc}{path}?{urlencode(options)}"


def _get(url: str) -> Mapping[str, Any]:
    request = Request(url, headers={"Accept": "application/json"})
    for wait in (*_WAITS, None):
        try:
            with urlopen(request, timeout=_TIMEOUT) as answer:
                document = json.load(answer)
        except HTTPError as error:
            if error.code in _BUSY and wait is not None:
                time.sleep(wait)
                continue
            msg = f"the provider answered {error.code}: {_details(error)}"
            raise DataError(msg, path=url) from error
        except (OSError, ValueError) as error:
            msg = f"the provider cannot be read: {error}"
            raise DataError(msg, path=url) from error
        if isinstance(document, Mapping):
            return document
        break
    msg = "does not answer as an OPTIMADE provider"
    raise DataError(msg, path=url)


def _details(error: HTTPError) -> str:
    """Return what the provider says about a refusal, e.g. of a malformed filter."""
    try:
        problems = json.load(error)["errors"]
        return "; ".join(str(p.get("detail") or p.get("title")) for p in problems)
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return str(error.reason)


def _next_page(answer: Mapping[str, Any], page: str) -> str | None:
    link = (answer.get("links") or {}).get("next")
    if isinstance(link, Mapping):
        link = link.get("href")
    if not link:
        return None
    following = urljoin(page, str(link))
    if not following.startswith(("http://", "https://")) or following == page:
        msg = f"the provider's next page {following!r} cannot be followed"
        raise DataError(msg, path=page)
    return following
