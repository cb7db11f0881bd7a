"""An official archive on a slow line, so that a download can be killed in the middle."""

import random
import threading
import time

from local_server import Handler, Server


class SlowHandler(Handler):
    """Answers with a pause after each piece."""

    def answer(self, start: int) -> None:
        self.fast, self.wfile = self.wfile, self
        try:
            super().answer(start)
        finally:
            self.wfile = self.fast

    def write(self, content: bytes) -> None:
        for i in range(0, len(content), 1 << 16):
            self.fast.write(content[i : i + (1 << 16)])
            time.sleep(0.03)

    def flush(self) -> None:
        self.fast.flush()


class SlowServer(Server):
    """Serves an official archive of 3 MB over two seconds or so."""

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = SlowHandler
        self.content = random.Random(0).randbytes(3_000_000)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        super().__exit__(*args)

    def handle_error(self, *args: object) -> None:
        """The client was killed."""

    @property
    def before(self) -> str:
        """What makes a stage take it for the place of Google Speech Commands."""
        return (
            "from mtcil.audio.source import Source\n"
            "from mtcil.datasets import speech_commands\n"
            f"speech_commands.SOURCE = {self.source(self.content)!r}\n"
        )
