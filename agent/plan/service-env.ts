import type { Service } from "#api/generated/kubernetes.ts";

/** The variables that tell a container of this namespace about Services with a cluster address, in the order of their names. */
export function serviceEnv(
  services: readonly Service[],
  namespace: string,
  enableServiceLinks: boolean,
): Readonly<Record<string, string>> {
  const env: Record<string, string> = {};
  const visible = services.filter((service) => {
    const ip = service.spec?.clusterIP;
    if (ip === undefined || ip === "" || ip === "None") return false;
    const { namespace: ns, name } = service.metadata ?? {};
    return (ns === "default" && name === "kubernetes") || (enableServiceLinks && ns === namespace);
  });
  // The namespace's own Service wins over default/kubernetes of the same name.
  visible.sort(
    (a, b) => Number(a.metadata?.namespace === namespace) - Number(b.metadata?.namespace === namespace),
  );
  for (const service of visible) Object.assign(env, variablesOf(service));
  return env;
}

function variablesOf(service: Service): Record<string, string> {
  const name = variableName(service.metadata?.name ?? "");
  const ip = service.spec?.clusterIP ?? "";
  const ports = service.spec?.ports ?? [];
  const [first] = ports;
  if (first === undefined) return {};
  const host = ip.includes(":") ? `[${ip}]` : ip;
  const env: Record<string, string> = {
    [`${name}_SERVICE_HOST`]: ip,
    [`${name}_SERVICE_PORT`]: String(first.port),
  };
  for (const port of ports) {
    if (port.name !== undefined && port.name !== "")
      env[`${name}_SERVICE_PORT_${variableName(port.name)}`] = String(port.port);
  }
  const url = (port: (typeof ports)[number]): string =>
    `${(port.protocol ?? "TCP").toLowerCase()}://${host}:${port.port}`;
  env[`${name}_PORT`] = url(first);
  for (const port of ports) {
    const protocol = port.protocol ?? "TCP";
    const prefix = `${name}_PORT_${port.port}_${protocol.toUpperCase()}`;
    env[prefix] = url(port);
    env[`${prefix}_PROTO`] = protocol.toLowerCase();
    env[`${prefix}_PORT`] = String(port.port);
    env[`${prefix}_ADDR`] = ip;
  }
  return env;
}

function variableName(name: string): string {
  return name.toUpperCase().replaceAll("-", "_");
}
