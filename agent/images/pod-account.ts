import type { ObjectMeta, Pod, ServiceAccount } from "#api/generated/kubernetes.ts";
import { serviceAccounts } from "#api/resources.ts";
import type { AgentContext } from "../agent-context.ts";
import type { SourceMark } from "../plan/pull-records.ts";

/** The service account of the Pod that wants an image. */
export interface PodAccount {
  /** @throws the API's answer. */
  read(signal: AbortSignal): Promise<ServiceAccount>;
  /** A token of it for an audience, bound to the Pod. @throws the API's answer. */
  token(audience: string, signal: AbortSignal): Promise<string>;
}

/** The Pod's service account; undefined for a static Pod, and for one without an account. */
export function podAccount(
  { reader, tokens }: Pick<AgentContext, "reader" | "tokens">,
  pod: Pod,
  source: "api" | "file" | "orphan",
): PodAccount | undefined {
  const name = pod.spec?.serviceAccountName ?? "";
  const namespace = pod.metadata?.namespace ?? "";
  if (source !== "api" || name === "" || reader === undefined) return undefined;
  return {
    read: (signal) => reader.get(serviceAccounts, { namespace, name }, signal),
    token: async (audience, signal) => (await tokens.fresh(pod, audience, 0, signal)).token,
  };
}

/** What a record calls the account. */
export function accountMark(metadata: ObjectMeta | undefined): SourceMark {
  const { uid = "", namespace = "", name = "" } = metadata ?? {};
  return { uid, namespace, name };
}
