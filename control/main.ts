import { ApiClient } from "#api/client.ts";
import type { Clock } from "#lib/clock.ts";
import type { Log } from "#lib/log.ts";
import { type Task, together } from "#lib/together.ts";
import { ApiServer } from "./apiserver/api-server.ts";
import { kubernetesContent } from "./apiserver/content.ts";
import { resourceTable } from "./apiserver/content/resources.ts";
import { LocalTransport } from "./apiserver/local-transport.ts";
import { KubeletClient } from "./apiserver/node-proxy/kubelet-client.ts";
import { Authenticator, type TokenAuthenticator } from "./auth/authenticator.ts";
import { issueToken } from "./auth/issue-token.ts";
import { TokenKey } from "./auth/token-key.ts";
import { basicFileAuthenticator, tokenFileAuthenticator } from "./auth/user-file.ts";
import { bootstrap } from "./bootstrap/bootstrap.ts";
import type { ComponentCheck } from "./bootstrap/component-statuses.ts";
import { keepPublished } from "./bootstrap/keep-published.ts";
import type { ControlConfig } from "./config.ts";
import { Tables } from "./controllers/tables.ts";
import { controlMetrics } from "./metrics.ts";
import type { AdmissionPlugin, User } from "./model.ts";
import { openStore } from "./open-store.ts";
import { type Access, openAccess } from "./parts/access.ts";
import { controllersPart } from "./parts/controllers.ts";
import { dnsTask } from "./parts/dns.ts";
import type { Part, PartPorts } from "./parts/part.ts";
import { schedulerPart } from "./parts/scheduler.ts";
import { serveApi } from "./parts/serve.ts";
import type { Pki } from "./pki/pki.ts";
import { readCertificate } from "./pki/renewal.ts";
import { settingsOf, writeTrust } from "./settings.ts";
import type { Store } from "./store/store.ts";
import { virtualResources } from "./virtual-resources.ts";

/** What the control plane needs from its process. */
export interface ControlPorts {
  readonly log: Log;
  readonly clock: Clock;
  /** In [0, 1); `Math.random` unless given. */
  readonly random?: () => number;
  /** Called once, when `/readyz` says ok. */
  readonly ready?: () => void;
}

/**
 * Runs the control plane: store, PKI, API server, scheduler, controllers and DNS, until the signal is aborted.
 * @throws Error in one line for what a user can mend: a port in use, a folder that cannot be written.
 */
export async function runControl(
  config: ControlConfig,
  ports: ControlPorts,
  signal: AbortSignal,
): Promise<void> {
  const store = await openStore(config, ports.clock, signal);
  try {
    await runOn(store, config, ports, signal);
  } catch (cause) {
    if (!signal.aborted) throw cause;
  } finally {
    await store.close();
  }
}

