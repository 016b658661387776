import { parseQuantity } from "#api/quantity.ts";
import { isJson, type Json, list, record, scalar, text } from "../json.ts";
import { each, fill, isUnset, within } from "./fill.ts";

/** Seconds a projected service account token lives, unless asked for otherwise. */
const projectedTokenSeconds = 3600;
const readableByAll = 0o644;

/** What Kubernetes fills into a PodSpec, alone or in a template. Idempotent. */
export function podSpecDefaults(spec: Json): Json {
  const account = spec["serviceAccountName"] ?? spec["serviceAccount"];
  const filled = fill(spec, {
    restartPolicy: "Always",
    dnsPolicy: "ClusterFirst",
    schedulerName: "default-scheduler",
    terminationGracePeriodSeconds: 30,
    securityContext: {},
    // The second name is deprecated and still read by old clients.
    ...(isUnset(account) ? {} : { serviceAccountName: account, serviceAccount: account }),
  });
  const hostNetwork = filled["hostNetwork"] === true;
  const container = (inner: Json): Json => containerDefaults(inner, hostNetwork);
  const steps = ["containers", "initContainers", "ephemeralContainers"].reduce<Json>(
    (sum, key) => each(sum, key, container),
    filled,
  );
  const spread = each(steps, "topologySpreadConstraints", (constraint) =>
    fill(constraint, { whenUnsatisfiable: "DoNotSchedule" }),
  );
  return each(spread, "volumes", volumeDefaults);
}

/** What only a Pod gets, not a template. */
export function podDefaults(spec: Json): Json {
  return fill(podSpecDefaults(spec), { enableServiceLinks: true });
}

/** Pod templates are defaulted like pods; their creationTimestamp is nobody's. */
export function templateDefaults(template: Json): Json {
  return within(template, "spec", podSpecDefaults);
}

function containerDefaults(container: Json, hostNetwork: boolean): Json {
  const filled = fill(container, {
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    imagePullPolicy: pullPolicy(text(container["image"])),
    resources: {},
  });
  const withPorts = each(filled, "ports", (port) =>
    fill(port, { protocol: "TCP", ...(hostNetwork ? { hostPort: port["containerPort"] } : {}) }),
  );
  const withEnv = each(withPorts, "env", (variable) =>
    within(variable, "valueFrom", (source) => within(source, "fieldRef", fieldRef)),
  );
  const probed = ["livenessProbe", "readinessProbe", "startupProbe"].reduce<Json>(
    (sum, key) => within(sum, key, probeDefaults),
    withEnv,
  );
  const hooked = within(probed, "lifecycle", (lifecycle) =>
    ["postStart", "preStop"].reduce<Json>((sum, key) => within(sum, key, handlerDefaults), lifecycle),
  );
  return within(hooked, "resources", limitsAsRequests);
}

/** A moving tag is pulled always; a fixed one or a digest when it is missing. */
function pullPolicy(image: string): string | undefined {
  if (image === "") return undefined;
  if (image.includes("@")) return "IfNotPresent";
  const tag = /:([^:/]+)$/.exec(image)?.[1] ?? "latest";
  return tag === "latest" ? "Always" : "IfNotPresent";
}

const fieldRef = (ref: Json): Json => fill(ref, { apiVersion: "v1" });
const handlerDefaults = (handler: Json): Json =>
  within(handler, "httpGet", (get) => fill(get, { path: "/", scheme: "HTTP" }));

/** Zeros count as unset here: a probe cannot mean them. */
function probeDefaults(probe: Json): Json {
  const numbers = { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 };
  const nonZero = Object.fromEntries(
    Object.entries(probe).filter(([key, value]) => !(key in numbers && value === 0)),
  );
  return within(handlerDefaults(fill(nonZero, numbers)), "grpc", (grpc) =>
    "service" in grpc ? grpc : { ...grpc, service: "" },
  );
}

function limitsAsRequests(resources: Json): Json {
  const limits = record(resources["limits"]);
  if (Object.keys(limits).length === 0) return resources;
  return { ...resources, requests: { ...limits, ...record(resources["requests"]) } };
}

function volumeDefaults(volume: Json): Json {
  const sources = Object.keys(volume).filter((key) => key !== "name");
  // A volume that names no source is an empty directory.
  const named = sources.length === 0 ? { ...volume, emptyDir: {} } : volume;
  const mode = (source: Json): Json => fill(source, { defaultMode: readableByAll });
  const withModes = ["configMap", "secret", "downwardAPI", "projected"].reduce<Json>(
    (sum, key) => within(sum, key, mode),
    named,
  );
  const withRefs = within(withModes, "downwardAPI", (source) =>
    each(source, "items", (item) => within(item, "fieldRef", fieldRef)),
  );
  const withHostPath = within(withRefs, "hostPath", (source) =>
    "type" in source ? source : { ...source, type: "" },
  );
  return within(withHostPath, "projected", (projected) =>
    each(projected, "sources", (source) =>
      within(
        within(source, "serviceAccountToken", (token) =>
          fill(token, { expirationSeconds: projectedTokenSeconds }),
        ),
        "downwardAPI",
        (downward) => each(downward, "items", (item) => within(item, "fieldRef", fieldRef)),
      ),
    ),
  );
}

/** Guaranteed, Burstable or BestEffort: what cpu and memory the containers ask for decides. */
export function qosClass(spec: Json): "Guaranteed" | "Burstable" | "BestEffort" {
  const whole = record(spec["resources"]);
  const containers = isUnset(whole["requests"] ?? whole["limits"])
    ? [...list(spec["containers"]), ...list(spec["initContainers"])].filter(isJson)
    : [{ resources: whole }];
  const resources = ["cpu", "memory"];
  const asked = containers.map((container) => ({
    requests: record(record(container["resources"])["requests"]),
    limits: record(record(container["resources"])["limits"]),
  }));
  const any = asked.some(({ requests, limits }) =>
    resources.some((name) => isSome(requests[name]) || isSome(limits[name])),
  );
  if (!any) return "BestEffort";
  const guaranteed = asked.every(({ requests, limits }) =>
    resources.every(
      (name) => isSome(limits[name]) && sameAmount(requests[name] ?? limits[name], limits[name]),
    ),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}

/** `1` is `1000m`. A text that is no quantity is refused elsewhere. */
function sameAmount(left: unknown, right: unknown): boolean {
  const [a, b] = [scalar(left), scalar(right)];
  try {
    return a === b || parseQuantity(a) === parseQuantity(b);
  } catch {
    return false;
  }
}

const isSome = (quantity: unknown): boolean =>
  quantity !== undefined && !/^0+[A-Za-z]*$/.test(scalar(quantity));
