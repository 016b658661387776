import { neighbourLink, RTM_DELNEIGH, RTM_NEWNEIGH } from "#linux/netlink/neighbours.ts";
import { parseLink, RTM_DELLINK, RTM_NEWLINK } from "#linux/netlink/links.ts";
import { parseAddressMessage, RTM_DELADDR, RTM_NEWADDR } from "#linux/netlink/addresses.ts";
import { type Monitor, type MonitorEvent, RTMGRP } from "#linux/netlink/monitor.ts";
import { RTM_DELROUTE } from "#linux/netlink/routes.ts";

/** The groups {@link watchKernel} wants to hear. */
export const kernelGroups: number = RTMGRP.link | RTMGRP.neighbour | RTMGRP.ipv4Address | RTMGRP.ipv4Route;

/** Calls back when something happened that may undo our work, until the signal. */
export async function watchKernel(
  monitor: Monitor,
  isOurs: (link: { readonly index: number; readonly name?: string }) => boolean,
  changed: () => void,
  signal: AbortSignal,
): Promise<void> {
  const stop = (): void => monitor.close();
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  for await (const event of monitor) if (concerns(event, isOurs)) changed();
}

function concerns(
  event: MonitorEvent,
  isOurs: (link: { readonly index: number; readonly name?: string }) => boolean,
): boolean {
  if (event.type === "lost") return true;
  switch (event.messageType) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return isOurs(parseLink(event.body));
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return isOurs({ index: parseAddressMessage(event.body).link });
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return isOurs({ index: neighbourLink(event.body) });
    case RTM_DELROUTE:
      return true; // of a link that went away the route may be all that is told
    default:
      return false;
  }
}
