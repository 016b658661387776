import { setLink } from "#linux/netlink/links.ts";
import { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { inNetns } from "#linux/netns.ts";
import type { CniResult } from "../model.ts";

/**
 * What CNI's loopback plugin does: containerd asks for it by name before every Pod's network, so the plugin is
 * installed under that name as well where no other one is.
 */
export function bringLoopbackUp(netns: string): CniResult {
  inNetns(netns, () => {
    using socket = new NetlinkSocket();
    setLink(socket, 1, { up: true }); // the first link of every namespace is lo
  });
  return {
    interfaces: [{ name: "lo", mac: "00:00:00:00:00:00", sandbox: netns }],
    ips: [
      { address: "127.0.0.1/8", interface: 0 },
      { address: "::1/128", interface: 0 },
    ],
    routes: [],
    dns: {},
  };
}
