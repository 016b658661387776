/** The filter table as far as it matters: chain -> its rules as iptables-save prints them. */
export type FilterTable = ReadonlyMap<string, { readonly rules: readonly string[] }>;

/** Shared with CNI's firewall plugin, by the same name. */
const chain = "CNI-FORWARD";

/**
 * A script that lets a Pod subnet through a FORWARD chain whose policy is DROP, as Docker sets it: with
 * `bridge-nf-call-iptables` that policy meets even what two Pods of one bridge say to each other.
 * @returns undefined when all is there. Rules of another subnet of the same network are replaced.
 */
export function renderForward(network: string, subnet: string, now: FilterTable): string | undefined {
  const mark = `-m comment --comment "keelson pod network ${network}" -j ACCEPT`;
  const wanted = [`-s ${subnet} ${mark}`, `-d ${subnet} ${mark}`];
  const isV6 = subnet.includes(":");
  const present = now.get(chain)?.rules ?? [];
  const stale = present.filter(
    (rule) => rule.endsWith(mark) && rule.includes(":") === isV6 && !wanted.includes(rule),
  );
  const missing = wanted.filter((rule) => !present.includes(rule));
  const forward = now.get("FORWARD")?.rules ?? [];
  const isJumpedTo = forward.some((rule) => rule.endsWith(`-j ${chain}`));
  if (stale.length === 0 && missing.length === 0 && isJumpedTo) return undefined;
  return [
    "*filter",
    // A chain that is named is emptied: another plugin's rules may be in it.
    ...(now.has(chain) ? [] : [`:${chain} - [0:0]`]),
    ...stale.map((rule) => `-D ${chain} ${rule}`),
    ...missing.map((rule) => `-A ${chain} ${rule}`),
    ...(isJumpedTo
      ? []
      : [`-I FORWARD ${firstPlace(forward)} -m comment --comment "pod network" -j ${chain}`]),
    "COMMIT",
    "",
  ].join("\n");
}

/**
 * Before everything but the service proxy's own: it refuses what is for no endpoint, and a Pod that asks has an
 * address that we would let through. A proxy that starts later puts itself in front.
 */
function firstPlace(forward: readonly string[]): number {
  return forward.findLastIndex((rule) => / -j KUBE-[A-Z-]+$/.test(` ${rule}`)) + 2;
}
