"""A page of the server in headless Chromium."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + b"\x00" * 64


class Visit:
    """A browser's page on a server."""

    def __init__(self, page: "Page", address: str) -> None:
        self.page, self.address = page, address
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: self.faults.append(f"dialog {dialog.message}"))

    def row(self, title: str) -> "Locator":
        return self.page.locator(".job", has=self.page.get_by_text(title, exact=True))

    def submit_text(self, text: str) -> "Locator":
        self.page.get_by_label("The words, one utterance a line").fill(text)
        self.page.get_by_role("button", name="Analyse the text").click()
        return self.row(text)

    def submit_file(self, name: str, content: bytes = WAV) -> None:
        self.page.get_by_label("Video or sound").set_input_files({"name": name, "mimeType": "video/mp4", "buffer": content})
        self.page.get_by_role("button", name="Analyse the video").click()
