"""Without root: a user namespace in which the agent may make network namespaces. Needs nothing but the kernel's leave.

To be entered before the process has a second thread. In it the agent is root over what it makes, and who it was over the
rest: its files and processes are those of the same user outside.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from labctl.errors import CapabilityError
from labctl.runtime.marker import marked_processes
from labctl.wires.namespaces import HOLDER_NODE

_CLONE_NEWUSER = 0x10000000


def enter(lab_id: str) -> None:
    """Become root in the user namespace that the lab has, or in a new one. As root there is nothing to do.

    Raises:
        CapabilityError: The kernel or its administrator does not allow it.
    """
    if os.geteuid() == 0:
        return
    holder = next((p.pid for p in marked_processes(lab_id) if p.node == HOLDER_NODE), None)
    libc = ctypes.CDLL(None, use_errno=True)
    if holder is not None:
        opened = os.open(f"/proc/{holder}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        failed = libc.setns(opened, _CLONE_NEWUSER)
        os.close(opened)
    else:
        user, group = os.geteuid(), os.getegid()
        failed = libc.unshare(_CLONE_NEWUSER)
        if not failed:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if failed:
        raise CapabilityError(
            f"The kernel lets this user make no user namespace: {os.strerror(ctypes.get_errno())}.",
            "sysctl user.max_user_namespaces, and on Debian and Ubuntu kernel.unprivileged_userns_clone or "
            "kernel.apparmor_restrict_unprivileged_userns, say whether users may; root always may.",
        )
