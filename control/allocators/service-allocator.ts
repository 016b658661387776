import type { Service, ServicePort, ServiceSpec } from "#api/generated/kubernetes.ts";
import { keyText, parseKey } from "#api/meta.ts";
import type { Clock } from "#lib/clock.ts";
import { typed } from "../admission/plan/typed.ts";
import { ApiError, invalid } from "../api-error.ts";
import type { Source } from "../auth/rbac-rules.ts";
import type { AdmissionPlugin, AdmissionRequest, FieldError, StoredObject } from "../model.ts";
import type { Lookup } from "../observe/lookup.ts";
import { addressesOf, Claims, nodePortsOf } from "./claims.ts";
import { formatIpv4, type Ipv4Range, isUsable, parseIpv4 } from "./plan/ipv4-range.ts";
import { addressBand, pickNumber, portBand } from "./plan/pick-number.ts";
import { type ServiceNeeds, serviceNeeds } from "./plan/service-needs.ts";

/** What addresses and ports are given from. */
export interface AllocatorPorts {
  readonly services: Source<Service>;
  /** Asks the API itself, past the cache. */
  readonly current: Lookup<Service>;
  readonly range: Ipv4Range;
  /** The first and the last node port. */
  readonly nodePorts: { readonly first: number; readonly last: number };
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Gives Services their cluster addresses and node ports, as the last mutation of admission. Always on. */
export function serviceAllocator(ports: AllocatorPorts): AdmissionPlugin {
  const addresses = new Claims(ports.services, addressesOf, ports.clock);
  const nodePorts = new Claims(ports.services, nodePortsOf, ports.clock);
  const allocator = new Allocator(ports, addresses, nodePorts);
  return {
    name: "ServiceAllocator",
    async admit(request, signal) {
      const { object, operation, resource } = request;
      const isService = resource.group === "" && resource.plural === "services" && request.subresource === "";
      if (object === undefined || !isService || (operation !== "CREATE" && operation !== "UPDATE"))
        return object;
      return await allocator.fill(request, object, signal);
    },
  };
}

class Allocator {
  readonly #ports: AllocatorPorts;
  readonly #addresses: Claims;
  readonly #nodePorts: Claims;

  constructor(ports: AllocatorPorts, addresses: Claims, nodePorts: Claims) {
    this.#ports = ports;
    this.#addresses = addresses;
    this.#nodePorts = nodePorts;
  }

  async fill(request: AdmissionRequest, object: StoredObject, signal: AbortSignal): Promise<StoredObject> {
    const before = request.before === undefined ? undefined : typed<Service>(request.before);
    const needs = serviceNeeds(typed<Service>(object), before);
    const job = { request, owner: keyText({ namespace: request.namespace, name: request.name }), signal };
    await this.#checkAskedPorts(needs.spec, job);
    const spec = await this.#withAddress(needs, before?.spec, job);
    return { ...object, spec: this.#withPorts(spec, needs, job) };
  }

  async #withAddress(needs: ServiceNeeds, old: ServiceSpec | undefined, job: Job): Promise<ServiceSpec> {
    const { spec, clusterIp } = needs;
    switch (clusterIp.state) {
      case "none":
        return spec;
      case "headless":
        return withAddress(spec, "None");
      case "asked":
        // An address that stays needs no leave; a change to another is for validation to refuse.
        if (old?.clusterIP !== clusterIp.ip) await this.#claimAddress(clusterIp.ip, spec, job);
        return withAddress(spec, clusterIp.ip);
      case "any": {
        const { base, size } = this.#ports.range;
        const band = addressBand(size);
        const ip = this.#pick(this.#addresses, { first: base + 1, last: base + size - 2, band }, job);
        if (ip === undefined) throw internal(`failed to allocate a serviceIP: range is full`);
        return withAddress(spec, formatIpv4(ip));
      }
      default:
        return clusterIp satisfies never;
    }
  }

