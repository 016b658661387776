import type { Pod } from "#api/generated/kubernetes.ts";
import { type Amounts, plusAmounts, podRequests } from "#api/pod-requests.ts";
import { type NodeRoom, roomOf } from "./admission.ts";
import { annotation } from "./names.ts";
import { type QosClass, qosClass } from "./qos.ts";

/** The lowest priority of what the system itself needs. */
const criticalPriority = 2_000_000_000;

/** Whether the node makes room for this Pod: static Pods and those of the system's priority classes. */
export function isCritical(pod: Pod): boolean {
  const source = pod.metadata?.annotations?.[annotation.source];
  return (source !== undefined && source !== "api") || (pod.spec?.priority ?? 0) >= criticalPriority;
}

/** The room that a Pod does not find, by resource. Pods count as the resource `pods`. */
export function shortage(pod: Pod, others: readonly Pod[], room: NodeRoom): Amounts {
  const used = others.map(amountsOf);
  const wanted = amountsOf(pod);
  const short = roomOf(room).flatMap(([name, capacity]) => {
    const own = wanted[name] ?? 0;
    const taken = used.reduce((sum, one) => sum + (one[name] ?? 0), 0);
    return own > 0 && taken + own > capacity ? [[name, taken + own - capacity] as const] : [];
  });
  return Object.fromEntries(short);
}

/**
 * The Pods that end so that a critical one has room: as few as possible of the best QoS class, then of the next, and
 * of each class those that come nearest to what is short.
 * @param others Pods that run here.
 * @returns undefined when the room would not do even without all that may be turned out.
 * @see kubernetes pkg/kubelet/preemption for the rule.
 */
export function podsToPreempt(pod: Pod, others: readonly Pod[], room: NodeRoom): readonly Pod[] | undefined {
  const short = shortage(pod, others, room);
  const victims = others.filter((other) => mayPreempt(pod, other));
  if (!isEmpty(less(short, victims))) return undefined;
  const of = (wanted: QosClass): readonly Pod[] => victims.filter((one) => qosClass(one) === wanted);
  const [best, middle, least] = [of("Guaranteed"), of("Burstable"), of("BestEffort")];
  const first = nearest(best, less(short, [...middle, ...least]));
  const second = nearest(middle, less(short, [...least, ...first]));
  const third = nearest(least, less(short, [...first, ...second]));
  return [...third, ...second, ...first];
}

function mayPreempt(pod: Pod, other: Pod): boolean {
  if (isCritical(pod) && !isCritical(other)) return true;
  const [own, its] = [pod.spec?.priority, other.spec?.priority];
  return own !== undefined && its !== undefined && own > its;
}

/** A few of the Pods that together have what is short, taken one after another by how near each comes to it. */
function nearest(pods: readonly Pod[], short: Amounts): readonly Pod[] {
  const chosen: Pod[] = [];
  let left = short;
  while (!isEmpty(left)) {
    const [next] = pods
      .filter((one) => !chosen.includes(one))
      .toSorted((a, b) => distance(a, left) - distance(b, left) || size(a) - size(b));
    if (next === undefined) return chosen;
    chosen.push(next);
    left = less(left, [next]);
  }
  return chosen;
}

/** How much stays short without the Pod, each resource by its share, squared: 0 when nothing does. */
function distance(pod: Pod, short: Amounts): number {
  const after = less(short, [pod]);
  return Object.entries(short).reduce((sum, [name, value]) => sum + ((after[name] ?? 0) / value) ** 2, 0);
}

function size(pod: Pod): number {
  const { memory = 0, cpu = 0 } = podRequests(pod);
  return memory + cpu;
}

/** What stays short when these Pods are gone. */
function less(short: Amounts, pods: readonly Pod[]): Amounts {
  const freed = pods.reduce<Amounts>((sum, pod) => plusAmounts(sum, amountsOf(pod)), {});
  const left = Object.entries(short).map(([name, value]) => [name, value - (freed[name] ?? 0)] as const);
  return Object.fromEntries(left.filter(([, value]) => value > 0));
}

function amountsOf(pod: Pod): Amounts {
  return { ...podRequests(pod), pods: 1 };
}

function isEmpty(amounts: Amounts): boolean {
  return Object.keys(amounts).length === 0;
}
