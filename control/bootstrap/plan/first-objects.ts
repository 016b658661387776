import type { EndpointSlice, Endpoints, Namespace, Service } from "#api/generated/kubernetes.ts";

/** The namespaces of every cluster. */
export const firstNamespaces: readonly Namespace[] = [
  "default",
  "kube-system",
  "kube-public",
  "kube-node-lease",
].map((name) => ({ metadata: { name } }));

/** Where the API server and the DNS server are reached. */
export interface Published {
  /** The API server's address as nodes see it. */
  readonly advertiseAddress: string;
  readonly securePort: number;
  /** First address of the service range. */
  readonly apiServiceIp: string;
  /** Where our DNS server listens; undefined when it is switched off. */
  readonly dns: { readonly serviceIp: string; readonly address: string; readonly port: number } | undefined;
}

/** Service default/kubernetes: how Pods reach the API. */
export function apiService(published: Published): Service {
  return {
    metadata: {
      name: "kubernetes",
      namespace: "default",
      labels: { component: "apiserver", provider: "kubernetes" },
    },
    spec: {
      type: "ClusterIP",
      clusterIP: published.apiServiceIp,
      clusterIPs: [published.apiServiceIp],
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      sessionAffinity: "None",
      ports: [{ name: "https", protocol: "TCP", port: 443, targetPort: published.securePort }],
    },
  };
}

/** The Endpoints of default/kubernetes, for readers older than EndpointSlice. */
export function apiEndpoints(published: Published): Endpoints {
  return {
    metadata: {
      name: "kubernetes",
      namespace: "default",
      labels: { "endpointslice.kubernetes.io/skip-mirror": "true" },
    },
    subsets: [
      {
        addresses: [{ ip: published.advertiseAddress }],
        ports: [{ name: "https", port: published.securePort, protocol: "TCP" }],
      },
    ],
  };
}

/** The EndpointSlice of default/kubernetes. */
export function apiEndpointSlice(published: Published): EndpointSlice {
  return slice("kubernetes", "default", published.advertiseAddress, [
    { name: "https", port: published.securePort, protocol: "TCP" },
  ]);
}

/** Service kube-system/kube-dns: no selector, for the server is ours and no Pod. */
export function dnsService(serviceIp: string): Service {
  return {
    metadata: {
      name: "kube-dns",
      namespace: "kube-system",
      labels: {
        "k8s-app": "kube-dns",
        "kubernetes.io/cluster-service": "true",
        "kubernetes.io/name": "KubeDNS",
      },
    },
    spec: {
      type: "ClusterIP",
      clusterIP: serviceIp,
      clusterIPs: [serviceIp],
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      sessionAffinity: "None",
      ports: [
        { name: "dns", protocol: "UDP", port: 53, targetPort: 53 },
        { name: "dns-tcp", protocol: "TCP", port: 53, targetPort: 53 },
      ],
    },
  };
}

/** The EndpointSlice of kube-system/kube-dns. */
export function dnsEndpointSlice(dns: NonNullable<Published["dns"]>): EndpointSlice {
  return slice("kube-dns", "kube-system", dns.address, [
    { name: "dns", port: dns.port, protocol: "UDP" },
    { name: "dns-tcp", port: dns.port, protocol: "TCP" },
  ]);
}

function slice(
  service: string,
  namespace: string,
  address: string,
  ports: NonNullable<EndpointSlice["ports"]>,
): EndpointSlice {
  return {
    metadata: {
      name: service,
      namespace,
      labels: { "kubernetes.io/service-name": service },
    },
    addressType: "IPv4",
    endpoints: [{ addresses: [address], conditions: { ready: true } }],
    ports,
  };
}
