import type { Job, Pod } from "#api/generated/kubernetes.ts";
import type { Resource } from "#api/meta.ts";
import { indexAnnotation, trackingFinalizer } from "./job.ts";
import { controllerReference } from "./owners.ts";

/** The pod of a Job, for one index when the Job has them. */
export function buildJobPod(resource: Resource<Job>, job: Job, index: number | undefined): Pod {
  const template = job.spec?.template;
  const { name = "", namespace = "" } = job.metadata ?? {};
  const metadata = {
    ...template?.metadata,
    namespace,
    generateName: index === undefined ? `${name}-` : `${name}-${index}-`,
    finalizers: [...(template?.metadata?.finalizers ?? []), trackingFinalizer],
    ownerReferences: [controllerReference(resource, job)],
  };
  const spec = template?.spec;
  if (index === undefined || spec === undefined) return { metadata, ...(spec === undefined ? {} : { spec }) };
  const fieldPath = `metadata.annotations['${indexAnnotation}']`;
  const env = { name: "JOB_COMPLETION_INDEX", valueFrom: { fieldRef: { fieldPath } } };
  return {
    metadata: {
      ...metadata,
      annotations: { ...metadata.annotations, [indexAnnotation]: String(index) },
      labels: { ...metadata.labels, [indexAnnotation]: String(index) },
    },
    spec: {
      ...spec,
      hostname: spec.hostname ?? `${name}-${index}`,
      containers: spec.containers.map((container) => ({
        ...container,
        env: [...(container.env ?? []), env],
      })),
    },
  };
}