  async #claimAddress(ip: string, spec: ServiceSpec, job: Job): Promise<void> {
    const refuse = (why: string): ApiError =>
      wrong(job.request, {
        reason: "FieldValueInvalid",
        field: "spec.clusterIPs",
        detail: `Invalid value: ${JSON.stringify(spec.clusterIPs ?? [ip])}: failed to allocate IP ${ip}: ${why}`,
      });
    const number = parseIpv4(ip);
    if (number === undefined) return; // validation has the words for that
    if (!isUsable(this.#ports.range, number)) {
      throw refuse(
        `the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${this.#ports.range.cidr}`,
      );
    }
    if (await this.#isTaken(this.#addresses, number, addressesOf, job))
      throw refuse("provided IP is already allocated");
    if (!job.request.dryRun) this.#addresses.reserve(number, job.owner);
  }

  async #checkAskedPorts(spec: ServiceSpec, job: Job): Promise<void> {
    if (spec.type !== "NodePort" && spec.type !== "LoadBalancer") return;
    const asked: readonly [number, string][] = [
      ...(spec.ports ?? []).map((port, place): [number, string] => [
        port.nodePort ?? 0,
        `spec.ports[${place}].nodePort`,
      ]),
      [spec.healthCheckNodePort ?? 0, "spec.healthCheckNodePort"],
    ];
    const { first, last } = this.#ports.nodePorts;
    const had = new Set(
      job.request.before === undefined ? [] : nodePortsOf(typed<Service>(job.request.before)),
    );
    for (const [port, field] of asked) {
      if (port === 0 || had.has(port)) continue;
      const refuse = (why: string): ApiError =>
        wrong(job.request, { reason: "FieldValueInvalid", field, detail: `Invalid value: ${port}: ${why}` });
      if (port < first || port > last) {
        throw refuse(`provided port is not in the valid range. The range of valid ports is ${first}-${last}`);
      }
      if (await this.#isTaken(this.#nodePorts, port, nodePortsOf, job))
        throw refuse("provided port is already allocated");
      if (!job.request.dryRun) this.#nodePorts.reserve(port, job.owner);
    }
  }

  #withPorts(spec: ServiceSpec, needs: ServiceNeeds, job: Job): ServiceSpec {
    const given = new Map<number, number>();
    // One port number over two protocols gets one node port over both (DNS over UDP and TCP).
    for (const port of spec.ports ?? [])
      if ((port.nodePort ?? 0) !== 0 && port.port !== undefined) given.set(port.port, port.nodePort ?? 0);
    const usedTwice = (port: ServicePort, number: number): boolean =>
      (spec.ports ?? []).some(
        (one) => one.nodePort === number && (one.protocol ?? "TCP") === (port.protocol ?? "TCP"),
      );
    const ports = spec.ports?.map((port, place) => {
      if (!needs.nodePorts.includes(place)) return port;
      const shared = given.get(port.port);
      const nodePort = shared !== undefined && !usedTwice(port, shared) ? shared : this.#pickPort(job);
      given.set(port.port, nodePort);
      return { ...port, nodePort };
    });
    return {
      ...spec,
      ...(ports === undefined ? {} : { ports }),
      ...(needs.healthCheck ? { healthCheckNodePort: this.#pickPort(job) } : {}),
    };
  }

  #pickPort(job: Job): number {
    const { first, last } = this.#ports.nodePorts;
    const port = this.#pick(this.#nodePorts, { first, last, band: portBand(last - first + 1) }, job);
    if (port === undefined) throw internal("failed to allocate a nodePort: range is full");
    return port;
  }

  /** Picks a free number and holds it for this write. Two ports of one Service never get the same one. */
  #pick(claims: Claims, numbers: Parameters<typeof pickNumber>[0], job: Job): number | undefined {
    const picked = pickNumber(
      numbers,
      (number) => claims.holder(number, "") !== undefined,
      this.#ports.random(),
    );
    if (picked !== undefined) claims.reserve(picked, job.owner);
    return picked;
  }

  /** Asks the API before saying no: the cache may not have heard of a delete a moment ago. */
  async #isTaken(
    claims: Claims,
    number: number,
    numbersOf: (service: Service) => readonly number[],
    job: Job,
  ): Promise<boolean> {
    const holder = claims.holder(number, job.owner);
    if (holder === undefined) return false;
    if (holder.state === "reserved") return true;
    const { namespace, name } = parseKey(holder.key);
    const service = await this.#ports.current(namespace, name, job.signal);
    return service !== undefined && numbersOf(service).includes(number);
  }
}

interface Job {
  readonly request: AdmissionRequest;
  /** `namespace/name` of the Service. */
  readonly owner: string;
  readonly signal: AbortSignal;
}

function withAddress(spec: ServiceSpec, ip: string): ServiceSpec {
  return {
    ...spec,
    clusterIP: ip,
    clusterIPs: spec.clusterIPs !== undefined && spec.clusterIPs[0] === ip ? spec.clusterIPs : [ip],
    ipFamilies: spec.ipFamilies ?? ["IPv4"],
    ipFamilyPolicy: spec.ipFamilyPolicy ?? "SingleStack",
  };
}

function wrong(request: AdmissionRequest, error: FieldError): ApiError {
  return invalid(request.resource, request.name, [error]);
}

function internal(message: string): ApiError {
  return new ApiError(500, "InternalError", `Internal error occurred: ${message}`);
}
