"""Structures from an OPTIMADE provider, page by page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPException, IncompleteRead
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit
from urllib.request import Request

from mftscreen.data.readers.documents import read_document
from mftscreen.data.readers.files import Row
from mftscreen.errors import DataError
from mftscreen.internet.transfer import opened, read_chunks

__all__ = ["iter_optimade", "optimade_url"]

_FIELDS = (
    "cartesian_site_positions,lattice_vectors,species_at_sites,species,"
    "dimension_types,structure_features,assemblies,nsites,elements,"
    "chemical_formula_reduced"
)
"""What :func:`mftscreen.data.readers.documents.optimade_dict_to_atoms` reads."""
_BUSY = {429, 502, 503, 504}
_WAITS = (2, 10, 30)
"""Seconds to wait after the first, second and third failure that may pass."""

_MAX_BYTES = 1 << 28
"""Of a page."""

_MAX_DETAILS = 1 << 16
"""Of what it says about a refusal."""

_MAX_PAGES = 1_000_000
_MAX_EMPTY = 20
"""Pages in a row that hold no structure."""


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
        If the provider cannot be reached, refuses the filter, answers something
        else than OPTIMADE, or leads round in circles. What may pass, such as a dropped
        connection, is tried again first. The message has the page's address, which as
        `url` goes on from there.

    References
    ----------
    OPTIMADE specification v1.2, "JSON Response Schema" and "Pagination".
    """
    page: str | None = optimade_url(url, query)
    pages: set[str] = set()
    contents: set[tuple[str, ...]] = set()
    n_empty = 0
    while page:
        answer = _get(page, patient=bool(pages))
        entries = answer.get("data")
        if not isinstance(entries, list):
            msg = "does not answer as an OPTIMADE provider: no list 'data'"
            raise DataError(msg, path=page)
        pages.add(page)
        rows = [read_document(entry) for entry in entries]
        content = tuple(row.name for row in rows if row.name)
        n_empty = 0 if rows else n_empty + 1
        if content and content in contents:
            msg = "the provider gives a page that it has given before"
            raise DataError(msg, path=page)
        if len(pages) > _MAX_PAGES or n_empty > _MAX_EMPTY:
            msg = f"the provider does not come to an end: {len(pages)} pages so far"
            raise DataError(msg, path=page)
        contents.add(content)
        yield from rows
        page = _next_page(answer, page)
        if page in pages:
            msg = "the provider's next page is one that it has given before"
            raise DataError(msg, path=page)


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
        If the URL is none, or both it and `query` have a filter.

    Examples
    --------
    >>> optimade_url("optimade://example.org/api", "nelements=2").partition("&")[0]
    'https://example.org/api/v1/structures?filter=nelements%3D2'
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        msg = f"is no address: {error}"
        raise DataError(msg, path=url) from error
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


def _get(url: str, *, patient: bool) -> Mapping[str, Any]:
    """Return a page; `patient` with one who has answered before."""
    for wait in (*_WAITS, None):
        try:
            document = _load(url)
        except HTTPError as error:
            if error.code in _BUSY and wait is not None:
                time.sleep(wait)
                continue
            msg = f"the provider answered {error.code}: {_details(error)}"
            raise DataError(msg, path=url) from error
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            if _may_pass(error, patient) and wait is not None:
                time.sleep(wait)
                continue
            msg = f"the provider cannot be read: {error or type(error).__name__}"
            raise DataError(msg, path=url) from error
        if isinstance(document, Mapping):
            return document
        break
    msg = "does not answer as an OPTIMADE provider"
    raise DataError(msg, path=url)


def _load(url: str) -> Any:
    request = Request(url, headers={"Accept": "application/json"})
    with opened(request) as answer:
        return json.loads(b"".join(read_chunks(answer, max_bytes=_MAX_BYTES)))


def _may_pass(error: Exception, patient: bool) -> bool:
    """Tell whether a failure may be one of the network, and of the moment."""
    if isinstance(error, URLError):  # nobody there, or no network any more
        return patient
    return isinstance(error, ConnectionError | TimeoutError | IncompleteRead)


def _details(error: HTTPError) -> str:
    """Return what the provider says about a refusal, e.g. of a malformed filter."""
    try:
        problems = json.loads(error.read(_MAX_DETAILS))["errors"]
        return "; ".join(str(p.get("detail") or p.get("title")) for p in problems)
    except (
        *(ValueError, KeyError, TypeError, AttributeError, RecursionError),
        *(OSError, HTTPException),
    ):
        return str(error.reason)


def _next_page(answer: Mapping[str, Any], page: str) -> str | None:
    links = answer.get("links") or {}
    link = links.get("next") if isinstance(links, Mapping) else links
    if isinstance(link, Mapping):
        link = link.get("href")
    if not link:
        return None
    try:
        following = urljoin(page, str(link))
    except ValueError:
        following = str(link)
    else:
        if following.startswith(("http://", "https://")) and following != page:
            return following
    msg = f"the provider's next page {following[:200]!r} cannot be followed"
    raise DataError(msg, path=page)
