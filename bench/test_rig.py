"""Tests of the rig itself: `python3 -m unittest discover -s bench`."""

import asyncio
import hashlib
import http.client
import json
import tempfile
import unittest
import zlib
from pathlib import Path

from rig import content, oci, paths, table
from rig.proxy import Breaking, Fault, Loop


def entry(tool: str, *seconds: float, requests: int = 10, failed: str = "") -> dict:
    """A tool's figures."""
    figures = {"compressed": 125_000_000, "cpu": 1, "client_memory": 1, "daemon_memory": 1, "blob_requests": requests}
    runs = [{"seconds": value, "requests": requests, **figures} for value in seconds]
    return {"tool": tool, "failed": failed, "note": "", "runs": runs}


class Verdicts(unittest.TestCase):
    """What the table says of figures."""

    def judge(self, target: dict, *entries: dict, rows=None) -> tuple:
        """Ratio and verdict of a row."""
        return table.judge({"id": "S1", "target": target, "entries": list(entries)}, rows or {})

    def test_the_best_peer_counts(self):
        target = {"kind": "best", "ratio": 0.5}
        peers = (entry("docker", 8), entry("skopeo", 4), entry("crane", failed="exit code 1"))
        self.assertEqual(self.judge(target, entry("seaway", 2, 1, 9), *peers), ("0.50", "met"))
        self.assertEqual(self.judge(target, entry("seaway", 3), *peers), ("0.75", "missed"))
        self.assertEqual(self.judge(target, entry("seaway", 4.1), *peers)[1], "lost")
        self.assertEqual(self.judge(target, entry("seaway", failed="no"), *peers), ("", "failed"))
        self.assertEqual(self.judge(target, entry("seaway", 1)), ("", "no peer"))

    def test_a_tie_counts_where_the_target_says_so(self):
        self.assertEqual(self.judge({"kind": "best", "ratio": 1.05}, entry("seaway", 1.04), entry("crane", 1))[1], "met")

    def test_a_target_in_another_row_does_not_hide_a_loss(self):
        rows = {"S3": {"target": {}, "entries": [entry("docker", 10)]}}
        target = {"kind": "row", "row": "S3", "tool": "docker", "ratio": 0.06}
        self.assertEqual(self.judge(target, entry("seaway", 0.5), entry("buildkit", 1), rows=rows)[1], "met")
        self.assertEqual(self.judge(target, entry("seaway", 0.5), entry("buildkit", 0.4), rows=rows)[1], "lost")
        self.assertEqual(self.judge(target, entry("seaway", 0.7), entry("buildkit", 1), rows=rows)[1], "missed")

    def test_requests_and_line_time(self):
        requests = {"kind": "requests", "per_blob": 2.0, "blobs": 5}
        self.assertEqual(self.judge(requests, entry("seaway", 1, requests=10), entry("ctr", 2, requests=11))[1], "met")
        self.assertEqual(self.judge(requests, entry("seaway", 1, requests=10), entry("ctr", 2, requests=9))[1], "missed")
        line = {"kind": "line", "bits": 1e9, "ratio": 1.1}  # 125 MB are one second
        self.assertEqual(self.judge(line, entry("seaway", 1.09), entry("crane", 1.05))[1], "met")
        self.assertEqual(self.judge(line, entry("seaway", 1.2), entry("crane", 1.05))[1], "lost")


class Readme(unittest.TestCase):
    """The tables that are published."""

    def test_the_tables_are_those_of_the_results(self):
        """Every cell, also of tools and faults, is what the JSON says: nothing was written by hand, nothing is older."""
        readme = paths.README.read_text()
        for name, make in table.TABLES.items():
            results = paths.RESULTS / f"{name}.json"
            if results.exists():
                begin, end = table.BEGIN.format(name), table.END.format(name)
                shown = readme.split(begin, 1)[1].split(end, 1)[0]
                self.assertEqual(shown.strip(), make(json.loads(results.read_text())).strip(), f"bench/README.md, {name}")


