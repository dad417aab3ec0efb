"""Models behind fsspec: only the ranges that are needed, in few requests."""

import http.server
import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

import fsspec
import numpy as np
import onnx
import pytest

import graphkit as gk
from graphkit.storage import split
from graphkit.storage.source import GAP, REQUEST, RemoteFile
from sparse_files import chain
from weight_places import assert_computes, names


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files of a folder, in ranges where it may, and counts requests and bytes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        server = self.server
        path = server.folder / self.path.partition("?")[0].lstrip("/")
        status = server.status or (200 if path.is_file() else 404)
        if status != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = path.stat().st_size
        start, end = 0, size
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match and server.ranges:
            start, end = int(match[1]), min(int(match[2]) + 1, size)
        self.send_response(206 if match and server.ranges else 200)
        if match and server.ranges:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        if server.lengths:
            self.send_header("Content-Length", str(end - start))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        server.requests.append((self.command, start, end))
        if body:
            self.send(path, start, end - server.short)

    def send(self, path, start, end):
        with path.open("rb") as file:
            file.seek(start)
            while start < end:
                data = file.read(min(1 << 16, end - start))
                try:
                    self.wfile.write(data)
                except OSError:  # the client has enough
                    self.close_connection = True
                    return
                self.server.sent += len(data)
                start += len(data)
        if self.server.short:
            self.close_connection = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.ranges = self.lengths = True
        self.status = self.short = self.sent = 0
        self.requests = []

    def url(self, name):
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def fetched(self):
        """Bytes that were asked for; ``sent`` is counted behind the client's back."""
        return sum(end - start for start, end in self.gets())

    def gets(self):
        return [(start, end) for command, start, end in self.requests if command == "GET"]


@contextmanager
def serving(folder):
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(tmp_path):
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as running:
        yield running


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "out.onnx"


# what is transferred


@pytest.mark.parametrize(
    ("blocks", "side", "cut"),
    [(144, 936, 6), (24, 2290, 1), (500, 512, 1), (500, 512, 40)],
    ids=["6 of 144 weights of 3.5 MB", "1 of 24 of 21 MB", "1 of 500 of 1 MB", "40 of 500 of 1 MB"],
)
def test_a_block_of_a_500_mb_file(server, out, blocks, side, cut):
    """The bytes of the block and the skeleton, times 1.2; a request a weight to find them, and few to fetch the block."""
    chain(server.folder / "m.onnx", blocks, side)
    assert (server.folder / "m.onnx").stat().st_size > 490_000_000
    model = gk.load(server.url("m.onnx"))
    skeleton, found = server.fetched(), len(server.gets())
    assert found <= blocks + 8
    gk.save(gk.extract(model, inputs=["x7"], outputs=[f"x{7 + cut}"]), out)
    block = cut * 4 * side * side
    assert server.fetched() <= 1.2 * (block + model.proto.ByteSize())
    assert server.fetched() - skeleton <= block + cut * 100
    assert len(server.gets()) - found <= block / REQUEST * 1.5 + 1
    part = gk.load(out)
    assert [part.array(f"w{i}")[-1, -1] for i in range(7, 7 + cut)] == list(range(8, 8 + cut))


def test_a_block_of_500_mb_of_external_data(server, out):
    """The skeleton in one request, neighbouring weights in one."""
    chain(server.folder / "m.onnx", 144, 936, external="m.data")
    gk.save(gk.extract(server.url("m.onnx"), inputs=["x6"], outputs=["x12"]), out)
    block = 6 * 4 * 936 * 936
    assert server.fetched() <= block + (server.folder / "m.onnx").stat().st_size + 1000
    assert len(server.gets()) <= 4
    assert len(server.requests) <= 6  # with the two questions how long the files are
    assert gk.load(out).array("w11")[-1, -1] == 12


def test_a_small_remote_file_is_one_request(server, everything, out):
    chain(server.folder / "m.onnx", 3, 40)
    model = gk.load(server.url("m.onnx"))
    assert server.gets() == [(0, (server.folder / "m.onnx").stat().st_size)]
    assert model.array("w1").sum() == 4


def test_looking_at_a_remote_model_fetches_no_weight(server):
    chain(server.folder / "m.onnx", 24, 2290)
    gk.inspect(server.url("m.onnx"))
    assert server.fetched() < 60_000


