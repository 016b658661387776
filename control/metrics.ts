import { collectDefaultMetrics, Gauge, Registry } from "prom-client";

/** The control plane's numbers, all declared here. */
export interface ControlMetrics {
  readonly registry: Registry;
}

/** What the gauges read when they are asked. */
export interface MetricSources {
  /** Seconds until each certificate of ours ends, by name. */
  readonly certificateSeconds: () => ReadonlyMap<string, number>;
}

/** Declares the metrics; each is read when `/metrics` is. */
export function controlMetrics(sources: MetricSources): ControlMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
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
  return { registry };
}
