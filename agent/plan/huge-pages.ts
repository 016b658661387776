import type { Pod, ResourceRequirements } from "#api/generated/kubernetes.ts";
import { podRequests } from "#api/pod-requests.ts";
import { quantityValue } from "#api/quantity.ts";

/** Huge pages of one size that a machine has set aside. */
export interface HugePages {
  readonly pageBytes: number;
  readonly pages: number;
}

/** Bytes by size of page as the kernel's files name it, `2MB` or `1GB`. */
export type HugePageLimits = Readonly<Record<string, number>>;

const prefix = "hugepages-";

/** How much of each size a container may use: nothing of those that it does not name. */
export function containerHugePages(
  resources: ResourceRequirements | undefined,
  machine: readonly HugePages[],
): HugePageLimits {
  const amounts = Object.entries(resources?.limits ?? {}).map(
    ([name, text]) => [name, quantityValue(text)] as const,
  );
  return limitsOf(new Map(amounts), machine);
}

/** The same for all of a Pod together, its overhead included. */
export function podHugePages(pod: Pod, machine: readonly HugePages[]): HugePageLimits {
  return limitsOf(new Map(Object.entries(podRequests(pod))), machine);
}

/** The node's resources: `hugepages-2Mi` and how many bytes there are. */
export function hugePageCapacity(machine: readonly HugePages[]): Readonly<Record<string, string>> {
  return Object.fromEntries(
    machine.map(({ pageBytes, pages }) => [
      `${prefix}${inUnits(pageBytes, "i")}`,
      inUnits(pageBytes * pages, "i"),
    ]),
  );
}

function limitsOf(amounts: ReadonlyMap<string, number>, machine: readonly HugePages[]): HugePageLimits {
  const byBytes = new Map(
    [...amounts]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, bytes]) => [quantityValue(name.slice(prefix.length)), bytes] as const),
  );
  return Object.fromEntries(
    machine.map(({ pageBytes }) => [inUnits(pageBytes, "B"), byBytes.get(pageBytes) ?? 0]),
  );
}

/** `2097152` is `2MB` (suffix "B") or `2Mi` (suffix "i"), always of powers of 1024. */
function inUnits(bytes: number, suffix: "B" | "i"): string {
  if (bytes === 0) return "0";
  const units = ["", "K", "M", "G", "T"];
  const power = units.findLastIndex((_, place) => bytes % 1_024 ** place === 0);
  return `${bytes / 1_024 ** power}${units[power]}${power === 0 ? "" : suffix}`;
}
