"""Where the messages of a RESP stream begin and end.

hiredis parses messages but does not tell their boundaries in the stream, and a proxy needs exactly those: to forward
the original bytes, and to put an answer of its own between two replies. So frames are found here, by lengths alone, and
what a request says is read from its frame by hiredis.

Protocol: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import hiredis

FRAME_LIMIT = 64 * 1024 * 1024
"""Bytes of one message at most; a stream with a longer one is passed on unread from there."""
_LINE_LIMIT = 64 * 1024

_BULK = frozenset(b"$!=")
_PAIRS = frozenset(b"%|")
_LISTS = frozenset(b"*~>")
_LINES = frozenset(b"+-:_#,(")
_ATTRIBUTE = ord("|")


class FramingError(ValueError):
    """The stream is not RESP, or has a message beyond `FRAME_LIMIT`.

    Attributes:
        frames: Messages of the same chunk that came before it.
    """

    frames: list[bytes] = []  # noqa: RUF012 - replaced, never changed


class Framer:
    """Cuts a stream into messages, whatever the chunks.

    Args:
        inline: Also take lines that begin with no type as messages (requests as one types them into telnet).
    """

    __slots__ = ("_buffer", "_inline", "_need", "_position")

    def __init__(self, *, inline: bool = False) -> None:
        self._buffer = bytearray()
        self._inline = inline
        self._position = 0  # everything before it is framed into the current message
        self._need = 0  # elements that the current message still lacks; 0 between messages

    def __len__(self) -> int:
        """Bytes of the message that is incomplete."""
        return len(self._buffer)

    def rest(self) -> bytes:
        """Take the incomplete message out."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._position = self._need = 0
        return rest

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that are complete now.

        Raises:
            FramingError: See there; it has the messages before. `rest` returns everything after them.
        """
        self._buffer += data
        frames: list[bytes] = []
        start = 0
        try:
            while (end := self._element()) is not None:
                self._position = end
                if not self._need:
                    frames.append(bytes(self._buffer[start:end]))
                    start = end
            if len(self._buffer) - start > FRAME_LIMIT:
                raise FramingError(f"a message of more than {FRAME_LIMIT} bytes")  # noqa: TRY301 - gets its frames below
        except FramingError as error:
            error.frames = frames
            raise
        finally:
            del self._buffer[:start]
            self._position -= start
        return frames

    def _element(self) -> int | None:
        """Frame one element at the position: return its end and count what it adds, or None when it is incomplete."""
        buffer, position = self._buffer, self._position
        line = buffer.find(b"\n", position)
        if line < 0:
            if len(buffer) - position > _LINE_LIMIT and buffer[position] not in _LINES:
                raise FramingError("a length of more than 64 kB")
            return None
        need = self._need or 1
        kind = buffer[position]
        end = line + 1
        if kind in _BULK:
            size = _length(buffer, position, line)
            end += size + 2 if size >= 0 else 0
            if end > len(buffer):
                if end - position > FRAME_LIMIT:
                    raise FramingError(f"a string of {size} bytes")
                return None
        elif kind in _LISTS:
            need += max(_length(buffer, position, line), 0)
        elif kind in _PAIRS:
            # An attribute comes before the element that it describes, and is not one itself.
            need += 2 * max(_length(buffer, position, line), 0) + (kind == _ATTRIBUTE)
        elif kind not in _LINES and not (self._inline and not self._need and chr(kind).isalpha() and kind < 128):
            raise FramingError(f"no type is called {chr(kind)!r}")
        self._need = need - 1
        return end


def _length(buffer: bytearray, position: int, line: int) -> int:
    try:
        length = int(buffer[position + 1 : line])
    except ValueError:
        raise FramingError(f"no length: {bytes(buffer[position + 1 : position + 21])!r}") from None
    if not -1 <= length <= FRAME_LIMIT:
        raise FramingError(f"a length of {length}")
    return length


def request_of(frame: bytes) -> list[bytes]:
    """Return the words of a request; none when it has no words that a server would read."""
    if not frame.startswith(b"*"):
        return frame.split()
    reader = hiredis.Reader()
    reader.feed(frame)
    try:
        words = reader.gets()
    except hiredis.HiredisError:
        return []
    return words if isinstance(words, list) and all(isinstance(word, bytes) for word in words) else []