def test_one_weight_is_one_request(server):
    chain(server.folder / "m.onnx", 24, 500)
    model = gk.load(server.url("m.onnx"))
    before, sent = len(server.gets()), server.fetched()
    assert model.array("w3")[-1, -1] == 4
    assert len(server.gets()) == before + 1
    assert server.fetched() - sent == 1_000_000


# what comes out


@pytest.mark.parametrize("kind", ["file", "pair"])
@pytest.mark.parametrize("options", [{}, {"external": "w.data"}, {"weights": "keep"}, {"weights": "link"}])
def test_numbers_over_http(request, server, out, everything, kind, options):
    for path in request.getfixturevalue(kind).parent.iterdir():
        if path.is_file():
            os.link(path, server.folder / path.name)
    saved = gk.save(server.url("m.onnx"), out, **options)
    assert_computes(out, everything)
    assert saved.references == (), "what is remote is fetched, also where local weights would be kept"
    if kind == "file" and not options.get("external"):
        assert out.read_bytes() == everything.SerializeToString()


@pytest.mark.parametrize("kind", ["file", "pair"])
def test_numbers_over_memory(request, out, everything, kind):
    memory = fsspec.filesystem("memory")
    for path in request.getfixturevalue(kind).parent.iterdir():
        if path.is_file():
            memory.pipe_file(f"/models/{path.name}", path.read_bytes())
    try:
        model = gk.load("memory://models/m.onnx")
        assert_computes(model, everything)
        gk.save(model, out)
        assert_computes(out, everything)
    finally:
        memory.rm("/models", recursive=True)


def test_a_url_with_a_query(server, file, out, everything):
    os.link(file, server.folder / "m.onnx")
    gk.save(server.url("m.onnx?download=true&x=../y"), out)
    assert out.read_bytes() == everything.SerializeToString()


def test_file_urls(file, out, everything):
    gk.save(f"file://{file}", out)
    assert_computes(out, everything)


def test_ranges_that_are_announced_come_together(server):
    """Neighbours in one request, what is far away in another, and what is larger than a request in pieces as asked."""
    data = np.random.default_rng(0).bytes(REQUEST + 3 * GAP)
    (server.folder / "data").write_bytes(data)
    source = RemoteFile(server.url("data"))
    ranges = [(10, 100), (150, 50), (300 + GAP, 7), (100, 20), (5, REQUEST + 1)]
    source.expect(ranges)
    for offset, length in ranges:
        assert source.read(offset, length) == data[offset : offset + length]
    assert server.gets() == [(10, 200), (300 + GAP, 307 + GAP), (100, 120), (5, REQUEST + 6)]
    source.expect([])
    assert source.read(10, 100) == data[10:110]
    assert server.gets()[-1] == (10, 110)


def test_reads_between_jumps_adapt_to_what_was_used():
    """Small where little stands between the weights, large where much does, and doubling while it goes on."""
    asked = []

    class Counting:
        size, first_read, threshold, name = 100_000_000, 256, 1 << 15, "test"

        def read(self, offset, length):
            asked.append(length)
            return bytes(length)

    reader = split.Reader(Counting())
    position = 0
    for used in (50_000, 40, 40, 40, 3000, 3000, 40):
        for step in range(0, used, 1000):
            reader.need(position + min(step + 1000, used))
        reader.take(position, position + used)
        position += used + 1_000_000
        reader.forget(position)
    assert asked == [16384, 32768, 65536, 65536, 256, 256, 1000, 1000, 1024, 6000, 6000]


# what goes wrong


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "there is nothing there"), (403, "403"), (500, "500")],
)
def test_an_object_that_cannot_be_had(server, status, said):
    server.status = status
    with pytest.raises(gk.ModelFileError, match=said) as caught:
        gk.load(server.url("m.onnx"))
    assert server.url("m.onnx") in str(caught.value)
    assert caught.value.path == server.url("m.onnx")


def test_a_server_that_is_not_there(server):
    url = server.url("m.onnx")
    server.server_close()
    with pytest.raises(gk.ModelFileError, match=r"cannot read http.*(Cannot connect|refused)"):
        gk.load(url)