async function runOn(
  store: Store,
  config: ControlConfig,
  ports: ControlPorts,
  signal: AbortSignal,
): Promise<void> {
  const { log, clock, random = Math.random } = ports;
  const startedMs = clock.monotonicMs();
  const settings = settingsOf(config);
  let current: Pki | undefined;
  const renew = async (stop: AbortSignal): Promise<Pki> => {
    current = await writeTrust(config, settings, clock.now(), stop);
    return current;
  };
  const pki = await renew(signal);
  const key = new TokenKey(pki.serviceAccount.privateKey);

  // The API server decides from objects that it serves itself: it is made first, and what decides is put in
  // when its caches are complete. Until then only the control plane itself is answered; others wait.
  const opened = Promise.withResolvers<Access>();
  opened.promise.catch(() => undefined); // nobody may be waiting when the start fails
  let access: Access | undefined;
  const admission: AdmissionPlugin[] = [];
  const tokens: TokenAuthenticator[] =
    config.tokenAuthFile === "" ? [] : [tokenFileAuthenticator(config.tokenAuthFile)];
  const authenticator = new Authenticator({
    audiences: [settings.issuer],
    tokens,
    ...(config.basicAuthFile === "" ? {} : { basic: basicFileAuthenticator(config.basicAuthFile) }),
  });
  let isReady = false;

  const metrics = controlMetrics({
    certificateSeconds: () => certificateSeconds(current ?? pki, clock.now()),
  });
  const parts: { scheduler?: Part; controllers?: Part } = {};
  const off = (): string => "it is switched off or not started yet";
  const components = new Map<string, ComponentCheck>([
    ["scheduler", async () => (parts.scheduler?.check ?? off)()],
    ["controller-manager", async () => (parts.controllers?.check ?? off)()],
    ["etcd-0", async (stop) => void (await store.revision(stop))],
  ]);
  const api = new ApiServer({
    store,
    resources: resourceTable(),
    content: kubernetesContent,
    authenticate: async (credentials, stop) => {
      // Tokens are checked against the caches.
      if (credentials.certificate === undefined && credentials.authorization !== undefined) {
        await opened.promise;
      }
      return await authenticator.authenticate(credentials, stop);
    },
    authorize: (attributes) => {
      if (access !== undefined) return access.authorize(attributes);
      const isHealth = attributes.kind === "path" && /^\/(livez|readyz|healthz)/.test(attributes.path);
      if (isHealth || attributes.user.groups.includes("system:masters")) return { allowed: true, why: "" };
      return opened.promise.then(({ authorize }) => authorize(attributes));
    },
    admission,
    issueToken: async (namespace, name, request, stop) =>
      await issueToken(namespace, name, request, (await opened.promise).issuer, stop),
    virtual: virtualResources(async () => {
      const { authorize, rules } = await opened.promise;
      return {
        authorize,
        rulesOf: (user, namespace) => rules.of(user, namespace),
        authenticator,
        audiences: [settings.issuer],
      };
    }, components),
    documents: issuerDocuments(key, settings.issuer, settings.advertiseAddress, config.securePort),
    metrics: () => metrics.registry.metrics(),
    observe: metrics.observe,
    kubelet: new KubeletClient(() => (current ?? pki).kubeletClient),
    ready: new Map([["bootstrap", () => (isReady ? undefined : "the first objects are not written yet")]]),
    clock,
    log,
  });
  await api.start(signal);

  const clientOf = (name: string): ApiClient =>
    new ApiClient(new LocalTransport(api, systemUser(name)), { "user-agent": `keelson/${name}` });
  const client = clientOf("apiserver");
  const tables = new Tables({ client, clock, log, random });
  const partPorts: PartPorts = {
    config,
    settings,
    pki,
    tables,
    clientOf,
    clock,
    log,
    random,
    metrics: () => metrics.registry.metrics(),
  };
  const serving = serveApi({ api, config, pki, renew, plainUser: systemUser("unsecured"), clock });

  const startParts: Task = async (stop) => {
    const made = await openAccess(partPorts, key, stop);
    tokens.push(...made.tokens);
    admission.push(...made.admission);
    await bootstrap(client, settings.published, stop);
    access = made;
    opened.resolve(made);
    await serving.listening;
    isReady = true;
    const tookMs = Math.round(clock.monotonicMs() - startedMs);
    log.info("ready", { tookMs, address: settings.advertiseAddress, port: config.securePort });
    ports.ready?.();
    if (!config.disableScheduler) parts.scheduler = schedulerPart(partPorts);
    if (!config.disableControllers) parts.controllers = controllersPart(partPorts);
    await together(
      stop,
      (inner) => keepPublished({ client, tables, clock, log }, settings.published, inner),
      dnsTask(partPorts),
      ...Object.values(parts).map((part) => part.run),
    );
  };
  const start: Task = async (stop) => {
    try {
      await startParts(stop);
    } catch (cause) {
      opened.reject(cause);
      if (!stop.aborted) throw cause;
    }
  };
  await together(
    signal,
    (stop) => api.run(stop),
    (stop) => tables.run(stop),
    serving.run,
    start,
  );
}

/** What a verifier of our tokens outside of the cluster reads (OpenID Connect Discovery 1.0). */
function issuerDocuments(
  key: TokenKey,
  issuer: string,
  address: string,
  port: number,
): ReadonlyMap<string, () => unknown> {
  const discovery = {
    issuer,
    jwks_uri: `https://${address}:${port}/openid/v1/jwks`,
    response_types_supported: ["id_token"],
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: ["ES256"],
  };
  return new Map<string, () => unknown>([
    ["/openid/v1/jwks", () => key.jwks],
    ["/.well-known/openid-configuration", () => discovery],
  ]);
}

function certificateSeconds(pki: Pki, nowMs: number): ReadonlyMap<string, number> {
  const certificates = [
    ["ca", pki.ca.certificate],
    ["apiserver", pki.apiserver.certificate],
    ["apiserver-kubelet-client", pki.kubeletClient.certificate],
  ] as const;
  return new Map(
    certificates.map(([name, pem]) => [name, (readCertificate(pem).notAfterMs - nowMs) / 1_000]),
  );
}

function systemUser(name: string): User {
  return { name: `system:${name}`, groups: ["system:masters", "system:authenticated"] };
}
