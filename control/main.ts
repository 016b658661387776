import { readFile } from "node:fs/promises";
import { ApiClient } from "#api/client.ts";
import { ApiEventRecorder } from "#api/event-recorder.ts";
import type { LimitRange, StorageClass } from "#api/generated/kubernetes.ts";
import type { Resource } from "#api/meta.ts";
import * as resources from "#api/resources.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { type Task, together } from "#lib/together.ts";
import { admissionChain, choosePlugins } from "./admission/chain.ts";
import { rbacEscalation } from "./admission/rbac-escalation.ts";
import { detectAddress, machineNames } from "./advertise-address.ts";
import { nthAddress, parseRange } from "./allocators/plan/ipv4-range.ts";
import { serviceAllocator } from "./allocators/service-allocator.ts";
import { ApiServer } from "./apiserver/api-server.ts";
import { kubernetesContent } from "./apiserver/content.ts";
import { resourceTable } from "./apiserver/content/resources.ts";
import { type HttpServer, type ServingTls, serveHttp } from "./apiserver/http-server.ts";
import { KubeletClient } from "./apiserver/node-proxy/kubelet-client.ts";
import { nodeUpgrades } from "./apiserver/node-proxy/upgrade.ts";
import { LocalTransport } from "./apiserver/local-transport.ts";
import { Authenticator } from "./auth/authenticator.ts";
import { type Authorize, alwaysAllow, authorizer } from "./auth/authorizer.ts";
import { bootstrapTokenAuthenticator } from "./auth/bootstrap-token.ts";
import { issueToken, type TokenIssuerPorts } from "./auth/issue-token.ts";
import { NodeGraph } from "./auth/node-graph.ts";
import { RbacRules } from "./auth/rbac-rules.ts";
import { serviceAccountAuthenticator } from "./auth/service-account-token.ts";
import { TokenKey } from "./auth/token-key.ts";
import { basicFileAuthenticator, tokenFileAuthenticator } from "./auth/user-file.ts";
import { bootstrap, priorityClasses } from "./bootstrap/bootstrap.ts";
import type { ComponentCheck } from "./bootstrap/component-statuses.ts";
import { keepPublished } from "./bootstrap/keep-published.ts";
import type { Published } from "./bootstrap/plan/first-objects.ts";
import type { ControlConfig } from "./config.ts";
import { controllers } from "./controllers/run.ts";
import { Tables } from "./controllers/tables.ts";
import { DnsIndex } from "./dns/dns-index.ts";
import { serveDns } from "./dns/dns-server.ts";
import { Forwarder } from "./dns/forward.ts";
import { parseResolvConf, parseUpstream, usableUpstreams } from "./dns/plan/upstreams.ts";
import { Resolver } from "./dns/resolver.ts";
import { serveHealth } from "./health-server.ts";
import { controlMetrics } from "./metrics.ts";
import type { AdmissionPlugin, User } from "./model.ts";
import { getOrUndefined, lookup } from "./observe/lookup.ts";
import { openStore } from "./open-store.ts";
import { writeKubeconfigs } from "./pki/kubeconfig-files.ts";
import { ensurePki, type Pki } from "./pki/pki.ts";
import { readCertificate } from "./pki/renewal.ts";
import { runScheduler } from "./scheduler/run.ts";
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

const limitRanges: Resource<LimitRange> = {
  group: "",
  version: "v1",
  plural: "limitranges",
  kind: "LimitRange",
  namespaced: true,
};
const storageClasses: Resource<StorageClass> = {
  group: "storage.k8s.io",
  version: "v1",
  plural: "storageclasses",
  kind: "StorageClass",
  namespaced: false,
};

/** Certificates are looked at this often, in milliseconds. */
const renewalMs = 12 * 3_600_000;
/** Requests on their way get this long when the server stops, in milliseconds. */
const graceMs = 2_000;

/**
 * Runs the control plane: store, PKI, API server, scheduler, controllers and DNS, until the signal is aborted.
 * @throws Error in one line for what a user can mend: a port in use, a folder that cannot be written.
 */
