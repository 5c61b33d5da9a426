"""The application's password, changed while it runs: added beside the old one, then the old one dropped.

Source: redis.io, "ACL": a user can have several passwords, so that they can be changed without downtime; ACL SETUSER
does not end connections that are authenticated.
"""

from __future__ import annotations

import asyncio
import secrets as random_secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from labctl.actions.kind import ActionKind, Param
from labctl.errors import LabError
from labctl.store import codec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from labctl.actions.operator import Operator
    from labctl.model.fault import Scalar
    from labctl.model.topology import Topology

_BYTES = 24


async def rotate_password(operator: Operator, target: str, params: Mapping[str, Scalar]) -> str:
    """Change the password of the user `app` on every node of the target, and in the file that the lab's clients read."""
    keys, how = operator.lab.keys(), str(params["how"])
    if keys.secrets is None:
        raise LabError("The lab has no users.", "acl: true")
    app = keys.secrets.app
    if how != "drop":
        app = replace(app, password=random_secrets.token_urlsafe(_BYTES))
    rules = [f">{app.password}"] if how == "add" else ["resetpass", f">{app.password}"]
    names = await operator.targets(target)
    for name in names:
        commands: list[tuple[str, ...]] = [("ACL", "SETUSER", app.name, *rules), ("ACL", "SAVE")]
        if params["disconnect"] == "yes":
            commands.append(("CLIENT", "KILL", "USER", app.name))
        await operator.call_all(name, commands)
    if how != "drop":
        changed = replace(keys, secrets=replace(keys.secrets, app=app))
        await asyncio.to_thread(codec.save, operator.lab.folder.secrets, changed)
    said = {"add": "has another password", "drop": "has one password", "replace": "has another password only"}[how]
    return f"user {app.name} {said} on {', '.join(names)}"


def _refuse(_: Mapping[str, Scalar], topology: Topology) -> str | None:
    return None if topology.acl else f"`{topology.name}` has no ACL users"


KINDS = (
    ActionKind(
        "rotate-password",
        "Change the password of the user that clients log in as; those of the next phase use the new one",
        "all",
        rotate_password,
        (
            Param(
                "how",
                "add: a new one beside the old; drop: all but the newest; replace: both at once",
                "add",
                choices=("add", "drop", "replace"),
            ),
            Param(
                "disconnect", "yes: end the user's connections, which are not asked again", "no", choices=("yes", "no")
            ),
        ),
        refuse=_refuse,
    ),
)
