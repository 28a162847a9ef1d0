"""An SMTP server that prints when it accepted each message, by the clock that processes share.

Run as a script: ``python stamps.py PORT [RECIPIENT]``. It takes everything, several commands at
once, too; with a recipient only messages to that one are told of.
Must not know who delivers.
"""

from __future__ import annotations

import asyncio
import sys
import time

HOST = "127.0.0.1"
LARGEST = 2**20
GREETING = b"250-stamps\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
ANSWERS = {
    b"EHLO": GREETING,
    b"HELO": b"250 stamps\r\n",
    b"DATA": b"354 go ahead\r\n",
    b"QUIT": b"221 2.0.0 bye\r\n",
}


async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, only: bytes) -> None:
    """Speak SMTP with a client until it leaves."""
    writer.write(b"220 stamps\r\n")
    is_told = False
    try:
        while line := await reader.readline():
            verb = line[:4].upper()
            writer.write(ANSWERS.get(verb, b"250 2.0.0 ok\r\n"))
            if verb == b"QUIT":
                break
            if verb == b"RCPT":
                is_told = only in line
            if verb == b"DATA":
                await reader.readuntil(b"\r\n.\r\n")
                if is_told:
                    print(time.monotonic(), flush=True)
                writer.write(b"250 2.0.0 taken\r\n")
    except (OSError, asyncio.IncompleteReadError):
        pass  # it left without a word
    finally:
        writer.close()


async def serve(port: int, only: str) -> None:
    """Serve for ever."""
    server = await asyncio.start_server(
        lambda reader, writer: meet(reader, writer, only.encode()), HOST, port, limit=LARGEST
    )
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), "".join(sys.argv[2:])))
