"""A front end of a kernel, played message by message, as JupyterLab was seen to send them."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["WIDGET", "FrontEnd", "is_display", "state"]

WIDGET = "application/vnd.jupyter.widget-view+json"
PATIENCE_S = 240


class FrontEnd:
    """Speaks to a kernel as JupyterLab does: clicks go over a subshell."""

    def __init__(self, kernel) -> None:
        self.kernel = kernel
        client = kernel.client
        request = client.session.msg("create_subshell_request", {})
        client.control_channel.send(request)
        while True:
            reply = client.control_channel.get_msg(timeout=PATIENCE_S)
            if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                break
        self.subshell = reply["content"]["subshell_id"]

    def send(self, comm: str, content: dict[str, object], *, over_subshell: bool = True) -> None:
        session = self.kernel.client.session
        data = {"method": "custom", "content": content}
        message = session.msg("comm_msg", {"comm_id": comm, "data": data})
        if over_subshell:
            message["header"]["subshell_id"] = self.subshell
        self.kernel.client.shell_channel.send(message)

    def draw(self, comm: str) -> None:
        """Draw a view: it says that it is there until it has been heard."""
        self.send(comm, {"type": "here"})
        while not self.until_shown(lambda _: True)["content"]["data"]["state"]["shown"][
            "reachable"
        ]:
            self.send(comm, {"type": "here"})

    def all_messages(self) -> Iterator[dict]:
        while True:
            yield self.kernel.client.get_iopub_msg(timeout=PATIENCE_S)

    def until(self, test) -> dict:
        """The next message that is so."""
        return next(message for message in self.all_messages() if test(message))

    def until_shown(self, test) -> dict:
        """The next state of a widget that is so."""
        return self.until(lambda m: (shown := state(m)) is not None and test(shown))


def state(message) -> dict | None:
    if message["msg_type"] not in ("comm_open", "comm_msg"):
        return None
    return message["content"]["data"].get("state", {}).get("shown")


def is_display(message) -> bool:
    return message["msg_type"] in ("display_data", "update_display_data")