export async function runControl(
  config: ControlConfig,
  ports: ControlPorts,
  signal: AbortSignal,
): Promise<void> {
  const { log, clock } = ports;
  const random = ports.random ?? Math.random;
  const startedMs = clock.monotonicMs();
  const settings = settingsOf(config);
  const store = await openStore(config, clock, signal);
  try {
    const renew = (stop: AbortSignal): Promise<Pki> => writeTrust(config, settings, clock.now(), stop);
    const pki = await renew(signal);
    const key = new TokenKey(pki.serviceAccount.privateKey);
    const issuer = `https://kubernetes.default.svc.${config.clusterDomain}`;

    // The server asks the parts below, and they ask the server: it is made first and they are put in once
    // their caches are complete. Until then only the control plane itself gets an answer.
    const parts = Promise.withResolvers<{
      readonly authorize: Authorize;
      readonly issuer: TokenIssuerPorts;
    }>();
    parts.promise.catch(() => undefined); // nobody may be waiting when the start fails
    let decide: Authorize | undefined;
    const admission: AdmissionPlugin[] = [];
    const tokens = { list: [] as ConstructorParameters<typeof Authenticator>[0]["tokens"][number][] };
    const notReady = new Map<string, string>([["bootstrap", "the first objects are still being written"]]);
    const authenticator = new Authenticator({
      audiences: [issuer],
      tokens: tokens.list,
      ...(config.basicAuthFile === "" ? {} : { basic: basicFileAuthenticator(config.basicAuthFile) }),
    });
    if (config.tokenAuthFile !== "") tokens.list.push(tokenFileAuthenticator(config.tokenAuthFile));
    const health = { scheduler: "not started", controllers: (): string | undefined => "not started" };
    let rules: RbacRules | undefined;
    const certificates = new Map([
      ["ca", pki.ca.certificate],
      ["apiserver", pki.apiserver.certificate],
      ["apiserver-kubelet-client", pki.kubeletClient.certificate],
    ]);
    const objects = new Map<string, { readonly size: number }>();
    const { registry } = controlMetrics({
      certificateSeconds: () =>
        new Map(
          [...certificates].map(([name, pem]) => [
            name,
            (readCertificate(pem).notAfterMs - clock.now()) / 1_000,
          ]),
        ),
      objects: () => new Map([...objects].map(([name, table]) => [name, table.size])),
    });

    const api = new ApiServer({
      store,
      resources: resourceTable(),
      content: kubernetesContent,
      authenticate: async (credentials, stop) => {
        if (credentials.authorization !== undefined) await parts.promise; // tokens are checked against caches
        return await authenticator.authenticate(credentials, stop);
      },
      authorize: (attributes) => {
        if (decide !== undefined) return decide(attributes);
        if (attributes.user.groups.includes("system:masters"))
          return { allowed: true, why: "system:masters" };
        if (attributes.kind === "path" && /^\/(livez|readyz|healthz)/.test(attributes.path))
          return { allowed: true, why: "" };
        return parts.promise.then(({ authorize }) => authorize(attributes));
      },
      admission,
      issueToken: async (namespace, name, request, stop) =>
        await issueToken(namespace, name, request, (await parts.promise).issuer, stop),
      virtual: virtualResources(
        () => ({
          authorize: decide ?? alwaysAllow,
          rulesOf: (user, namespace) => rules?.of(user, namespace) ?? [],
          authenticator,
          audiences: [issuer],
        }),
        new Map<string, ComponentCheck>([
          ["scheduler", async () => (health.scheduler === "" ? undefined : health.scheduler)],
          ["controller-manager", async () => health.controllers()],
          [
            "etcd-0",
            async (stop) => {
              await store.revision(stop);
              return undefined;
            },
          ],
        ]),
      ),
      documents: new Map([
        ["/openid/v1/jwks", () => key.jwks],
        [
          "/.well-known/openid-configuration",
          () => ({
            issuer,
            jwks_uri: `https://${settings.advertiseAddress}:${config.securePort}/openid/v1/jwks`,
            response_types_supported: ["id_token"],
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: ["ES256"],
          }),
        ],
      ]),
      metrics: () => registry.metrics(),
      kubelet: new KubeletClient(pki.kubeletClient),
      ready: new Map([["bootstrap", () => notReady.get("bootstrap")]]),
      clock,
      log,
    });
    await api.start(signal);

    const clientOf = (name: string): ApiClient =>
      new ApiClient(new LocalTransport(api, systemUser(name)), { "user-agent": `keelson/${name}` });
    const client = clientOf("apiserver");
    const tables = new Tables({ client, clock, log, random });

    const listening = Promise.withResolvers<void>();
    listening.promise.catch(() => undefined); // nobody may be waiting yet when the port is taken
    const serve: Task = async (stop) => {
      const tlsOf = (from: Pki): ServingTls => ({ ...from.apiserver, clientCa: from.ca.certificate });
      const servers: HttpServer[] = [];
      try {
        const secure = await serveHttp(api, nodeUpgrades(api), {
          host: config.bindAddress,
          port: config.securePort,
          tls: tlsOf(pki),
        });
        servers.push(secure);
        if (config.insecurePort !== 0) {
          const host = config.insecureBindAddress;
          servers.push(
            await serveHttp(api, nodeUpgrades(api), {
              host,
              port: config.insecurePort,
              tls: undefined,
              plainUser: systemUser("unsecured"),
            }),
          );
        }
        listening.resolve();
        while (!stop.aborted) {
          await clock.sleep(renewalMs, stop);
          secure.reload(tlsOf(await renew(stop)));
        }
      } catch (cause) {
        if (!stop.aborted) throw cause;
      } finally {
        listening.reject(new Error("the API server does not listen"));
        await Promise.all(servers.map((server) => server.close(graceMs)));
      }
    };

    const start: Task = async (stop) => {
      try {
        await startParts(stop);
      } catch (cause) {
        parts.reject(cause);
        if (!stop.aborted) throw cause;
      }
    };

    const startParts = async (stop: AbortSignal): Promise<void> => {
      const of = {
        namespaces: tables.of(resources.namespaces),
        serviceAccounts: tables.of(resources.serviceAccounts),
        pods: tables.of(resources.pods),
        nodes: tables.of(resources.nodes),
        services: tables.of(resources.services),
        endpointSlices: tables.of(resources.endpointSlices),
        roles: tables.of(resources.roles),
        roleBindings: tables.of(resources.roleBindings),
        clusterRoles: tables.of(resources.clusterRoles),
        clusterRoleBindings: tables.of(resources.clusterRoleBindings),
        claims: tables.of(resources.persistentVolumeClaims),
        priorityClasses: tables.of(priorityClasses),
        storageClasses: tables.of(storageClasses),
        limitRanges: tables.of(limitRanges),
        runtimeClasses: tables.of(resources.runtimeClasses),
      };
      for (const table of Object.values(of)) objects.set(table.resource.plural, table);
      await tables.synced(stop);

      const serviceAccount = lookup(resources.serviceAccounts, of.serviceAccounts, client);
      const pod = lookup(resources.pods, of.pods, client);
      const node = lookup(resources.nodes, of.nodes, client);
      const secret = (namespace: string, name: string, stopped: AbortSignal) =>
        getOrUndefined(client, resources.secrets, namespace, name, stopped);
      tokens.list.push(
        serviceAccountAuthenticator(key, issuer, { serviceAccount, pod, node, secret }, clock),
        bootstrapTokenAuthenticator(secret, clock),
      );
      rules = new RbacRules(of);
      const authorize = authorizer(config.authorizationModes, {
        rules,
        graph: new NodeGraph(of.pods, of.claims),
      });
      const chosen = choosePlugins(config.admissionPlugins);
      if (chosen.passedOver.length > 0)
        log.warn("some admission plugins do not exist here", { names: chosen.passedOver });
      admission.push(
        ...admissionChain(chosen.run, {
          namespace: lookup(resources.namespaces, of.namespaces, client),
          serviceAccount,
          pod,
          priorityClass: lookup(priorityClasses, of.priorityClasses, client),
          runtimeClass: lookup(resources.runtimeClasses, of.runtimeClasses, client),
          priorityClasses: of.priorityClasses,
          storageClasses: of.storageClasses,
          limitRanges: of.limitRanges,
          clock,
          random,
        }),
        rbacEscalation(rules, authorize),
        serviceAllocator({
          services: of.services,
          current: (namespace, name, stopped) =>
            getOrUndefined(client, resources.services, namespace, name, stopped),
          range: config.serviceClusterIpRange,
          nodePorts: config.serviceNodePortRange,
          clock,
          random,
        }),
      );
      await bootstrap(client, settings.published, stop);
      decide = authorize;
      parts.resolve({ authorize, issuer: { key, issuer, serviceAccount, pod, node, secret, clock } });
      notReady.clear();
      await listening.promise;
      log.info("ready", { tookMs: Math.round(clock.monotonicMs() - startedMs), port: config.securePort });
      ports.ready?.();

      await together(
        stop,
        (inner) => keepPublished({ client, tables, clock, log }, settings.published, inner),
        ...(config.disableScheduler ? [] : [schedule]),
        ...(config.disableControllers ? [] : [control]),
        ...(config.disableDns ? [] : [(inner: AbortSignal) => names(of, inner)]),
      );
    };

    const schedule: Task = async (stop) => {
      const own = clientOf("kube-scheduler");
      const partLog = log.child({ part: "scheduler" });
      const events = new ApiEventRecorder(own, { component: "default-scheduler" }, clock, partLog);
      health.scheduler = "";
      await together(
        stop,
        (inner) => runScheduler({ client: own, clock, log: partLog, random, events, tables }, inner),
        (inner) =>
          serveHealth(
            {
              name: "scheduler",
              port: config.schedulerPort,
              serving: pki.apiserver,
              clientCa: pki.ca.certificate,
              check: () => (health.scheduler === "" ? undefined : health.scheduler),
              metrics: () => registry.metrics(),
            },
            inner,
          ),
      );
    };

    const control: Task = async (stop) => {
      const own = clientOf("kube-controller-manager");
      const partLog = log.child({ part: "controllers" });
      const events = new ApiEventRecorder(own, { component: "controller-manager" }, clock, partLog);
      const running = controllers({
        client: own,
        clock,
        log: partLog,
        random,
        events,
        tables,
        config: {
          clusterCidr: config.clusterCidr,
          nodeCidrMaskSize: config.nodeCidrMaskSize,
          nodeMonitorGraceMs: config.nodeMonitorGraceMs,
          rootCaPem: pki.ca.certificate,
        },
      });
      health.controllers = () => {
        const { listing } = running.health();
        return listing.length === 0 ? undefined : `still listing ${listing.join(", ")}`;
      };
      await together(
        stop,
        (inner) => running.run(inner),
        (inner) =>
          serveHealth(
            {
              name: "controllers",
              port: config.controllersPort,
              serving: pki.apiserver,
              clientCa: pki.ca.certificate,
              check: health.controllers,
              metrics: () => registry.metrics(),
            },
            inner,
          ),
      );
    };

    const names = async (of: ConstructorParameters<typeof DnsIndex>[1], stop: AbortSignal): Promise<void> => {
      const { dns } = settings.published;
      if (dns === undefined) return;
      const ranges = [config.serviceClusterIpRange, parseRange(config.clusterCidr)];
      const upstreams = await upstreamsOf(config, [dns.address, dns.serviceIp], log);
      const resolver = new Resolver(new DnsIndex(config.clusterDomain, of, ranges), new Forwarder(upstreams));
      const listening = (port: number): void => log.info("answering DNS", { address: dns.address, port });
      await serveDns(resolver, dns, listening, log.child({ part: "dns" }), stop);
    };

    await together(
      signal,
      (stop) => api.run(stop),
      (stop) => tables.run(stop),
      serve,
      start,
    );
  } catch (cause) {
    if (!signal.aborted) throw cause;
  } finally {
    await store.close();
  }
}