class Fixtures(unittest.TestCase):
    """Images on disk."""

    def test_the_mixture_compresses_like_a_usr(self):
        data = content.mixture(1, 4 * content.MIB)
        self.assertAlmostEqual(len(zlib.compress(data, 6)) / len(data), 0.34, delta=0.02)
        self.assertAlmostEqual(len(zlib.compress(data, 1)) / len(data), 0.39, delta=0.03)
        self.assertEqual(data, content.mixture(1, 4 * content.MIB))
        self.assertGreater(len(zlib.compress(content.noise(1, content.MIB), 6)), content.MIB)

    def test_long_noise_has_its_size_and_does_not_repeat(self):
        pieces = list(content.long_noise(1, 70 * content.MIB + 5))
        self.assertEqual(sum(map(len, pieces)), 70 * content.MIB + 5)
        self.assertEqual(len(set(pieces)), len(pieces))

    def test_a_layout_names_its_blobs_by_their_digests(self):
        with tempfile.TemporaryDirectory() as folder:
            layer = oci.write_layer(Path(folder) / "layer.tar", [("srv/a", b"a" * 5000), ("srv/b", (3, iter([b"xyz"])))])
            self.assertEqual(layer.diff_id, oci.sha256(layer.tar.read_bytes()))
            oci.compress([layer])
            self.assertEqual(zlib.decompress(layer.blob.read_bytes(), 31), layer.tar.read_bytes())
            oci.write_layout(Path(folder) / "layout", oci.Image([layer]))
            blobs = list((Path(folder) / "layout" / "blobs" / "sha256").iterdir())
            self.assertEqual(len(blobs), 3)
            for blob in blobs:
                self.assertEqual(blob.name, hashlib.sha256(blob.read_bytes()).hexdigest())


class Proxy(unittest.TestCase):
    """The proxy that breaks pushes, before a registry that answers 201 to all."""

    def setUp(self):
        self.folder, self.loop, self.got = tempfile.TemporaryDirectory(), Loop(), []
        self.socket = f"{self.folder.name}/registry.sock"

        async def answer(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
            self.got.append(await reader.readexactly(length))
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            writer.close()

        asyncio.run_coroutine_threadsafe(asyncio.start_unix_server(answer, self.socket), self.loop.loop).result()

    def send(self, fault: Fault, requests: list) -> list:
        """Sends requests of method, path, body and headers over one connection where it lasts; gives their statuses."""
        close = self.loop.listen(5998, Breaking(self.socket, fault, 10).handle)
        statuses, connection = [], http.client.HTTPConnection("127.0.0.1", 5998, timeout=10)
        for method, path, data, headers in requests:
            try:
                connection.request(method, path, data, headers)
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
            except OSError:
                statuses.append("cut")
                connection.close()
        connection.close()
        close()
        return statuses

    def test_a_cut_happens_once_and_bytes_are_counted(self):
        fault = Fault("cut", cut_after=50_000)
        upload = ("PUT", "/v2/a/blobs/uploads/1?digest=x", b"x" * 4_000_000, {})
        self.assertEqual(self.send(fault, [upload, upload]), ["cut", 201])
        self.assertTrue(4_050_000 <= fault.body_bytes < 5_000_000, fault.body_bytes)
        self.assertEqual([len(body) for body in self.got if len(body) == 4_000_000], [4_000_000])

    def test_statuses_are_for_uploads_and_run_out(self):
        upload, manifest = ("POST", "/v2/a/blobs/uploads/", b"", {}), ("PUT", "/v2/a/manifests/v1", b"{}", {})
        self.assertEqual(self.send(Fault("503", status=503, times=2), [upload, manifest, upload, upload]), [503, 201, 503, 201])

    def test_tokens_die_after_the_first_blob(self):
        upload = ("PUT", "/v2/a/blobs/uploads/1?digest=x", b"x")
        token = ("GET", "/token?scope=x", None, {})
        old, new = {"Authorization": "Bearer t-1"}, {"Authorization": "Bearer t-2"}
        head = ("HEAD", "/v2/a/blobs/x", None, old)
        asked = [(*upload, {}), token, (*upload, old), head, (*upload, old), token, (*upload, new)]
        self.assertEqual(self.send(Fault("token", token_dies=True), asked), [401, 200, 201, 401, 401, 200, 201])


if __name__ == "__main__":
    unittest.main()
