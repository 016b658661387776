import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ObservedRequest } from "./apiserver/ports.ts";

/** The control plane's numbers, all declared here. */
export interface ControlMetrics {
  readonly registry: Registry;
  /** Counts one request of the API, by upstream's names. */
  readonly observe: (request: ObservedRequest) => void;
}

/** What upstream's metrics call a verb that RBAC names otherwise. */
const verbs: Readonly<Record<string, string>> = { create: "POST", update: "PUT" };
/** In seconds; a watch is counted by the time to its first byte. */
const requestBuckets = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** What the gauges read when they are asked. */
export interface MetricSources {
  /** Seconds until each certificate of ours ends, by name. */
  readonly certificateSeconds: () => ReadonlyMap<string, number>;
}

/** Declares the metrics; each is read when `/metrics` is. */
export function controlMetrics(sources: MetricSources): ControlMetrics {
  const registry = new Registry();
  // Its sampling of the event loop's delay is a timer of its own: every 10 ms by default, which is half of what an
  // idle control plane costs.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 10_000 });
  const certificates = new Gauge({
    name: "keelson_certificate_expiration_seconds",
    help: "Seconds until a certificate of this control plane ends.",
    labelNames: ["certificate"],
    registers: [registry],
    collect: () => {
      for (const [certificate, seconds] of sources.certificateSeconds())
        certificates.set({ certificate }, seconds);
    },
  });
  const requests = new Counter({
    name: "apiserver_request_total",
    help: "Requests that the API answered.",
    labelNames: ["verb", "group", "version", "resource", "subresource", "code"],
    registers: [registry],
  });
  const durations = new Histogram({
    name: "apiserver_request_duration_seconds",
    help: "Seconds from a request to the start of its answer.",
    labelNames: ["verb", "group", "version", "resource", "subresource"],
    buckets: requestBuckets,
    registers: [registry],
  });
  const observe = ({ code, seconds, ...request }: ObservedRequest): void => {
    const labels = { ...request, verb: verbs[request.verb] ?? request.verb.toUpperCase() };
    requests.inc({ ...labels, code });
    durations.observe(labels, seconds);
  };
  return { registry, observe };
}