def test_an_object_that_is_not_in_memory():
    with pytest.raises(gk.ModelFileError, match=r"cannot read memory://nothing/m\.onnx: there is nothing there"):
        gk.load("memory://nothing/m.onnx")


def test_external_data_that_is_missing_is_no_error_until_it_is_wanted(server, out):
    chain(server.folder / "m.onnx", 3, 200, external="m.data")
    (server.folder / "m.data").unlink()
    model = gk.load(server.url("m.onnx"))
    with pytest.raises(gk.WeightsError, match=r"'m\.data', which is not there"):
        gk.save(model, out)
    assert names(out.parent) == []


def test_external_data_that_is_refused_is_an_error(server):
    chain(server.folder / "m.onnx", 3, 200, external="sub.data")
    model = onnx.load(server.folder / "m.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        tensor.external_data[0].value = "../m.data"
    (server.folder / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(gk.WeightsError, match="leads out of the model's folder"):
        gk.load(server.url("m.onnx"))


def test_a_server_without_ranges_is_refused_before_it_has_sent_everything(server, out):
    chain(server.folder / "m.onnx", 24, 2290)
    server.ranges = False
    with pytest.raises(gk.ModelFileError, match="the server does not send parts of a file") as caught:
        gk.save(server.url("m.onnx"), out)
    assert caught.value.hint == "download the file, and give its path"
    assert server.sent < 50_000_000, "what lies in the buffers of two sockets, not 500 MB"
    assert names(out.parent) == []


def test_a_small_file_of_a_server_without_ranges_is_read(server):
    chain(server.folder / "m.onnx", 3, 40)
    server.ranges = False
    assert gk.load(server.url("m.onnx")).array("w2").sum() == 6


def test_a_server_that_does_not_say_how_long_a_file_is(server):
    chain(server.folder / "m.onnx", 3, 40)
    server.lengths = False
    with pytest.raises(gk.ModelFileError, match="no object with a known length"):
        gk.load(server.url("m.onnx"))


def test_a_connection_that_breaks_while_weights_are_fetched(server, out):
    chain(server.folder / "m.onnx", 8, 500)
    model = gk.load(server.url("m.onnx"))
    out.write_bytes(b"old")
    server.short = 1000
    with pytest.raises(gk.ModelFileError, match=r"cannot read http://.*m\.onnx"):
        gk.save(model, out)
    assert out.read_bytes() == b"old"
    assert names(out.parent) == ["out.onnx"]


def test_bad_bytes_over_http(server):
    for data in (b"<!DOCTYPE html><html>" + b" " * 100_000, b"PK\x03\x04", os.urandom(200_000), b""):
        (server.folder / "m.onnx").write_bytes(data)
        with pytest.raises(gk.FormatError, match=r"127\.0\.0\.1.*m\.onnx"):
            gk.load(server.url("m.onnx"))


def test_an_unknown_protocol():
    with pytest.raises(gk.ModelFileError, match="Protocol not known: nonsense"):
        gk.load("nonsense://bucket/m.onnx")


@pytest.mark.parametrize(
    ("url", "package", "line"),
    [
        ("memory://m.onnx", "fsspec", 'pip install "onnx-graphkit[remote]"'),
        ("http://127.0.0.1/m.onnx", "aiohttp", 'pip install "onnx-graphkit[remote]"'),
        ("s3://b/m.onnx", "s3fs", "pip install s3fs"),
        ("hf://user/model/m.onnx", "huggingface_hub", "pip install huggingface_hub"),
    ],
)
def test_a_missing_package_names_the_pip_line(measured, url, package, line):
    kind, message = measured("sys.modules[arguments[1]] = None; gk.load(arguments[0])", url, package).result
    assert kind == "MissingExtraError"
    assert f"reading {url} needs the package {package!r}" in message
    assert f"hint: {line}" in message


def test_nothing_is_left_open(server, file):
    """In Python's development mode, where whatever is not closed is said on stderr."""
    os.link(file, server.folder / "m.onnx")
    code = "import sys, graphkit as gk; gk.save(sys.argv[1], sys.argv[2]); print(gk.load(sys.argv[1]).array('w_raw').sum())"
    command = [
        sys.executable,
        "-X",
        "dev",
        "-W",
        "error",
        "-c",
        code,
        server.url("m.onnx"),
        file.with_name("again.onnx"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
