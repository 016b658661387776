import { timingSafeEqual } from "node:crypto";
import type { Secret } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import { known, refused, type TokenAuthenticator } from "./authenticator.ts";
import type { Lookup } from "../observe/lookup.ts";

/**
 * Knows the tokens that new nodes join with: `<id>.<secret>`, kept in the Secret
 * `kube-system/bootstrap-token-<id>`. Usable while it has not expired and its usage says so.
 */
export function bootstrapTokenAuthenticator(secret: Lookup<Secret>, clock: Clock): TokenAuthenticator {
  return async (token, _audiences, signal) => {
    const [, id, given] = /^([a-z0-9]{6})\.([a-z0-9]{16})$/.exec(token) ?? [];
    if (id === undefined || given === undefined) return undefined;
    const kept = await secret("kube-system", `bootstrap-token-${id}`, signal);
    if (kept?.type !== "bootstrap.kubernetes.io/token" || kept.metadata?.deletionTimestamp !== undefined) {
      return undefined;
    }
    const data = (name: string): string => Buffer.from(kept.data?.[name] ?? "", "base64").toString("utf8");
    const wanted = data("token-secret");
    if (wanted.length !== given.length || !timingSafeEqual(Buffer.from(wanted), Buffer.from(given))) {
      return undefined;
    }
    const expires = data("expiration");
    if (expires !== "" && !(Date.parse(expires) > clock.now())) return refused("bootstrap token has expired");
    if (data("usage-bootstrap-authentication") !== "true")
      return refused("bootstrap token is not for authentication");
    const groups = data("auth-extra-groups")
      .split(",")
      .filter((group) => group.startsWith("system:bootstrappers:"));
    return known({ name: `system:bootstrap:${id}`, groups: ["system:bootstrappers", ...groups] });
  };
}
