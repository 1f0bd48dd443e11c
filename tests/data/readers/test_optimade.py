from __future__ import annotations

import json
import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
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


@pytest.mark.parametrize(
    "field", ["assemblies", "nsites", "elements", "chemical_formula_reduced"]
)
def test_what_entries_are_compared_with_is_asked_for(field: str) -> None:
    (fields,) = parse_qs(urlsplit(optimade_url("optimade://x/y")).query).values()
    assert field in fields[0].split(",")


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


PAGES = 6


class Faulty(BaseHTTPRequestHandler):
    """Gives pages of one structure; the address says what is wrong with them."""

    random: ClassVar[random.Random]

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        fault = url.path.split("/")[2]
        number = int(parse_qs(url.query).get("page_offset", ["0"])[0])
        if fault == "random" and self.random.random() < 0.4:
            fault = self.random.choice(["drop", "mute", "busy", "cut"])
        link: Any = f"{url.path}?page_offset={number + 1}"
        if number == PAGES - 1 and fault != "endless":
            link = None
        data = [entry(10 + number)]
        if fault == "circle":
            number, link = number % 2, f"{url.path}?page_offset={(number + 1) % 2}"
        elif fault == "again":
            data = [entry(10)]
        elif fault == "empty":
            data, link = [], f"{url.path}?page_offset={number + 1}"
        elif number and fault in LINKS:
            link = LINKS[fault]
        body = json.dumps({"data": data, "links": {"next": link}}).encode()
        if number and fault == "deep":
            body = b"[" * 100_000
        if number and fault == "links":
            body = json.dumps({"data": data, "links": "x"}).encode()
        self.send(body, fault, late=number > 0)

    def send(self, body: bytes, fault: str, *, late: bool) -> None:
        if fault == "mute":
            return  # the connection ends without an answer
        if late and fault == "status":
            self.wfile.write(b"HTTP/9.9 x\r\n\r\n")
            return
        if late and fault == "headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            self.drip(b"X-a: b\r\n")
            return
        self.send_response(503 if fault == "busy" else 200)
        if not (late and fault in ("forever", "drip")):
            extra = 9 if fault in ("drop", "cut") else 0
            self.send_header("Content-Length", str(len(body) + extra))
        self.end_headers()
        if late and fault == "drip":
            self.drip(b" ")
        elif late and fault == "forever":
            with suppress(OSError):
                while True:
                    self.wfile.write(b" " * 10_000)
        else:
            self.wfile.write(body[:9] if fault == "cut" else body)

    def drip(self, content: bytes) -> None:
        with suppress(OSError):
            for _ in range(200):
                self.wfile.write(content)
                time.sleep(0.02)

    def log_message(self, *args: object) -> None:
        pass


LINKS = {"v6": "http://[::1", "space": "http://127.0.0.1/a b", "file": "file:///a"}

FAULTS = {
    "v6": "cannot be followed",
    "space": "control characters",
    "file": "cannot be followed",
    "links": "given before",
    "circle": "given before",
    "again": "given before",
    "endless": "come to an end: 10 pages",
    "deep": "cannot be read",
    "status": "HTTP/9.9",
    "forever": "more than the 50000 bytes",
    "drip": "bytes came in",
    "headers": "cannot be read",
}


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr("mftscreen.data.readers.optimade._WAITS", (0,) * 9)
    monkeypatch.setattr("mftscreen.data.readers.optimade._MAX_BYTES", 50_000)
    monkeypatch.setattr("mftscreen.data.readers.optimade._MAX_EMPTY", 3)
    monkeypatch.setattr("mftscreen.data.readers.optimade._MAX_PAGES", 9)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Faulty.random = random.Random(5)
    with ThreadingHTTPServer(("127.0.0.1", 0), Faulty) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/optimade"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("fault", FAULTS)
def test_what_breaks_off_ends_in_a_row(
    faulty: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault in ("drip", "headers"):
        monkeypatch.setattr("mftscreen.data.readers.optimade._WAITS", ())
        monkeypatch.setattr("mftscreen.internet.transfer.TIMEOUT", 0.3)
    *rows, last = iter_candidates(f"{faulty}/{fault}")
    assert all(row.atoms is not None for row in rows)
    assert rows
    assert isinstance(last.structure, DataError)
    assert re.search(FAULTS[fault], str(last.structure))
    assert last.structure.path is not None


def test_nothing_but_empty_pages(faulty: str) -> None:
    with pytest.raises(DataError, match="come to an end: 4 pages"):
        list(iter_candidates(f"{faulty}/empty"))


def test_network_that_fails_at_random_loses_nothing(faulty: str) -> None:
    found = list(iter_candidates(f"{faulty}/random"))
    assert [row.id for row in found] == [f"x/{10 + k}" for k in range(PAGES)]
    assert all(row.atoms is not None for row in found)


def test_reading_goes_on_from_a_page(faulty: str) -> None:
    page = f"{faulty}/good/v1/structures?page_offset=4"
    assert [row.id for row in iter_candidates(page)] == ["x/14", "x/15"]


def test_an_address_that_is_none() -> None:
    with pytest.raises(DataError, match="is no address"):
        optimade_url("http://[::1/optimade")
