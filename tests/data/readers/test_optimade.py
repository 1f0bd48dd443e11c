from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from ase import Atoms

from mftscreen.data.readers import iter_optimade
from mftscreen.data.readers.optimade import optimade_url
from mftscreen.errors import DataError
from mftscreen.screen.candidates.stream import count_candidates, iter_candidates


def entry(number: int) -> dict[str, Any]:
    attributes = {
        "cartesian_site_positions": [[0, 0, 0]],
        "lattice_vectors": [[3, 0, 0], [0, 3, 0], [0, 0, 3]],
        "species_at_sites": ["Po"],
        "species": [{"name": "Po", "chemical_symbols": ["Po"]}],
        "dimension_types": [1, 1, 1],
    }
    if number == 3:
        attributes["species"][0]["chemical_symbols"] = ["Po", "Pb"]
    return {"id": f"x/{number}", "type": "structures", "attributes": attributes}


class Provider(BaseHTTPRequestHandler):
    """Two structures a page, five in all; busy at the first request."""

    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        url = urlsplit(self.path)
        options = {key: value[0] for key, value in parse_qs(url.query).items()}
        if url.path != "/optimade/v1/structures":
            return self.answer(404, {"elsewhere": True})
        if options.get("filter") == "elements HAS":
            return self.answer(400, {"errors": [{"detail": "unexpected end"}]})
        if len(self.requests) == 1:
            return self.answer(503, {})
        start = int(options.get("page_offset", 0))
        link = f"{url.path}?page_offset={start + 2}" if start < 4 else None
        data = [entry(number) for number in range(start, min(start + 2, 5))]
        next_link = {"href": link} if start == 2 else link
        return self.answer(200, {"data": data, "links": {"next": next_link}})

    def answer(self, status: int, document: Any) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("mftscreen.data.readers.optimade._WAITS", (0,))
    Provider.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/optimade"
        server.shutdown()
        thread.join()


def test_pages_are_asked_for_when_they_are_needed(provider: str) -> None:
    found = iter_candidates(provider, 'elements HAS "Po"')
    assert [next(found).id, next(found).id] == ["x/0", "x/1"]
    assert len(Provider.requests) == 2  # the refused one and the first page
    assert "filter=elements+HAS+%22Po%22" in Provider.requests[1]
    assert [c.atoms is not None for c in found] == [True, False, True]
    assert len(Provider.requests) == 4
    assert count_candidates(provider) is None


def test_structures_are_those_of_the_provider(provider: str) -> None:
    atoms = next(iter_optimade(provider)).structure
    assert isinstance(atoms, Atoms)
    assert str(atoms.symbols) == "Po"
    assert atoms.get_volume() == pytest.approx(27)


def test_malformed_filter_is_answered_by_the_provider(provider: str) -> None:
    with pytest.raises(DataError, match="answered 400: unexpected end"):
        list(iter_candidates(provider, "elements HAS"))


def test_other_servers_are_refused(provider: str) -> None:
    elsewhere = provider.replace("/optimade", "/other")
    with pytest.raises(DataError, match="answered 404"):
        list(iter_optimade(elsewhere))
    with pytest.raises(DataError, match="unknown format"):
        list(iter_candidates(elsewhere))
    with pytest.raises(DataError, match="cannot be read"):
        list(iter_candidates("http://127.0.0.1:9/optimade"))


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("optimade://a.org", "https://a.org/v1/structures?"),
        ("https://a.org/optimade/v1/", "https://a.org/optimade/v1/structures?"),
        ("https://a.org/optimade/v1.2", "https://a.org/optimade/v1.2/structures?"),
        ("http://a.org/v1/structures?page_limit=9", "http://a.org/v1/structures?page_"),
        ("https://a.org/views", "https://a.org/views/v1/structures?"),
    ],
)
def test_address(url: str, start: str) -> None:
    assert optimade_url(url).startswith(start)


def test_two_filters_are_refused() -> None:
    with pytest.raises(DataError, match="give one of them"):
        optimade_url("optimade://a.org?filter=nsites=2", "nsites=3")