/** What follows from the settings and this machine. */
interface Settings {
  readonly advertiseAddress: string;
  readonly kubeconfigServer: string;
  readonly published: Published;
}

function settingsOf(config: ControlConfig): Settings {
  const bound = config.bindAddress === "0.0.0.0" || config.bindAddress === "::" ? "" : config.bindAddress;
  const advertiseAddress =
    config.advertiseAddress !== "" ? config.advertiseAddress : bound !== "" ? bound : detectAddress();
  // Names of this machine for itself survive a change of its address.
  const local = bound === "" ? "127.0.0.1" : bound;
  return {
    advertiseAddress,
    kubeconfigServer:
      config.kubeconfigServer === "" ? `https://${local}:${config.securePort}` : config.kubeconfigServer,
    published: {
      advertiseAddress,
      securePort: config.securePort,
      apiServiceIp: nthAddress(config.serviceClusterIpRange, 1),
      dns: config.disableDns
        ? undefined
        : {
            serviceIp:
              config.clusterDns === "" ? nthAddress(config.serviceClusterIpRange, 10) : config.clusterDns,
            address: config.dnsAddress === "" ? advertiseAddress : config.dnsAddress,
            port: config.dnsPort,
          },
    },
  };
}

/** Makes or renews the PKI and the kubeconfigs. */
async function writeTrust(
  config: ControlConfig,
  settings: Settings,
  nowMs: number,
  signal: AbortSignal,
): Promise<Pki> {
  const names = [
    settings.published.apiServiceIp,
    settings.advertiseAddress,
    ...machineNames(),
    ...config.tlsSans,
  ];
  const pki = await ensurePki(
    { folder: `${config.dataDir}/pki`, clusterDomain: config.clusterDomain, names },
    nowMs,
    signal,
  );
  const kubeconfigs = {
    folder: config.configDir,
    server: settings.kubeconfigServer,
    nodeNames: config.nodeNames,
  };
  await writeKubeconfigs(kubeconfigs, pki.ca, nowMs, signal);
  return pki;
}

async function upstreamsOf(
  config: ControlConfig,
  ours: readonly string[],
  log: Log,
): Promise<ReturnType<typeof usableUpstreams>> {
  if (config.dnsUpstreams.length > 0) {
    return config.dnsUpstreams.map((text) => {
      const upstream = parseUpstream(text);
      if (upstream === undefined)
        throw new Error(`cannot forward DNS to "${text}"; --dns-upstream wants addresses such as 192.0.2.1`);
      return upstream;
    });
  }
  try {
    return usableUpstreams(parseResolvConf(await readFile("/etc/resolv.conf", "utf8")), ours);
  } catch (cause) {
    log.warn("no DNS servers to forward to", { cause: errorText(cause) });
    return [];
  }
}

function systemUser(name: string): User {
  return { name: `system:${name}`, groups: ["system:masters", "system:authenticated"] };
}
