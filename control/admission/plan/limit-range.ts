import { formatMilli, milliValue, parseQuantity } from "#api/quantity.ts";
import type { Container, LimitRange, LimitRangeItem, PodSpec } from "#api/generated/kubernetes.ts";

/** What a LimitRange made of a Pod. */
export interface Limited {
  readonly spec: PodSpec;
  /** `cpu request for container web`: what was filled in, for the annotation. */
  readonly filled: readonly string[];
}

/** Fills in the requests and limits that a container leaves open. */
export function applyDefaults(spec: PodSpec, range: LimitRange): Limited {
  const filled: string[] = [];
  const items = (range.spec?.limits ?? []).filter((item) => item.type === "Container");
  const fill = (container: Container): Container => {
    const limits: Record<string, string> = { ...texts(container.resources?.limits) };
    const requests: Record<string, string> = { ...texts(container.resources?.requests) };
    for (const item of items) {
      for (const [name, value] of Object.entries(texts(item.default))) {
        if (limits[name] !== undefined) continue;
        limits[name] = value;
        filled.push(`${name} limit for container ${container.name}`);
      }
      for (const [name, value] of Object.entries(texts(item.defaultRequest))) {
        // A limit that the Pod gave itself is the request as well; that default comes before ours.
        const own = texts(container.resources?.limits)[name];
        if (requests[name] !== undefined || own !== undefined) continue;
        requests[name] = value;
        filled.push(`${name} request for container ${container.name}`);
      }
    }
    const resources = {
      ...container.resources,
      ...(Object.keys(limits).length === 0 ? {} : { limits }),
      ...(Object.keys(requests).length === 0 ? {} : { requests }),
    };
    return Object.keys(resources).length === 0 ? container : { ...container, resources };
  };
  const containers = spec.containers.map(fill);
  const initContainers = spec.initContainers?.map(fill);
  return {
    spec: { ...spec, containers, ...(initContainers === undefined ? {} : { initContainers }) },
    filled,
  };
}

/** What a Pod breaks of a LimitRange, as Kubernetes words it. */
export function limitProblems(spec: PodSpec, range: LimitRange): readonly string[] {
  return (range.spec?.limits ?? []).flatMap((item) => {
    if (item.type === "Container") {
      return [...spec.containers, ...(spec.initContainers ?? [])].flatMap((container) =>
        itemProblems(item, texts(container.resources?.requests), texts(container.resources?.limits)),
      );
    }
    return item.type === "Pod" ? itemProblems(item, sum(spec, "requests"), sum(spec, "limits")) : [];
  });
}

type Amounts = Readonly<Record<string, string>>;

function itemProblems(item: LimitRangeItem, requests: Amounts, limits: Amounts): string[] {
  const problems: string[] = [];
  const { type } = item;
  for (const [name, min] of Object.entries(texts(item.min))) {
    const request = requests[name] ?? limits[name];
    if (request === undefined)
      problems.push(`minimum ${name} usage per ${type} is ${min}.  No request is specified`);
    else if (parseQuantity(request) < parseQuantity(min)) {
      problems.push(`minimum ${name} usage per ${type} is ${min}, but request is ${request}`);
    }
  }
  for (const [name, max] of Object.entries(texts(item.max))) {
    const limit = limits[name];
    if (limit === undefined)
      problems.push(`maximum ${name} usage per ${type} is ${max}.  No limit is specified`);
    else if (parseQuantity(limit) > parseQuantity(max)) {
      problems.push(`maximum ${name} usage per ${type} is ${max}, but limit is ${limit}`);
    }
  }
  for (const [name, ratio] of Object.entries(texts(item.maxLimitRequestRatio))) {
    const request = milliValue(requests[name] ?? "0");
    const limit = milliValue(limits[name] ?? "0");
    if (request === 0 || limit === 0) {
      problems.push(
        `${name} max limit to request ratio per ${type} is ${ratio}, but no request is specified or request is 0`,
      );
    } else if (limit / request > milliValue(ratio) / 1_000) {
      problems.push(
        `${name} max limit to request ratio per ${type} is ${ratio}, but provided ratio is ${(limit / request).toFixed(6)}`,
      );
    }
  }
  return problems;
}

/** Sums over the containers; a resource that some container leaves open is open for the Pod. */
function sum(spec: PodSpec, which: "requests" | "limits"): Amounts {
  const all = spec.containers.map((container) => texts(container.resources?.[which]));
  const names = new Set(all.flatMap((one) => Object.keys(one)));
  const sums: Record<string, string> = {};
  for (const name of names) {
    if (which === "limits" && all.some((one) => one[name] === undefined)) continue;
    const total = all.reduce((left, one) => left + milliValue(one[name] ?? "0"), 0);
    sums[name] = formatMilli(total);
  }
  return sums;
}

function texts(amounts: Readonly<Record<string, string | number>> | undefined): Amounts {
  return Object.fromEntries(Object.entries(amounts ?? {}).map(([name, value]) => [name, String(value)]));
}
