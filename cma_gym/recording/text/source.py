"""Bytes of a recording, whatever it is packed with, in chunks of whole lines."""

from __future__ import annotations

import gzip
import importlib
import lzma
import os
import zlib
from collections.abc import Iterator
from types import TracebackType
from typing import Any, BinaryIO, Protocol

import numpy as np

from cma_gym.workloads.workload import WorkloadError

CHUNK_BYTES = 1 << 21
MAX_LINE_BYTES = 1 << 16
"""Longer "lines" are not ftrace text; the longest real ones have some 400 bytes."""
_SNIFF_BYTES = 4096
_XZ, _GZIP, _ZSTD = b"\xfd7zXZ\x00", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_TRACE_DAT = b"\x17\x08\x44tracing"
_NEWLINE = 10


class TraceError(WorkloadError):
    """A recording that cannot be imported; the message says what is wrong, at which line, and what to do."""


class _Readable(Protocol):
    def readinto(self, target: memoryview, /) -> int: ...


class _ZstdStream:
    """zstd frames as a readable; unlike the library's own reader it notices a missing end."""

    def __init__(self, raw: BinaryIO) -> None:
        try:
            self._library: Any = importlib.import_module("zstandard")
        except ImportError:
            raise TraceError(
                "reading .zst needs the package zstandard, which is not installed; "
                "install it (pip install zstandard) or unpack the file first (zstd -d)"
            ) from None
        self._raw = raw
        self._frame = self._library.ZstdDecompressor().decompressobj()
        self._ready = b""

    def readinto(self, target: memoryview) -> int:
        while not self._ready:
            packed = self._raw.read(1 << 17)
            if not packed:
                if not self._frame.eof:
                    raise EOFError("the last zstd frame has no end")
                return 0
            self._ready = self._unpack(packed)
        size = min(len(target), len(self._ready))
        target[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def _unpack(self, packed: bytes) -> bytes:
        plain = []
        while packed:
            if self._frame.eof:
                self._frame = self._library.ZstdDecompressor().decompressobj()
            try:
                plain.append(self._frame.decompress(packed))
            except self._library.ZstdError as error:
                raise OSError(str(error)) from None
            packed = self._frame.unused_data if self._frame.eof else b""
        return b"".join(plain)


class TraceSource:
    """A recording as chunks of whole lines; plain, .gz, .xz or .zst, told apart by content and not by name.

    Attributes:
        lines: lines handed out so far.
        unfinished: the file ended in the middle of a line, which was not handed out.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open a recording.

        Raises:
            TraceError: it cannot be opened, is empty, or is binary.
        """
        self.path = os.fspath(path)
        self.lines = 0
        self.unfinished = False
        self._damage: Exception | None = None
        try:
            self._raw = open(path, "rb")  # noqa: SIM115 - closed by __exit__
            self.size_bytes = os.fstat(self._raw.fileno()).st_size
            magic = self._raw.read(8)
            self._raw.seek(0)
        except OSError as error:
            raise TraceError(f"{self.path}: cannot be read ({error.strerror or error}); check the path") from None
        if not magic:
            self._raw.close()
            raise TraceError(f"{self.path}: the file is empty; record again")
        self._stream = self._open(magic)

    def _open(self, magic: bytes) -> _Readable:
        if magic.startswith(_XZ):
            return lzma.LZMAFile(self._raw)
        if magic.startswith(_GZIP):
            return gzip.GzipFile(fileobj=self._raw)
        if magic.startswith(_ZSTD):
            return _ZstdStream(self._raw)
        return self._raw  # type: ignore[return-value]

    def __enter__(self) -> TraceSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._raw.close()

    @property
    def read_bytes(self) -> int:
        """Bytes of the file consumed so far (packed ones, where it is packed)."""
        return self._raw.tell()

    def chunks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Chunks of whole lines: their bytes (uint8) and the offset of each line's newline.

        The bytes are overwritten by the next chunk.

        Raises:
            TraceError: damaged packing, or content that is not text.
        """
        memory = bytearray(CHUNK_BYTES)
        view, text = memoryview(memory), np.frombuffer(memory, np.uint8)
        kept = 0
        first = True
        while True:
            got = self._read(view[kept:])
            if first:
                self._refuse_binary(memory[: kept + got])
                first = False
            if not got:
                self.unfinished = kept > 0
                return
            ends = np.flatnonzero(text[: kept + got] == _NEWLINE)
            used = int(ends[-1]) + 1 if len(ends) else 0
            if kept + got - used > MAX_LINE_BYTES:
                where = f"{self.path}: line {self.lines + len(ends) + 1}"
                raise TraceError(f"{where} is longer than {MAX_LINE_BYTES} bytes: not ftrace text; record again")
            if used:
                yield text[:used], ends
                self.lines += len(ends)
            kept += got - used
            memory[:kept] = memory[used : used + kept]

    def _read(self, target: memoryview) -> int:
        """Fill `target` as far as the file reaches; damage is reported after what lies before it was handed out."""
        got = 0
        while got < len(target) and self._damage is None:
            try:
                more = self._stream.readinto(target[got:])
            except (EOFError, OSError, lzma.LZMAError, zlib.error) as error:
                self._damage = error
                break
            if not more:
                break
            got += more
        if not got and self._damage is not None:
            raise TraceError(
                f"{self.path}: after line {self.lines} the packed data is cut off or damaged ({self._damage}); "
                "copy the file again"
            )
        return got

    def _refuse_binary(self, start: bytes | bytearray) -> None:
        if start.startswith(_TRACE_DAT):
            raise TraceError(f"{self.path}: this is trace-cmd's binary file; import the output of trace-cmd report")
        if b"\0" in start[:_SNIFF_BYTES]:
            line = start[:_SNIFF_BYTES].split(b"\0")[0].count(b"\n") + 1
            raise TraceError(
                f"{self.path}: line {line} is binary data, not ftrace text; "
                "import what `cat /sys/kernel/tracing/trace` or `trace-cmd report` prints"
            )
