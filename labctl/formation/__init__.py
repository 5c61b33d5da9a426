"""Formation: servers that were just started become a healthy lab.

Seeded (the default) is fast: servers start from files that already say who is who, and internal timings are borrowed
for some hundred milliseconds. They are given back, and read back, before the lab is called healthy. Natural formation
does what an operator would, with the ordinary timings.
"""

from __future__ import annotations

from collections.abc import Callable

from labctl.errors import NotHealthyError
from labctl.formation import cluster, replica, sentinel
from labctl.formation.nodes import Formed
from labctl.model.plan import LabPlan
from labctl.model.topology import Kind
from labctl.model.view import View
from labctl.observe.access import Access
from labctl.observe.poll import Observer
from labctl.observe.wait import ConditionError


async def form(
    plan: LabPlan,
    access: Access,
    observer: Observer,
    progress: Callable[[str], None],
    *,
    deadline_s: float | None = None,
) -> View:
    """Turn just-started servers into a healthy lab; return the first view that shows strict agreement.

    The servers may still be starting. Their links (127.0.0.1:port → host:port) must be open.

    Args:
        plan: The lab, with the formation to use.
        access: How to reach its nodes.
        observer: Watches them; stays open.
        progress: Told each step, in a few words.
        deadline_s: Seconds for all of it; None allows for the size of the lab and the kind of formation.

    Raises:
        NotHealthyError: Not healthy in time; the message ends with what was missing. The servers are left as they are.
        StartError: A server refused what forms it, or stopped answering.
    """
    formed = Formed(plan, access, observer, progress, deadline_s)
    try:
        match plan.topology.kind:
            case Kind.STANDALONE | Kind.REPLICA:
                await replica.form(formed)
            case Kind.SENTINEL:
                await sentinel.form(formed)
            case Kind.CLUSTER:
                await cluster.form(formed)
        return await formed.until_healthy()
    except ConditionError as error:
        raise NotHealthyError(
            f"lab {plan.lab} did not form: {error.message}",
            "`labctl logs NODE` shows a server's log.",
            error.reasons,
            error.view.to_dict(),
        ) from error
    finally:
        await formed.close()


__all__ = ["form"]
